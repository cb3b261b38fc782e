//! The downward API within a projected volume: which field or resource of its pod goes where.
//!
//! Read here are the words of a pod spec; which fields and resources there are is the engine's to say.

use std::borrow::Cow;

use livemount_engine::downward::{self, Divisor};
use livemount_engine::spec::Item;

use super::elements::{Element, elements};
use super::error::{VolumeSourceFault, VolumeSourceFlaw};
use super::items::{Paths, mode, required};
use super::volume::has_only;
use crate::yaml::{Mapping, Value, ValueType, YamlFault, YamlFlaw, fields, name, scalar};

/// The items of a downward API.
pub(super) fn items(
    paths: &mut Paths,
    source: &Mapping<'_>,
    own: &str,
) -> Result<Vec<Item>, VolumeSourceFlaw> {
    has_only(source, &["items"], own)?;
    elements(source, "items", own)?
        .map(|element| read(paths, &element?))
        .collect()
}

fn read(paths: &mut Paths, item: &Element<'_, '_>) -> Result<Item, VolumeSourceFlaw> {
    let Element { mapping, own, line } = item;
    has_only(
        mapping,
        &["path", "mode", "fieldRef", "resourceFieldRef"],
        own,
    )?;
    let look = |name| {
        let field = format!("{own}.{name}");
        let found = fields::mapping(mapping, name, field.clone())?;
        Ok::<_, VolumeSourceFlaw>(found.map(|found| (found, field)))
    };
    let (key, divisor) = match (look("fieldRef")?, look("resourceFieldRef")?) {
        (Some(((of, line), own)), None) => (field(of, &own, line)?, None),
        (None, Some(((of, line), own))) => {
            let (key, divisor) = resource(of, &own, line)?;
            (key, Some(divisor))
        }
        _ => {
            let fault = VolumeSourceFault::FieldOrResource;
            return Err(VolumeSourceFlaw::at(*line, fault).of(own));
        }
    };
    Ok(Item {
        path: paths.path(item, &key, None, true)?,
        key,
        mode: mode(mapping, "mode", own)?,
        divisor,
    })
}

/// The key of a `fieldRef`.
fn field(of: &Mapping<'_>, own: &str, line: usize) -> Result<String, VolumeSourceFlaw> {
    has_only(of, &["apiVersion", "fieldPath"], own)?;
    let version = format!("{own}.apiVersion");
    // Empty is not told, as in the API.
    match fields::text(of, "apiVersion", version.clone())? {
        None | Some(("" | "v1", _)) => {}
        Some((_, line)) => {
            return Err(VolumeSourceFlaw::at(line, VolumeSourceFault::ApiVersion).of(version));
        }
    }
    let (path, line) = required(of, "fieldPath", own, line)?;
    downward::field(path).map_err(|why| {
        VolumeSourceFlaw::at(line, VolumeSourceFault::Field(why)).of(format!("{own}.fieldPath"))
    })
}

/// The key and the divisor of a `resourceFieldRef`.
fn resource(
    of: &Mapping<'_>,
    own: &str,
    line: usize,
) -> Result<(String, Divisor), VolumeSourceFlaw> {
    has_only(of, &["containerName", "resource", "divisor"], own)?;
    let (container, at) = required(of, "containerName", own, line)?;
    // The API takes any text here; no container can have another name.
    name::label(container).map_err(|why| {
        let field = format!("{own}.containerName").into();
        YamlFlaw::at(at, YamlFault::Name { field, why })
    })?;
    let (resource, at) = required(of, "resource", own, line)?;
    let divisor = quantity(of, "divisor", format!("{own}.divisor"))?;
    let read = downward::resource(
        container,
        resource,
        divisor.as_ref().map(|(text, _)| &**text),
    );
    read.map_err(|why| {
        let (field, line) = match (why, &divisor) {
            (downward::ResourceError::Unknown, _) | (_, None) => ("resource", at),
            (_, Some((_, line))) => ("divisor", *line),
        };
        VolumeSourceFlaw::at(line, VolumeSourceFault::Resource(why)).of(format!("{own}.{field}"))
    })
}

/// A quantity and its line: a string, or a number as kubectl hands it on.
fn quantity<'t>(
    mapping: &'t Mapping<'_>,
    name: &str,
    field: String,
) -> Result<Option<(Cow<'t, str>, usize)>, VolumeSourceFlaw> {
    let Some(entry) = fields::present(mapping, name) else {
        return Ok(None);
    };
    let text = match &entry.node.value {
        Value::Scalar(ValueType::Text, text) => Cow::Borrowed(&**text),
        Value::Scalar(ValueType::Number, text) => Cow::Owned(scalar::integer(text).map_or_else(
            || {
                text.replace('_', "")
                    .parse::<f64>()
                    .map_or_else(|_| text.to_string(), |n| n.to_string())
            },
            |n| n.to_string(),
        )),
        _ => {
            return Err(fields::mistyped(
                entry.line,
                field,
                ValueType::Text,
                entry.node.value_type(),
            )
            .into());
        }
    };
    Ok(Some((text, entry.line)))
}
