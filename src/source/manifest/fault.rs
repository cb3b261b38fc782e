//! Everything that can be wrong with a manifest's contents, in the words that its writer reads.
//!
//! Sentences alone: where the fault lies is in [`Flaw`](super::Flaw), and no variant holds text of
//! the file.

use livemount_engine::object::{KeyError, Kind, MAX_OBJECT_BYTES};
use thiserror::Error;

use crate::yaml::{ValueType, YamlFault};

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestFault {
    /// It is wrong whatever it speaks of.
    #[error(transparent)]
    Yaml(#[from] YamlFault),
    /// A document that is no mapping.
    #[error("not a manifest: it is {0} where a mapping with apiVersion and kind should be")]
    NotAMapping(ValueType),
    /// A field that every manifest has is missing.
    #[error("not a manifest: it has no {0}")]
    Missing(&'static str),
    /// A `ConfigMap` or Secret without a name.
    #[error("a {0} without metadata.name")]
    NoName(Kind),
    /// A field that the kind does not have.
    #[error("this field is unknown; a {} has apiVersion, kind, metadata, {}", .0, fields(*.0))]
    UnknownField(Kind),
    /// A list of manifests inside a list of manifests.
    #[error("a List inside a List")]
    ListInList,
    /// The same object again.
    #[error("told twice, first on line {0}")]
    Duplicate(usize),
    /// The same key in both maps of a `ConfigMap`.
    #[error("told in data and in binaryData, first on line {0}")]
    InBoth(usize),
    /// A key that the API refuses.
    #[error("{0}")]
    Key(KeyError),
    /// A key that kubectl would write differently.
    #[error("the key is {0}, which kubectl writes in its own way; quote it")]
    Rewritten(ValueType),
    /// A value that is no string.
    #[error("the value is {found}; {map} takes strings only, so {}", advice(*.found))]
    NotText {
        /// Which map of the object.
        map: &'static str,
        /// What the value is.
        found: ValueType,
    },
    /// A value that should be base64 and is not.
    #[error("the value is not base64{}", alternative(*.0))]
    Base64(Kind),
    /// The values are larger than the API accepts.
    #[error("its values hold more than {MAX_OBJECT_BYTES} bytes")]
    TooLarge,
}

fn fields(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap | Kind::Pod => "data, binaryData and immutable",
        Kind::Secret => "data, stringData, type and immutable",
    }
}

fn advice(found: ValueType) -> &'static str {
    match found {
        ValueType::Null => "write \"\" for an empty one",
        ValueType::Sequence | ValueType::Mapping => "write it as a block (key: |)",
        ValueType::Binary => "take the tag away",
        ValueType::Boolean | ValueType::Number | ValueType::Text => "quote it",
    }
}

fn alternative(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap | Kind::Pod => "",
        Kind::Secret => "; plain text goes under stringData",
    }
}
