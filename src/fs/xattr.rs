//! `user.livemount.*`: what a file can be asked about itself.
//!
//! Names, versions, times and keyed hashes; never anything from which a value could be guessed.

use std::time::SystemTime;

use jiff::Timestamp;
use livemount_engine::snapshot::ObjectVersion;

use livemount_volume::{FsError, Label};

const PREFIX: &str = "user.livemount.";

/// The attributes, as docs/SEMANTICS.md names them.
const NAMES: [&str; 7] = [
    "object",
    "uid",
    "resourceVersion",
    "received",
    "version",
    "committed",
    "digest",
];

/// Whether the volume may know an attribute of this name.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// An attribute's value.
pub(super) fn value(label: &Label, name: &str) -> Result<String, FsError> {
    let name = name.strip_prefix(PREFIX).ok_or(FsError::NoAttr)?;
    find(label, name).ok_or(FsError::NoAttr)
}

/// The names of the attributes that have a value, each ended by a NUL as listxattr(2) wants them.
pub(super) fn names(label: &Label) -> Vec<u8> {
    NAMES
        .into_iter()
        .filter(|name| find(label, name).is_some())
        .flat_map(|name| [PREFIX, name, "\0"].concat().into_bytes())
        .collect()
}

fn find(label: &Label, name: &str) -> Option<String> {
    match name {
        "object" => each(label, |object| Some(object.key.to_string())),
        "uid" => each(label, |object| object.uid.clone()),
        "resourceVersion" => each(label, |object| object.resource_version.clone()),
        "received" => each(label, |object| object.received.and_then(time)),
        "version" => Some(label.version.to_string()),
        "committed" => time(label.committed),
        "digest" => Some(format!("{:032x}", label.digest.0)),
        _ => None,
    }
}

/// RFC 3339 in UTC.
fn time(at: SystemTime) -> Option<String> {
    Timestamp::try_from(at).ok().map(|time| time.to_string())
}

/// One word for each object, a file's or all of the volume's; nothing where none has it.
fn each(label: &Label, word: impl Fn(&ObjectVersion) -> Option<String>) -> Option<String> {
    let words: Vec<String> = label.objects.iter().filter_map(word).collect();
    (!words.is_empty()).then(|| words.join(", "))
}
