//! What the server sends, read into as little as is needed.
//!
//! A ConfigMap may carry more managed fields than data: whatever is not named here is skipped while
//! reading and never held. A text that cannot be read is told by its place alone, for the parser's
//! own words may quote a Secret.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use serde::Deserialize;

use super::feed::Line;
use super::follow::{End, Event, Item};
use super::pod;
use super::version::Version;

/// An answer that is no success.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub code: u16,
    pub message: String,
    /// For how long the server wants to be left alone, in seconds.
    pub wait: Option<u64>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    what: What,
    object: Thing,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum What {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// A ConfigMap, a Secret, a bookmark, a Status, or what all objects have in common.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Thing {
    metadata: Metadata,
    immutable: Option<bool>,
    data: Option<BTreeMap<String, Option<String>>>,
    binary_data: Option<BTreeMap<String, Option<String>>>,
    code: Option<u16>,
    message: Option<String>,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: Option<String>,
    resource_version: String,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "k8s.io/initial-events-end")]
    whole: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct Listed {
    metadata: Metadata,
    items: Option<Vec<Thing>>,
}

#[derive(Deserialize)]
struct PodTold {
    object: Pod,
}

#[derive(Deserialize)]
struct PodsListed {
    items: Vec<Pod>,
}

/// Resources by name, as the API writes them.
type Quantities = BTreeMap<String, Quantity>;

/// An event of a watch. Of a pod's limits that are not set it tells what the node can allocate.
pub(super) fn event(
    key: &ObjectKey,
    line: &Line,
    allocatable: Option<&Quantities>,
) -> Result<Event<Object>, End> {
    let Told { what, object } = read(&line.bytes)?;
    match what {
        What::Added | What::Modified if key.kind == Kind::Pod => {
            let told: PodTold = read(&line.bytes)?;
            Ok(Event::Item(pod_item(key, &told.object, line, allocatable)?))
        }
        What::Added | What::Modified => Ok(Event::Item(item(key, object, line)?)),
        What::Deleted => Ok(Event::Gone(version(&object.metadata)?)),
        What::Bookmark => Ok(Event::Mark {
            version: version(&object.metadata)?,
            whole: object
                .metadata
                .annotations
                .is_some_and(|it| it.whole.as_deref() == Some("true")),
        }),
        What::Error => Err(object.status().end()),
    }
}

/// The answer to a list.
pub(super) fn list(
    key: &ObjectKey,
    line: &Line,
    allocatable: Option<&Quantities>,
) -> Result<Event<Object>, End> {
    let listed: Listed = read(&line.bytes)?;
    let mut things = listed.items.unwrap_or_default().into_iter();
    let found = match things.find(|thing| thing.metadata.name == key.name) {
        None => None,
        Some(_) if key.kind == Kind::Pod => {
            let listed: PodsListed = read(&line.bytes)?;
            let named = |pod: &&Pod| pod.metadata.name.as_ref() == Some(&key.name);
            let pod = listed.items.iter().find(named);
            pod.map(|pod| pod_item(key, pod, line, allocatable))
                .transpose()?
        }
        Some(thing) => Some(item(key, thing, line)?),
    };
    Ok(Event::Listed(version(&listed.metadata)?, found))
}

/// The Status that an answer holds, if it holds one.
pub(super) fn status(bytes: &[u8]) -> Option<Status> {
    let thing: Thing = serde_json::from_slice(bytes).ok()?;
    Some(thing.status())
}

impl Thing {
    fn status(self) -> Status {
        Status {
            code: self.code.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            wait: self.details.and_then(|it| it.retry_after_seconds),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, End> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        End::Garbled(format!("unexpected JSON at {place}"))
    })
}

fn version(metadata: &Metadata) -> Result<Version, End> {
    Version::parse(&metadata.resource_version)
        .ok_or_else(|| End::Garbled("a resourceVersion is no number".to_owned()))
}

fn item(key: &ObjectKey, thing: Thing, line: &Line) -> Result<Item<Object>, End> {
    let version = version(&thing.metadata)?;
    let mut data = BTreeMap::new();
    for (name, text) in thing.data.unwrap_or_default() {
        let text = text.unwrap_or_default();
        let value = match key.kind {
            Kind::Secret => decoded(&name, &text)?,
            Kind::ConfigMap | Kind::Pod => Bytes::from(text.into_bytes()),
        };
        data.insert(name, value);
    }
    for (name, text) in thing.binary_data.unwrap_or_default() {
        let value = decoded(&name, &text.unwrap_or_default())?;
        data.insert(name, value);
    }
    let mut object =
        Object::new(key.clone(), data).map_err(|error| End::Garbled(error.to_string()))?;
    object.uid = thing.metadata.uid;
    object.immutable = thing.immutable == Some(true);
    Ok(finished(object, version, line))
}

fn pod_item(
    key: &ObjectKey,
    pod: &Pod,
    line: &Line,
    allocatable: Option<&Quantities>,
) -> Result<Item<Object>, End> {
    let text = pod.metadata.resource_version.as_deref().unwrap_or_default();
    let version = Version::parse(text)
        .ok_or_else(|| End::Garbled("a resourceVersion is no number".to_owned()))?;
    let mut object = pod::object(pod, allocatable);
    object.key = key.clone();
    object.uid.clone_from(&pod.metadata.uid);
    Ok(finished(object, version, line))
}

fn finished(mut object: Object, version: Version, line: &Line) -> Item<Object> {
    object.resource_version = Some(version.as_str().to_owned());
    object.received = Some(line.received);
    Item {
        version,
        digest: digest(&object),
        immutable: object.immutable,
        object,
    }
}

fn decoded(name: &str, text: &str) -> Result<Bytes, End> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| End::Garbled(format!("the value of {name:?} is not base64")))?;
    Ok(Bytes::from(bytes))
}

/// Tells contents apart, with a key of this process.
fn digest(object: &Object) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let data: Vec<(&str, &[u8])> = object
        .data()
        .iter()
        .map(|(name, value)| (name.as_str(), &**value))
        .collect();
    let key = KEY.get_or_init(RandomState::new);
    key.hash_one((&object.uid, object.immutable, data))
}
