//! A manifest's bytes to objects, all of them or one error.
//!
//! Refuses what kubectl and the API would refuse, so that a file which is served here can be
//! applied there. Pure and synchronous; every bound on time and memory that a hostile file could
//! want to pass is kept here or in `tree`. Other kinds are passed over and looked at no further
//! than their `kind`. Knows no volume and does not compare versions.

use std::collections::HashMap;
use std::path::Path;

use livemount_engine::object::{Kind, Object, ObjectKey};

use super::data;
use super::error::{Flaw, ManifestError};
use super::fault::Fault;
use crate::yaml::{self, Documents, Mapping, Node, Value, What, fields, name};

/// The largest file that is read: five objects of the largest request that the API takes (3 MiB),
/// and small enough to be held in memory twice.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// An object and the line where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The object.
    pub object: Object,
    /// The line, counted from 1.
    pub line: usize,
}

/// Reads every `v1` `ConfigMap` and Secret of a manifest in YAML or JSON, in the file's order. The
/// origin is named in the error and nothing else; objects without a namespace get the default one.
pub fn parse(
    origin: &Path,
    bytes: &[u8],
    default_namespace: &str,
) -> Result<Vec<Placed>, ManifestError> {
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
    objects: Vec<Placed>,
}

impl Manifest<'_> {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Box<Flaw>> {
        let mut documents = Documents::new(bytes, MAX_FILE_BYTES)?;
        while let Some(root) = documents.next()? {
            self.document(&root)?;
        }
        Ok(())
    }

    fn document(&mut self, root: &Node<'_>) -> Result<(), Box<Flaw>> {
        let mapping = match &root.value {
            // An empty document, as between two separators.
            Value::Scalar(What::Null, _) => return Ok(()),
            value => as_mapping(value, root)?,
        };
        let (version, kind) = type_of(mapping, root.line, None)?;
        let items = match (version, kind) {
            ("v1", "List") => None,
            ("v1", "ConfigMapList") => Some("ConfigMap"),
            ("v1", "SecretList") => Some("Secret"),
            _ => return self.object(mapping, root.line, version, kind),
        };
        fields::told_once(mapping)?;
        let Some(entry) = mapping.get("items") else {
            return Ok(());
        };
        match &entry.node.value {
            Value::Scalar(What::Null, _) => Ok(()),
            Value::Sequence(nodes) => nodes.iter().try_for_each(|item| {
                let mapping = as_mapping(&item.value, item)?;
                let (version, kind) = type_of(mapping, item.line, items)?;
                if version == "v1" && kind.ends_with("List") {
                    // kubectl would open it. Nobody writes one, and without it no list of aliases
                    // to lists can multiply.
                    return Err(Flaw::at(item.line, Fault::ListInList));
                }
                self.object(mapping, item.line, version, kind)
            }),
            _ => {
                Err(fields::mistyped(entry.line, "items", What::Sequence, entry.node.what()).into())
            }
        }
    }

    /// Takes a mapping that says of which kind it is.
    fn object(
        &mut self,
        mapping: &Mapping<'_>,
        line: usize,
        version: &str,
        kind: &str,
    ) -> Result<(), Box<Flaw>> {
        let kind = match (version, kind) {
            ("v1", "ConfigMap") => Kind::ConfigMap,
            ("v1", "Secret") => Kind::Secret,
            _ => return Ok(()),
        };
        let metadata = fields::mapping(mapping, "metadata", "metadata")?.map(|(inner, _)| inner);
        let key = self.key(kind, metadata, line)?;
        if let Some(first) = self.lines.insert(key.clone(), line) {
            return Err(Flaw::at(line, Fault::Twice(first)).of(&key));
        }
        let object = build(&key, mapping, metadata, line).map_err(|flaw| flaw.of(&key))?;
        self.objects.push(Placed { object, line });
        Ok(())
    }

    /// What names the object.
    fn key(
        &self,
        kind: Kind,
        metadata: Option<&Mapping<'_>>,
        line: usize,
    ) -> Result<ObjectKey, Box<Flaw>> {
        let field = |name, field: &'static str| match metadata {
            Some(metadata) => fields::text(metadata, name, field),
            None => Ok(None),
        };
        let Some((name, at)) = field("name", "metadata.name")?.filter(|(name, _)| !name.is_empty())
        else {
            return Err(Flaw::at(line, Fault::NoName(kind)));
        };
        let illegal = |line, field: &'static str, why| {
            let field = field.into();
            Flaw::at(line, yaml::Fault::Name { field, why })
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
        })
    }
}

fn as_mapping<'t, 'a>(value: &'t Value<'a>, node: &Node<'_>) -> Result<&'t Mapping<'a>, Box<Flaw>> {
    match value {
        Value::Mapping(mapping) => Ok(mapping),
        _ => Err(Flaw::at(node.line, Fault::NotAMapping(node.what()))),
    }
}

/// `apiVersion` and `kind`. The items of a typed list need not repeat them.
fn type_of<'t>(
    mapping: &'t Mapping<'_>,
    line: usize,
    known: Option<&'static str>,
) -> Result<(&'t str, &'t str), Box<Flaw>> {
    let field = |name: &'static str, known: Option<&'static str>| {
        let told = fields::text(mapping, name, name)?.map(|(text, _)| text);
        told.filter(|text| !text.is_empty())
            .or(known)
            .ok_or_else(|| Flaw::at(line, Fault::Missing(name)))
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
) -> Result<Object, Box<Flaw>> {
    fields::told_once(mapping)?;
    let known: &[&str] = match key.kind {
        Kind::ConfigMap | Kind::Pod => &["data", "binaryData", "immutable"],
        Kind::Secret => &["data", "stringData", "immutable", "type"],
    };
    for (name, entry) in mapping.in_order() {
        if !["apiVersion", "kind", "metadata"].contains(&name) && !known.contains(&name) {
            return Err(Flaw::at(entry.line, Fault::UnknownField(key.kind)));
        }
    }
    fields::text(mapping, "type", "type")?;
    let mut object = data::object(key, mapping, line)?;
    object.immutable = fields::truth(mapping, "immutable", "immutable")?.unwrap_or(false);
    if let Some(metadata) = metadata {
        fields::told_once(metadata)?;
        let own = |(text, _): (&str, _)| text.to_owned();
        object.uid = fields::text(metadata, "uid", "metadata.uid")?.map(own);
        object.resource_version =
            fields::text(metadata, "resourceVersion", "metadata.resourceVersion")?.map(own);
    }
    Ok(object)
}
