//! Typed looks at a mapping: a string, a boolean, a list, or an error that says which field.
//!
//! Knows fields and types, no kinds. A field that is null counts as absent, as in the API. Each look
//! takes the field's own name and, for the error, its whole path.

use std::borrow::Cow;
use std::rc::Rc;

use super::fault::{YamlFault, YamlFlaw};
use super::scalar::{self, ValueType};
use super::tree::{Entry, Mapping, Node, Value};

type FieldResult<T> = Result<Option<T>, YamlFlaw>;

/// The entry of a field, unless it is absent or null.
pub(crate) fn present<'t, 'a>(mapping: &'t Mapping<'a>, name: &str) -> Option<&'t Entry<'a>> {
    mapping
        .get(name)
        .filter(|entry| entry.node.value_type() != ValueType::Null)
}

/// What `take` makes of a field, or that it is not what is wanted there.
fn typed<'t, 'a, T>(
    mapping: &'t Mapping<'a>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
    want: ValueType,
    take: impl FnOnce(&'t Entry<'a>) -> Option<T>,
) -> FieldResult<T> {
    let Some(entry) = present(mapping, name) else {
        return Ok(None);
    };
    match take(entry) {
        Some(found) => Ok(Some(found)),
        None => Err(mistyped(entry.line, field, want, entry.node.value_type())),
    }
}

/// That something else stands where `want` belongs.
pub(crate) fn mistyped(
    line: usize,
    field: impl Into<Cow<'static, str>>,
    want: ValueType,
    found: ValueType,
) -> YamlFlaw {
    let field = field.into();
    YamlFlaw::at(line, YamlFault::Type { field, want, found })
}

/// A string and its line.
pub(crate) fn text<'t>(
    mapping: &'t Mapping<'_>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> FieldResult<(&'t str, usize)> {
    written(mapping, name, field, ValueType::Text)
}

/// A number as it is written, and its line.
pub(crate) fn number<'t>(
    mapping: &'t Mapping<'_>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> FieldResult<(&'t str, usize)> {
    written(mapping, name, field, ValueType::Number)
}

/// A scalar of a type as it is written, and its line.
fn written<'t>(
    mapping: &'t Mapping<'_>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
    want: ValueType,
) -> FieldResult<(&'t str, usize)> {
    typed(mapping, name, field, want, |entry| {
        match &entry.node.value {
            Value::Scalar(found, text) if *found == want => Some((&**text, entry.line)),
            _ => None,
        }
    })
}

/// A boolean.
pub(crate) fn boolean(
    mapping: &Mapping<'_>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> FieldResult<bool> {
    typed(
        mapping,
        name,
        field,
        ValueType::Boolean,
        |entry| match &entry.node.value {
            Value::Scalar(ValueType::Boolean, text) => scalar::boolean(text),
            _ => None,
        },
    )
}

/// A mapping and the line of its field.
pub(crate) fn mapping<'t, 'a>(
    mapping: &'t Mapping<'a>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> FieldResult<(&'t Mapping<'a>, usize)> {
    typed(
        mapping,
        name,
        field,
        ValueType::Mapping,
        |entry| match &entry.node.value {
            Value::Mapping(inner) => Some((inner, entry.line)),
            _ => None,
        },
    )
}

/// A list.
pub(crate) fn list<'t, 'a>(
    mapping: &'t Mapping<'a>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> FieldResult<&'t [Rc<Node<'a>>]> {
    typed(
        mapping,
        name,
        field,
        ValueType::Sequence,
        |entry| match &entry.node.value {
            Value::Sequence(nodes) => Some(&**nodes),
            _ => None,
        },
    )
}

/// Refuses a mapping that tells one of its fields twice.
pub(crate) fn without_duplicates(mapping: &Mapping<'_>) -> Result<(), YamlFlaw> {
    match &mapping.duplicate {
        Some((_, line, first)) => Err(YamlFlaw::at(*line, YamlFault::Duplicate(*first))),
        None => Ok(()),
    }
}
