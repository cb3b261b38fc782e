//! Typed looks at a mapping: a string, a boolean, a list, or an error that says which field.
//!
//! Knows fields and types, no kinds. A field that is null counts as absent, as in the API. Each look
//! takes the field's own name and, for the error, its whole path.

use std::borrow::Cow;
use std::rc::Rc;

use super::fault::{Fault, Flaw};
use super::scalar::{self, What};
use super::tree::{Entry, Mapping, Node, Value};

type Found<T> = Result<Option<T>, Flaw>;

/// The entry of a field, unless it is absent or null.
pub(crate) fn present<'t, 'a>(mapping: &'t Mapping<'a>, name: &str) -> Option<&'t Entry<'a>> {
    mapping
        .get(name)
        .filter(|entry| entry.node.what() != What::Null)
}

/// What `take` makes of a field, or that it is not what is wanted there.
fn look<'t, 'a, T>(
    mapping: &'t Mapping<'a>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
    want: What,
    take: impl FnOnce(&'t Entry<'a>) -> Option<T>,
) -> Found<T> {
    let Some(entry) = present(mapping, name) else {
        return Ok(None);
    };
    match take(entry) {
        Some(found) => Ok(Some(found)),
        None => Err(mistyped(entry.line, field, want, entry.node.what())),
    }
}

/// That something else stands where `want` belongs.
pub(crate) fn mistyped(
    line: usize,
    field: impl Into<Cow<'static, str>>,
    want: What,
    found: What,
) -> Flaw {
    let field = field.into();
    Flaw::at(line, Fault::Type { field, want, found })
}

/// A string and its line.
pub(crate) fn text<'t>(
    mapping: &'t Mapping<'_>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> Found<(&'t str, usize)> {
    look(mapping, name, field, What::Text, |entry| {
        match &entry.node.value {
            Value::Scalar(What::Text, text) => Some((&**text, entry.line)),
            _ => None,
        }
    })
}

/// A number as it is written, and its line.
pub(crate) fn number<'t>(
    mapping: &'t Mapping<'_>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> Found<(&'t str, usize)> {
    look(mapping, name, field, What::Number, |entry| {
        match &entry.node.value {
            Value::Scalar(What::Number, text) => Some((&**text, entry.line)),
            _ => None,
        }
    })
}

/// A boolean.
pub(crate) fn truth(
    mapping: &Mapping<'_>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> Found<bool> {
    look(mapping, name, field, What::Boolean, |entry| {
        match &entry.node.value {
            Value::Scalar(What::Boolean, text) => scalar::truth(text),
            _ => None,
        }
    })
}

/// A mapping and the line of its field.
pub(crate) fn mapping<'t, 'a>(
    mapping: &'t Mapping<'a>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> Found<(&'t Mapping<'a>, usize)> {
    look(mapping, name, field, What::Mapping, |entry| {
        match &entry.node.value {
            Value::Mapping(inner) => Some((inner, entry.line)),
            _ => None,
        }
    })
}

/// A list.
pub(crate) fn list<'t, 'a>(
    mapping: &'t Mapping<'a>,
    name: &str,
    field: impl Into<Cow<'static, str>>,
) -> Found<&'t [Rc<Node<'a>>]> {
    look(mapping, name, field, What::Sequence, |entry| {
        match &entry.node.value {
            Value::Sequence(nodes) => Some(&**nodes),
            _ => None,
        }
    })
}

/// Refuses a mapping that tells one of its fields twice.
pub(crate) fn told_once(mapping: &Mapping<'_>) -> Result<(), Flaw> {
    match &mapping.twice {
        Some((_, line, first)) => Err(Flaw::at(*line, Fault::Twice(*first))),
        None => Ok(()),
    }
}
