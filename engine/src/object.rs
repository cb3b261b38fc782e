//! Objects: one `ConfigMap` or Secret at one version, from any source, already decoded.
//!
//! Values never show in `Debug`: a Secret's bytes must not reach a log by accident. Validation here
//! is the API server's own (kubernetes `ValidateConfigMap`, `ValidateSecret`), so that a manifest on
//! a plain host is refused for what the API would refuse.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::shorten::{IN_A_SENTENCE, shorten};
use crate::snapshot::ObjectVersion;

/// The most bytes that the values of one object may hold together, in bytes (1 MiB): `MaxSecretSize`
/// of kubernetes `core/v1/types.go`. Keys are not counted, as in the API.
pub const MAX_OBJECT_BYTES: usize = 1 << 20;

/// The longest key that an object may have, in characters (`IsConfigMapKey`, apimachinery).
pub const MAX_KEY_LEN: usize = 253;

/// A value's bytes, shared and immutable. `Debug` shows the length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(Arc<[u8]>);

impl Bytes {
    /// Takes the bytes over, or copies them where they cannot be taken.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// Whether both are one allocation, and so equal at the cost of a comparison of addresses.
    pub fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// Which kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `v1/ConfigMap`
    ConfigMap,
    /// `v1/Secret`
    Secret,
    /// `v1/Pod`: what a downward API volume may show of it ([`Object::of_pod`]).
    Pod,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Pod => "Pod",
        })
    }
}

/// Which source an object comes from. Opaque here: who reads sources names them, and two objects that
/// differ in nothing else are two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Origin(Cow<'static, str>);

impl Origin {
    /// The source of this name.
    pub const fn named(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that was written down, when it is read back.
impl From<String> for Origin {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0.into_owned()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names an object. Shown as `ConfigMap default/app`: people know where they have it from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// The object's kind.
    pub kind: Kind,
    /// Its namespace; `default` where a manifest names none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which source tells it. Last, so that objects stand in the order of their names.
    pub origin: Origin,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// One object at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which object this is.
    pub key: ObjectKey,
    /// The object's uid, where its source tells one.
    pub uid: Option<String>,
    /// The version in its source's own words: shown, never compared here.
    pub resource_version: Option<String>,
    /// Whether the object says that it will never change.
    pub immutable: bool,
    /// When its source learned of this version, where it is one that is told of versions.
    pub received: Option<SystemTime>,
    /// Key to value; `data`, `binaryData` and `stringData` are merged.
    data: BTreeMap<String, Bytes>,
}

impl Object {
    /// Checks keys and sizes as the API server does.
    ///
    /// # Errors
    ///
    /// A key that no object can have, the first in their order; or values of more than [`MAX_OBJECT_BYTES`].
    pub fn new(key: ObjectKey, data: BTreeMap<String, Bytes>) -> Result<Self, ObjectError> {
        for name in data.keys() {
            check_key(name).map_err(|why| ObjectError::Key {
                object: key.clone(),
                key: shorten(name, IN_A_SENTENCE).into_owned(),
                why,
            })?;
        }
        let bytes: usize = data.values().map(|value| value.len()).sum();
        if bytes > MAX_OBJECT_BYTES {
            return Err(ObjectError::TooLarge { object: key, bytes });
        }
        Ok(Self {
            key,
            uid: None,
            resource_version: None,
            immutable: false,
            received: None,
            data,
        })
    }

    /// What a pod's downward API tells: field expression to value, such as `metadata.name`,
    /// `metadata.labels['app']` or `app/limits.cpu`. These are no file names; a spec's items give
    /// each a path.
    pub fn of_pod(key: ObjectKey, fields: BTreeMap<String, Bytes>) -> Self {
        Self {
            key,
            uid: None,
            resource_version: None,
            immutable: false,
            received: None,
            data: fields,
        }
    }

    /// What a snapshot shows of an object, which was checked when it was rendered.
    pub(crate) fn shown(version: &ObjectVersion, data: BTreeMap<String, Bytes>) -> Self {
        Self {
            key: version.key.clone(),
            uid: version.uid.clone(),
            resource_version: version.resource_version.clone(),
            immutable: version.immutable,
            received: version.received,
            data,
        }
    }

    /// Key to value.
    pub fn data(&self) -> &BTreeMap<String, Bytes> {
        &self.data
    }

    /// Whether nothing that anybody could see has changed. Of a pod only what its volumes show counts:
    /// its version moves with every status.
    pub(crate) fn says_the_same(&self, earlier: &Self) -> bool {
        let versions = [self, earlier].map(|it| (&it.uid, &it.resource_version, it.immutable));
        self.data == earlier.data && (self.key.kind == Kind::Pod || versions[0] == versions[1])
    }

    /// Takes over the earlier version's allocation of every value that did not change, so that the
    /// object and the snapshots rendered before it hold such a value once.
    pub(crate) fn share_values(&mut self, earlier: &Self) {
        for (key, value) in &mut self.data {
            if let Some(same) = earlier.data.get(key).filter(|old| *old == value) {
                *value = same.clone();
            }
        }
    }
}

/// Why an object is not one that the API would accept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// A key is not a legal file name of a volume.
    #[error("{object}: key {key:?}: {why}")]
    Key {
        /// The object.
        object: ObjectKey,
        /// The key, cut to a length that a person reads.
        key: String,
        /// What is wrong with it.
        why: KeyError,
    },
    /// The values are larger than the API accepts.
    #[error("{object}: its values hold {bytes} bytes; at most {MAX_OBJECT_BYTES} are allowed")]
    TooLarge {
        /// The object.
        object: ObjectKey,
        /// How many bytes its values hold.
        bytes: usize,
    },
}

/// What is wrong with a key (`IsConfigMapKey`, apimachinery `validation.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The key is empty.
    #[error("a key must not be empty")]
    Empty,
    /// The key is too long.
    #[error("a key has at most {MAX_KEY_LEN} characters")]
    TooLong,
    /// The key has a character outside the allowed ones.
    #[error("a key consists of letters, digits, '-', '_' and '.' alone")]
    Character,
    /// The key is `.` or starts with `..`.
    #[error("a key must not be '.' and must not start with '..'")]
    Dots,
}

/// Whether the API accepts this as a key of `data`.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn check_key(key: &str) -> Result<(), KeyError> {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if key.is_empty() {
        Err(KeyError::Empty)
    } else if key.len() > MAX_KEY_LEN {
        Err(KeyError::TooLong)
    } else if !key.bytes().all(legal) {
        Err(KeyError::Character)
    } else if key == "." || key.starts_with("..") {
        Err(KeyError::Dots)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ObjectKey {
        ObjectKey {
            kind: Kind::Secret,
            namespace: "default".into(),
            name: "s".into(),
            origin: Origin::named("test"),
        }
    }

    #[test]
    fn keys_are_those_the_api_accepts() {
        for good in ["a", ".env", "a..b", "A-b_c.9", &"k".repeat(253)] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", KeyError::Empty),
            (".", KeyError::Dots),
            ("..", KeyError::Dots),
            ("..a", KeyError::Dots),
            ("a/b", KeyError::Character),
            ("a b", KeyError::Character),
            ("é", KeyError::Character),
        ] {
            assert_eq!(check_key(bad), Err(why), "{bad}");
        }
        assert_eq!(check_key(&"k".repeat(254)), Err(KeyError::TooLong));
    }

    #[test]
    fn an_object_holds_a_mebibyte_and_no_more() {
        let data = |n| BTreeMap::from([("k".to_owned(), Bytes::from(vec![0; n]))]);
        assert!(Object::new(key(), data(MAX_OBJECT_BYTES)).is_ok());
        assert!(matches!(
            Object::new(key(), data(MAX_OBJECT_BYTES + 1)),
            Err(ObjectError::TooLarge { .. })
        ));
    }

    #[test]
    fn debug_never_shows_a_value() {
        let data = BTreeMap::from([("k".to_owned(), Bytes::from("hunter2"))]);
        let object = Object::new(key(), data).expect("a legal object");
        assert!(!format!("{object:?}").contains("hunter2"));
    }
}
