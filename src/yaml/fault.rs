//! What can be wrong with a text before it is known what it speaks of.
//!
//! Sentences alone, and none of them holds text of the file, which may be a Secret's.

use std::borrow::Cow;

use thiserror::Error;

use super::documents::{MAX_DEPTH, MAX_VALUES};
use super::scalar::ValueType;

/// A fault and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlFlaw {
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub fault: YamlFault,
}

impl YamlFlaw {
    /// A fault on a line.
    pub(crate) fn at(line: usize, fault: YamlFault) -> Self {
        Self {
            line: Some(line),
            fault,
        }
    }
}

/// What is wrong with a text, or with the type of one of its fields.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum YamlFault {
    /// The file is too large to be read.
    #[error("the file has more than {0} bytes")]
    TooManyBytes(usize),
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
    /// More values than any file needs.
    #[error("the file has more than {MAX_VALUES} values")]
    TooManyValues,
    /// An alias inside the node that it names.
    #[error("an alias stands inside the value that it names")]
    AliasInItself,
    /// A key that JSON could not have.
    #[error("{0} as a key; if this is a template, render it first")]
    NotAKey(ValueType),
    /// A merge key whose value is no mapping.
    #[error("the merge key << takes a mapping or a list of mappings, not {0}")]
    Merge(ValueType),
    /// A field of the wrong type.
    #[error("{field} must be {want}, not {found}")]
    Type {
        /// Which field.
        field: Cow<'static, str>,
        /// What belongs there.
        want: ValueType,
        /// What stands there.
        found: ValueType,
    },
    /// The same field or key again.
    #[error("told twice, first on line {0}")]
    Duplicate(usize),
    /// A name that the API refuses.
    #[error("{field} is not a legal name: {why}")]
    Name {
        /// Which field.
        field: Cow<'static, str>,
        /// The rule that it breaks.
        why: &'static str,
    },
}
