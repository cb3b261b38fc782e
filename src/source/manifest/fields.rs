//! Typed looks at a mapping: a string, a boolean, a mapping, or an error that says which field.
//!
//! Knows fields and types, no kinds. A field that is null counts as absent, as in the API.

use super::error::Flaw;
use super::fault::Fault;
use super::scalar::{self, What};
use super::tree::{Entry, Mapping, Value};

type Found<T> = Result<Option<T>, Box<Flaw>>;

/// The entry of a field, unless it is absent or null.
fn present<'t, 'a>(mapping: &'t Mapping<'a>, name: &str) -> Option<&'t Entry<'a>> {
    mapping
        .get(name)
        .filter(|entry| entry.node.what() != What::Null)
}

fn wrong<T>(entry: &Entry<'_>, field: &'static str, want: What) -> Found<T> {
    let found = entry.node.what();
    Err(Flaw::at(entry.line, Fault::Type { field, want, found }))
}

/// A string and its line. `field` is the whole path that an error names.
pub(super) fn text<'t>(
    mapping: &'t Mapping<'_>,
    name: &str,
    field: &'static str,
) -> Found<(&'t str, usize)> {
    let Some(entry) = present(mapping, name) else {
        return Ok(None);
    };
    match &entry.node.value {
        Value::Scalar(What::Text, text) => Ok(Some((text, entry.line))),
        _ => wrong(entry, field, What::Text),
    }
}

/// A boolean.
pub(super) fn truth(mapping: &Mapping<'_>, name: &'static str) -> Found<bool> {
    let Some(entry) = present(mapping, name) else {
        return Ok(None);
    };
    match &entry.node.value {
        Value::Scalar(What::Boolean, text) => Ok(scalar::truth(text)),
        _ => wrong(entry, name, What::Boolean),
    }
}

/// A mapping and its line.
pub(super) fn mapping<'t, 'a>(
    mapping: &'t Mapping<'a>,
    name: &'static str,
) -> Found<&'t Mapping<'a>> {
    let Some(entry) = present(mapping, name) else {
        return Ok(None);
    };
    match &entry.node.value {
        Value::Mapping(inner) => Ok(Some(inner)),
        _ => wrong(entry, name, What::Mapping),
    }
}

/// Refuses a mapping that tells one of its fields twice.
pub(super) fn told_once(mapping: &Mapping<'_>) -> Result<(), Box<Flaw>> {
    match &mapping.twice {
        Some((_, line, first)) => Err(Flaw::at(*line, Fault::Twice(*first))),
        None => Ok(()),
    }
}
