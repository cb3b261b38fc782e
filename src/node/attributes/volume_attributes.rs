//! `volumeAttributes`: the words in which a pod says what a volume shows and how it behaves.

use std::path::Path;
use std::time::Duration;

use livemount_engine::object::{Kind, ObjectKey};
use livemount_engine::path::RelPath;
use livemount_engine::shorten::{IN_A_SENTENCE, shorten};
use livemount_engine::spec::Spec;

use super::super::NodeError;
use crate::pod::PodRef;
use crate::publish::{Compat, Settings};
use crate::source::kube::ORIGIN;
use crate::volume_source::{self, Scope, VolumeSourceError, VolumeSourceFault, VolumeSourceType};
use crate::yaml;

/// The longest list of mountpoints, in bytes. Each element of each path is a folder in memory.
const MAX_MOUNTPOINTS: usize = 16 << 10;
/// The longest drain, as on the command line.
const MAX_DRAIN: Duration = Duration::from_secs(10);

/// Reads the attributes that are not the kubelet's: what to show, and the settings with what they
/// change in them.
pub(super) fn read<'a>(
    attributes: impl Iterator<Item = (&'a str, &'a str)>,
    pod: &PodRef,
    mut settings: Settings,
) -> Result<(Spec, Settings), NodeError> {
    let mut source = None;
    let mut mountpoints = Vec::new();
    for (key, value) in attributes {
        let source_type = match key {
            "configMap" => VolumeSourceType::ConfigMap,
            "secret" => VolumeSourceType::Secret,
            "projected" => VolumeSourceType::Projected,
            "mountpoints" => {
                mountpoints = folders(value)?;
                continue;
            }
            "drain" => {
                settings.drain = drain(value)?;
                continue;
            }
            "compat" => {
                settings.compat = compat(value)?;
                continue;
            }
            _ => return Err(unknown(key)),
        };
        if source.replace((source_type, value)).is_some() {
            return wrong("write one of configMap, secret and projected, not several");
        }
    }
    let Some((source_type, text)) = source else {
        return wrong("one of configMap, secret and projected is needed");
    };
    let mut spec = spec(source_type, text, pod)?;
    spec.mountpoints = mountpoints;
    Ok((spec, settings))
}

/// A name alone is the whole object; anything else is the volume source of a pod spec. No legal name is a
/// mapping in YAML.
fn spec(source_type: VolumeSourceType, text: &str, pod: &PodRef) -> Result<Spec, NodeError> {
    let field = source_type.field();
    let kind = match source_type {
        VolumeSourceType::ConfigMap => Some(Kind::ConfigMap),
        VolumeSourceType::Secret => Some(Kind::Secret),
        VolumeSourceType::Projected => None,
    };
    let name = text.trim();
    let legal = yaml::name::subdomain(name);
    if let (Some(kind), Ok(())) = (kind, legal) {
        return Ok(Spec::of_object(ObjectKey {
            kind,
            namespace: pod.namespace.clone(),
            name: name.to_owned(),
            origin: ORIGIN,
        }));
    }
    let parsed = volume_source::parse_volume_source(
        Path::new(field),
        source_type,
        text.as_bytes(),
        Scope {
            origin: &ORIGIN,
            namespace: &pod.namespace,
            pod: Some(&pod.name),
        },
    );
    match (parsed, kind, legal) {
        (Err(error), Some(_), Err(why)) if no_mapping(&error) => wrong(format!(
            "{field}: neither a volume source in YAML nor a legal name: {why}"
        )),
        (Err(error), None, _) if no_mapping(&error) => wrong(format!(
            "{field}: it takes a volume source in YAML, a mapping with sources"
        )),
        (parsed, ..) => Ok(parsed?),
    }
}

fn no_mapping(error: &VolumeSourceError) -> bool {
    matches!(
        error.fault,
        VolumeSourceFault::NotAMapping(_) | VolumeSourceFault::Nothing
    )
}

/// Folders that other volumes are mounted on.
fn folders(text: &str) -> Result<Vec<RelPath>, NodeError> {
    if text.len() > MAX_MOUNTPOINTS {
        return wrong(format!(
            "mountpoints: it has more than {MAX_MOUNTPOINTS} bytes"
        ));
    }
    volume_source::mountpoints(text).or_else(|error| wrong(error.to_string()))
}

/// `250`, which is milliseconds as in `livemount mount --drain`; `250ms`; `1s`.
fn drain(text: &str) -> Result<Duration, NodeError> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis(1)),
        None => match text.strip_suffix('s') {
            Some(number) => (number, Duration::from_secs(1)),
            None => (text, Duration::from_millis(1)),
        },
    };
    let plain = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let drain = number.parse().ok().and_then(|n| unit.checked_mul(n));
    match drain.filter(|drain| plain && *drain <= MAX_DRAIN) {
        Some(drain) => Ok(drain),
        None => wrong("drain: not a time from 0 to 10000 milliseconds, such as 250, 250ms or 1s"),
    }
}

fn compat(text: &str) -> Result<Compat, NodeError> {
    match text {
        "dotdata" => Ok(Compat::Dotdata),
        _ => wrong("compat: unknown; there is dotdata"),
    }
}

fn unknown(key: &str) -> NodeError {
    let key = shorten(key, IN_A_SENTENCE);
    NodeError::Attribute(format!(
        "{key:?} is unknown; there are configMap, secret, projected, mountpoints, drain and compat"
    ))
}

fn wrong<T>(why: impl Into<String>) -> Result<T, NodeError> {
    Err(NodeError::Attribute(why.into()))
}
