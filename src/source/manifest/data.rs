//! The three maps of an object's data, merged as the API merges them.
//!
//! Keys and values are judged here with the line of each. Nothing is copied before the whole object
//! is known to be small enough: aliases can name one large value under many keys.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use livemount_engine::object::{Bytes, Kind, MAX_OBJECT_BYTES, Object, ObjectKey, check_key};
use livemount_engine::shorten::{IN_A_SENTENCE, shorten};

use super::error::ManifestFlaw;
use super::fault::ManifestFault;
use super::parse::MAX_FILE_BYTES;
use crate::yaml::{Entry, Mapping, Value, ValueType, YamlFault, fields, scalar};

/// Go's `StdEncoding`, which does not mind bits left over at the end. That it skips line ends is
/// done by hand.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A value before it is decoded.
struct Raw<'t> {
    line: usize,
    text: &'t str,
    base64: bool,
}

/// The object that starts on a line, with its data; uid and version are not looked at.
pub(super) fn object(
    key: &ObjectKey,
    mapping: &Mapping<'_>,
    line: usize,
) -> Result<Object, Box<ManifestFlaw>> {
    let mut raw = BTreeMap::new();
    // In this order: stringData wins over data.
    let maps: [(&'static str, bool); 2] = match key.kind {
        // A pod is no object of a manifest.
        Kind::ConfigMap | Kind::Pod => [("data", false), ("binaryData", true)],
        Kind::Secret => [("data", true), ("stringData", false)],
    };
    for (name, base64) in maps {
        if let Some((map, _)) = fields::mapping(mapping, name, name)? {
            gather(&mut raw, key.kind, name, map, base64)?;
        }
    }
    let data = decode(key.kind, &raw, line)?;
    // Its keys have been checked one by one.
    Object::new(key.clone(), data).map_err(|_| ManifestFlaw::at(line, ManifestFault::TooLarge))
}

fn gather<'t>(
    raw: &mut BTreeMap<&'t str, Raw<'t>>,
    kind: Kind,
    name: &'static str,
    map: &'t Mapping<'_>,
    base64: bool,
) -> Result<(), Box<ManifestFlaw>> {
    if let Some((key, line, first)) = &map.duplicate {
        return Err(named(
            kind,
            key,
            ManifestFlaw::at(*line, YamlFault::Duplicate(*first)),
        ));
    }
    for (key, entry) in map.in_order() {
        let flaw = |fault| named(kind, key, ManifestFlaw::at(entry.line, fault));
        let text = value(name, key, entry).map_err(flaw)?;
        let line = entry.line;
        let value = Raw { line, text, base64 };
        if let Some(other) = raw.insert(key, value)
            && kind == Kind::ConfigMap
        {
            return Err(flaw(ManifestFault::InBoth(other.line)));
        }
    }
    Ok(())
}

/// The text of an entry whose key and value the API would take.
fn value<'t>(map: &'static str, key: &str, entry: &'t Entry<'_>) -> Result<&'t str, ManifestFault> {
    if !scalar::is_kept_as_key(key, entry.key_type) {
        return Err(ManifestFault::Rewritten(entry.key_type));
    }
    check_key(key).map_err(ManifestFault::Key)?;
    match &entry.node.value {
        Value::Scalar(ValueType::Text, text) => Ok(text),
        _ => Err(ManifestFault::NotText {
            map,
            found: entry.node.value_type(),
        }),
    }
}

/// Names the key, unless it is one of a Secret that is no key at all.
fn named(kind: Kind, key: &str, flaw: Box<ManifestFlaw>) -> Box<ManifestFlaw> {
    if kind == Kind::Secret && check_key(key).is_err() {
        flaw
    } else {
        flaw.key(&shorten(key, IN_A_SENTENCE))
    }
}

fn decode(
    kind: Kind,
    raw: &BTreeMap<&str, Raw<'_>>,
    object: usize,
) -> Result<BTreeMap<String, Bytes>, Box<ManifestFlaw>> {
    let too_large = || ManifestFlaw::at(object, ManifestFault::TooLarge);
    let mut data = BTreeMap::new();
    let (mut written, mut held) = (0, 0);
    for (key, Raw { line, text, base64 }) in raw {
        // Bounds the work, for base64 of nothing but line ends is long and holds nothing.
        written += text.len();
        if written > MAX_FILE_BYTES || (!base64 && held + text.len() > MAX_OBJECT_BYTES) {
            return Err(too_large());
        }
        let bytes = if *base64 {
            let solid = if text.contains(['\r', '\n']) {
                Cow::Owned(text.replace(['\r', '\n'], ""))
            } else {
                Cow::Borrowed(*text)
            };
            let bytes = BASE64.decode(&*solid).map_err(|_| {
                named(
                    kind,
                    key,
                    ManifestFlaw::at(*line, ManifestFault::Base64(kind)),
                )
            })?;
            Bytes::from(bytes)
        } else {
            Bytes::from(*text)
        };
        held += bytes.len();
        if held > MAX_OBJECT_BYTES {
            return Err(too_large());
        }
        data.insert((*key).to_owned(), bytes);
    }
    Ok(data)
}
