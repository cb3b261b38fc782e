//! Everything that can be wrong with a manifest's contents, in the words that its writer reads.
//!
//! Sentences alone: where the fault lies is in [`Flaw`](super::Flaw), and no variant holds text of
//! the file.

use livemount_engine::object::{KeyError, Kind, MAX_OBJECT_BYTES};
use thiserror::Error;

use super::documents::{MAX_DEPTH, MAX_VALUES};
use super::parse::MAX_FILE_BYTES;
use super::scalar::What;

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The file is too large to be read.
    #[error("the file has more than {MAX_FILE_BYTES} bytes")]
    FileTooLarge,
    /// The file's bytes are no text.
    #[error("not YAML: it is not UTF-8")]
    NotUtf8,
    /// A character that YAML forbids.
    #[error("not YAML: a control character; put binary values under binaryData as base64")]
    Control,
    /// The text breaks YAML's grammar.
    #[error("not YAML: {0}")]
    Syntax(&'static str),
    /// Collections within collections without end.
    #[error("nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More values than any manifest has.
    #[error("the file has more than {MAX_VALUES} values")]
    TooManyValues,
    /// An alias inside the node that it names.
    #[error("an alias stands inside the value that it names")]
    AliasInItself,
    /// A key that JSON could not have.
    #[error("{0} as a key; if this is a template, render it first")]
    NotAKey(What),
    /// A merge key whose value is no mapping.
    #[error("the merge key << takes a mapping or a list of mappings, not {0}")]
    Merge(What),
    /// A document that is no mapping.
    #[error("not a manifest: it is {0} where a mapping with apiVersion and kind should be")]
    NotAMapping(What),
    /// A field that every manifest has is missing.
    #[error("not a manifest: it has no {0}")]
    Missing(&'static str),
    /// A `ConfigMap` or Secret without a name.
    #[error("a {0} without metadata.name")]
    NoName(Kind),
    /// A name that the API refuses.
    #[error("{field} is not a legal name: {why}")]
    Name {
        /// Which field.
        field: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A field of the wrong type.
    #[error("{field} must be {want}, not {found}")]
    Type {
        /// Which field.
        field: &'static str,
        /// What belongs there.
        want: What,
        /// What stands there.
        found: What,
    },
    /// A field that the kind does not have.
    #[error("this field is unknown; a {} has apiVersion, kind, metadata, {}", .0, fields(*.0))]
    UnknownField(Kind),
    /// A list of manifests inside a list of manifests.
    #[error("a List inside a List")]
    ListInList,
    /// The same field, key or object again.
    #[error("told twice, first on line {0}")]
    Twice(usize),
    /// The same key in both maps of a `ConfigMap`.
    #[error("told in data and in binaryData, first on line {0}")]
    InBoth(usize),
    /// A key that the API refuses.
    #[error("{0}")]
    Key(KeyError),
    /// A key that kubectl would write differently.
    #[error("the key is {0}, which kubectl writes in its own way; quote it")]
    Rewritten(What),
    /// A value that is no string.
    #[error("the value is {found}; {map} takes strings only, so {}", advice(*.found))]
    NotText {
        /// Which map of the object.
        map: &'static str,
        /// What the value is.
        found: What,
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
        Kind::ConfigMap => "data, binaryData and immutable",
        Kind::Secret => "data, stringData, type and immutable",
    }
}

fn advice(found: What) -> &'static str {
    match found {
        What::Null => "write \"\" for an empty one",
        What::Sequence | What::Mapping => "write it as a block (key: |)",
        What::Binary => "take the tag away",
        What::Boolean | What::Number | What::Text => "quote it",
    }
}

fn alternative(kind: Kind) -> &'static str {
    match kind {
        Kind::ConfigMap => "",
        Kind::Secret => "; plain text goes under stringData",
    }
}
