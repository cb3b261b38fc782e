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

use super::json_lines::JsonLine;
use super::pod;
use super::resource_version::ResourceVersion;
use super::watch_state::{Versioned, WatchEnd, WatchEvent};

/// An answer that is no success.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub code: u16,
    pub message: String,
    /// For how long the server wants to be left alone, in seconds.
    pub wait: Option<u64>,
}

#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "type")]
    event_type: EventType,
    object: AnyObject,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventType {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// A ConfigMap, a Secret, a bookmark, a Status, or what all objects have in common.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AnyObject {
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
struct List {
    metadata: Metadata,
    items: Option<Vec<AnyObject>>,
}

#[derive(Deserialize)]
struct PodNotification {
    object: Pod,
}

#[derive(Deserialize)]
struct PodList {
    items: Vec<Pod>,
}

/// Resources by name, as the API writes them.
type Quantities = BTreeMap<String, Quantity>;

/// An event of a watch. Of a pod's limits that are not set it tells what the node can allocate.
pub(super) fn event(
    key: &ObjectKey,
    line: &JsonLine,
    allocatable: Option<&Quantities>,
) -> Result<WatchEvent<Object>, WatchEnd> {
    let Notification { event_type, object } = read(&line.bytes)?;
    match event_type {
        EventType::Added | EventType::Modified if key.kind == Kind::Pod => {
            let notification: PodNotification = read(&line.bytes)?;
            Ok(WatchEvent::Modified(pod_item(
                key,
                &notification.object,
                line,
                allocatable,
            )?))
        }
        EventType::Added | EventType::Modified => {
            Ok(WatchEvent::Modified(item(key, object, line)?))
        }
        EventType::Deleted => Ok(WatchEvent::Deleted(version(&object.metadata)?)),
        EventType::Bookmark => Ok(WatchEvent::Bookmark {
            version: version(&object.metadata)?,
            whole: object
                .metadata
                .annotations
                .is_some_and(|it| it.whole.as_deref() == Some("true")),
        }),
        EventType::Error => Err(object.status().end()),
    }
}

/// The answer to a list.
pub(super) fn list(
    key: &ObjectKey,
    line: &JsonLine,
    allocatable: Option<&Quantities>,
) -> Result<WatchEvent<Object>, WatchEnd> {
    let listed: List = read(&line.bytes)?;
    let mut objects = listed.items.unwrap_or_default().into_iter();
    let found = match objects.find(|object| object.metadata.name == key.name) {
        None => None,
        Some(_) if key.kind == Kind::Pod => {
            let listed: PodList = read(&line.bytes)?;
            let named = |pod: &&Pod| pod.metadata.name.as_ref() == Some(&key.name);
            let pod = listed.items.iter().find(named);
            pod.map(|pod| pod_item(key, pod, line, allocatable))
                .transpose()?
        }
        Some(object) => Some(item(key, object, line)?),
    };
    Ok(WatchEvent::Listed(version(&listed.metadata)?, found))
}

/// The Status that an answer holds, if it holds one.
pub(super) fn status(bytes: &[u8]) -> Option<Status> {
    let object: AnyObject = serde_json::from_slice(bytes).ok()?;
    Some(object.status())
}

impl AnyObject {
    fn status(self) -> Status {
        Status {
            code: self.code.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            wait: self.details.and_then(|it| it.retry_after_seconds),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WatchEnd> {
    serde_json::from_slice(bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        WatchEnd::Garbled(format!("unexpected JSON at {place}"))
    })
}

fn version(metadata: &Metadata) -> Result<ResourceVersion, WatchEnd> {
    ResourceVersion::parse(&metadata.resource_version)
        .ok_or_else(|| WatchEnd::Garbled("a resourceVersion is no number".to_owned()))
}

fn item(key: &ObjectKey, read: AnyObject, line: &JsonLine) -> Result<Versioned<Object>, WatchEnd> {
    let version = version(&read.metadata)?;
    let mut data = BTreeMap::new();
    for (name, text) in read.data.unwrap_or_default() {
        let text = text.unwrap_or_default();
        let value = match key.kind {
            Kind::Secret => decoded(&name, &text)?,
            Kind::ConfigMap | Kind::Pod => Bytes::from(text.into_bytes()),
        };
        data.insert(name, value);
    }
    for (name, text) in read.binary_data.unwrap_or_default() {
        let value = decoded(&name, &text.unwrap_or_default())?;
        data.insert(name, value);
    }
    let mut object =
        Object::new(key.clone(), data).map_err(|error| WatchEnd::Garbled(error.to_string()))?;
    object.uid = read.metadata.uid;
    object.immutable = read.immutable == Some(true);
    Ok(finished(object, version, line))
}

fn pod_item(
    key: &ObjectKey,
    pod: &Pod,
    line: &JsonLine,
    allocatable: Option<&Quantities>,
) -> Result<Versioned<Object>, WatchEnd> {
    let text = pod.metadata.resource_version.as_deref().unwrap_or_default();
    let version = ResourceVersion::parse(text)
        .ok_or_else(|| WatchEnd::Garbled("a resourceVersion is no number".to_owned()))?;
    let mut object = pod::object(pod, allocatable);
    object.key = key.clone();
    object.uid.clone_from(&pod.metadata.uid);
    Ok(finished(object, version, line))
}

fn finished(mut object: Object, version: ResourceVersion, line: &JsonLine) -> Versioned<Object> {
    object.resource_version = Some(version.as_str().to_owned());
    object.received = Some(line.received);
    Versioned {
        version,
        digest: digest(&object),
        immutable: object.immutable,
        object,
    }
}

fn decoded(name: &str, text: &str) -> Result<Bytes, WatchEnd> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| WatchEnd::Garbled(format!("the value of {name:?} is not base64")))?;
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
