//! Lists whose elements are mappings: the sources of a projected volume, the items of a source.
//!
//! Knows where an element stands, for the errors about it, and nothing of what it may hold.

use super::error::VolumeSourceFlaw;
use crate::yaml::{Mapping, Value, ValueType, fields};

/// An element of a list, and where it stands.
pub(super) struct Element<'t, 'a> {
    pub(super) mapping: &'t Mapping<'a>,
    /// The path of its field.
    pub(super) own: String,
    pub(super) line: usize,
}

/// The elements of a field's list, each judged when it is asked for, so that the first fault of a text
/// is the first in its order. `own` is the path of the mapping.
pub(super) fn elements<'t, 'a>(
    mapping: &'t Mapping<'a>,
    name: &str,
    own: &str,
) -> Result<impl Iterator<Item = Result<Element<'t, 'a>, VolumeSourceFlaw>>, VolumeSourceFlaw> {
    let field = format!("{own}.{name}");
    let nodes = fields::list(mapping, name, field.clone())?.unwrap_or_default();
    Ok(nodes.iter().enumerate().map(move |(at, node)| {
        let own = format!("{field}[{at}]");
        let Value::Mapping(mapping) = &node.value else {
            let found = node.value_type();
            return Err(fields::mistyped(node.line, own, ValueType::Mapping, found).into());
        };
        Ok(Element {
            mapping,
            own,
            line: node.line,
        })
    }))
}
