//! A manifest's bytes to objects, all of them or one error.
//!
//! Refuses what kubectl and the API would refuse, so that a file which is served here can be
//! applied there. Pure and synchronous; every bound on time and memory that a hostile file could
//! want to pass is kept here or in `tree`. Other kinds are passed over and looked at no further
//! than their `kind`. Knows no volume and does not compare versions.

use std::collections::HashMap;
use std::path::Path;

use livemount_engine::object::{Kind, Object, ObjectKey};

use super::ORIGIN;
use super::data;
use super::error::{ManifestError, ManifestFlaw};
use super::fault::ManifestFault;
use crate::yaml::{Documents, Mapping, Node, Value, ValueType, YamlFault, fields, name};

/// The largest file that is read: five objects of the largest request that the API takes (3 MiB),
/// and small enough to be held in memory twice.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// An object and the line where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedObject {
    /// The object.
    pub object: Object,
    /// The line, counted from 1.
    pub line: usize,
}

/// Reads every `v1` `ConfigMap` and Secret of a manifest in YAML or JSON, in the file's order. The
/// origin is named in the error and nothing else; objects without a namespace get the default one.
///
/// # Errors
///
/// The first fault, in the order of the text; no object of such a text is served.
pub fn parse(
    origin: &Path,
    bytes: &[u8],
    default_namespace: &str,
) -> Result<Vec<LocatedObject>, ManifestError> {
    let mut manifest = Manifest {
        default_namespace,
        lines: HashMap::new(),
        objects: Vec::new(),
    };
    match manifest.read(bytes) {
        Ok(()) => Ok(manifest.objects),
        Err(flaw) => Err(ManifestError {
            file: origin.to_owned(),
            flaw,
        }),
    }
}

struct Manifest<'n> {
    default_namespace: &'n str,
    /// Where each object was told.
    lines: HashMap<ObjectKey, usize>,
    objects: Vec<LocatedObject>,
}

impl Manifest<'_> {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Box<ManifestFlaw>> {
        let mut documents = Documents::new(bytes, MAX_FILE_BYTES)?;
        while let Some(root) = documents.next()? {
            self.document(&root)?;
        }
        Ok(())
    }

    fn document(&mut self, root: &Node<'_>) -> Result<(), Box<ManifestFlaw>> {
        let mapping = match &root.value {
            // An empty document, as between two separators.
            Value::Scalar(ValueType::Null, _) => return Ok(()),
            value => as_mapping(value, root)?,
        };
        let (version, kind) = type_of(mapping, root.line, None)?;
        let items = match (version, kind) {
            ("v1", "List") => None,
            ("v1", "ConfigMapList") => Some("ConfigMap"),
            ("v1", "SecretList") => Some("Secret"),
            _ => return self.object(mapping, root.line, version, kind),
        };
        fields::without_duplicates(mapping)?;
        let Some(entry) = mapping.get("items") else {
            return Ok(());
        };
        match &entry.node.value {
            Value::Scalar(ValueType::Null, _) => Ok(()),
            Value::Sequence(nodes) => nodes.iter().try_for_each(|item| {
                let mapping = as_mapping(&item.value, item)?;
                let (version, kind) = type_of(mapping, item.line, items)?;
                if version == "v1" && kind.ends_with("List") {
                    // kubectl would open it. Nobody writes one, and without it no list of aliases
                    // to lists can multiply.
                    return Err(ManifestFlaw::at(item.line, ManifestFault::ListInList));
                }
                self.object(mapping, item.line, version, kind)
            }),
            _ => Err(fields::mistyped(
                entry.line,
                "items",
                ValueType::Sequence,
                entry.node.value_type(),
            )
            .into()),
        }
    }

    /// Takes a mapping that says of which kind it is.
    fn object(
        &mut self,
        mapping: &Mapping<'_>,
        line: usize,
        version: &str,
        kind: &str,
    ) -> Result<(), Box<ManifestFlaw>> {
        let kind = match (version, kind) {
            ("v1", "ConfigMap") => Kind::ConfigMap,
            ("v1", "Secret") => Kind::Secret,
            _ => return Ok(()),
        };
        let metadata = fields::mapping(mapping, "metadata", "metadata")?.map(|(inner, _)| inner);
        let key = self.key(kind, metadata, line)?;
        if let Some(first) = self.lines.insert(key.clone(), line) {
            return Err(ManifestFlaw::at(line, ManifestFault::Duplicate(first)).of(&key));
        }
        let object = build(&key, mapping, metadata, line).map_err(|flaw| flaw.of(&key))?;
        self.objects.push(LocatedObject { object, line });
        Ok(())
    }

    /// What names the object.
    fn key(
        &self,
        kind: Kind,
        metadata: Option<&Mapping<'_>>,
        line: usize,
    ) -> Result<ObjectKey, Box<ManifestFlaw>> {
        let field = |name, field: &'static str| match metadata {
            Some(metadata) => fields::text(metadata, name, field),
            None => Ok(None),
        };
        let Some((name, at)) = field("name", "metadata.name")?.filter(|(name, _)| !name.is_empty())
        else {
            return Err(ManifestFlaw::at(line, ManifestFault::NoName(kind)));
        };
        let illegal = |line, field: &'static str, why| {
            let field = field.into();
            ManifestFlaw::at(line, YamlFault::Name { field, why })
        };
        name::subdomain(name).map_err(|why| illegal(at, "metadata.name", why))?;
        let namespace = match field("namespace", "metadata.namespace")? {
            Some((namespace, at)) if !namespace.is_empty() => {
                name::label(namespace).map_err(|why| illegal(at, "metadata.namespace", why))?;
                namespace
            }
            _ => self.default_namespace,
        };
        Ok(ObjectKey {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            origin: ORIGIN,
        })
    }
}

fn as_mapping<'t, 'a>(
    value: &'t Value<'a>,
    node: &Node<'_>,
) -> Result<&'t Mapping<'a>, Box<ManifestFlaw>> {
    match value {
        Value::Mapping(mapping) => Ok(mapping),
        _ => Err(ManifestFlaw::at(
            node.line,
            ManifestFault::NotAMapping(node.value_type()),
        )),
    }
}

/// `apiVersion` and `kind`. The items of a typed list need not repeat them.
fn type_of<'t>(
    mapping: &'t Mapping<'_>,
    line: usize,
    known: Option<&'static str>,
) -> Result<(&'t str, &'t str), Box<ManifestFlaw>> {
    let field = |name: &'static str, known: Option<&'static str>| {
        let told = fields::text(mapping, name, name)?.map(|(text, _)| text);
        told.filter(|text| !text.is_empty())
            .or(known)
            .ok_or_else(|| ManifestFlaw::at(line, ManifestFault::Missing(name)))
    };
    Ok((
        field("apiVersion", known.map(|_| "v1"))?,
        field("kind", known)?,
    ))
}

fn build(
    key: &ObjectKey,
    mapping: &Mapping<'_>,
    metadata: Option<&Mapping<'_>>,
    line: usize,
) -> Result<Object, Box<ManifestFlaw>> {
    fields::without_duplicates(mapping)?;
    let known: &[&str] = match key.kind {
        Kind::ConfigMap | Kind::Pod => &["data", "binaryData", "immutable"],
        Kind::Secret => &["data", "stringData", "immutable", "type"],
    };
    for (name, entry) in mapping.in_order() {
        if !["apiVersion", "kind", "metadata"].contains(&name) && !known.contains(&name) {
            return Err(ManifestFlaw::at(
                entry.line,
                ManifestFault::UnknownField(key.kind),
            ));
        }
    }
    fields::text(mapping, "type", "type")?;
    let mut object = data::object(key, mapping, line)?;
    object.immutable = fields::boolean(mapping, "immutable", "immutable")?.unwrap_or(false);
    if let Some(metadata) = metadata {
        fields::without_duplicates(metadata)?;
        let own = |(text, _): (&str, _)| text.to_owned();
        object.uid = fields::text(metadata, "uid", "metadata.uid")?.map(own);
        object.resource_version =
            fields::text(metadata, "resourceVersion", "metadata.resourceVersion")?.map(own);
    }
    Ok(object)
}
