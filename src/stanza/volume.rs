//! The three volume sources: which fields each has, and what they become.

use livemount_engine::object::{Kind, ObjectKey};
use livemount_engine::spec::{Mode, Source, Spec};

use super::Stanza;
use super::downward;
use super::error::{Fault, Flaw};
use super::items::{Paths, mode};
use crate::yaml::{Mapping, Value, What, fields, name};

/// What all that is read of one volume shares.
pub(super) struct Reader<'n> {
    namespace: &'n str,
    /// The pod that mounts it, where it is one that does.
    pod: Option<&'n str>,
    pub(super) paths: Paths,
}

/// The fields of one object's source, as they are called where it stands.
#[derive(Clone, Copy)]
struct Words {
    kind: Kind,
    /// What the object's name is called.
    name: &'static str,
    known: &'static [&'static str],
}

impl<'n> Reader<'n> {
    pub(super) fn new(namespace: &'n str, pod: Option<&'n str>) -> Self {
        Self {
            namespace,
            pod,
            paths: Paths::default(),
        }
    }

    /// An entry of a pod's `volumes`.
    pub(super) fn volume(mut self, volume: &Mapping<'_>, line: usize) -> Result<Spec, Flaw> {
        fields::told_once(volume)?;
        let known = &["name", "configMap", "secret", "projected"];
        for (name, entry) in volume.in_order() {
            if name == "downwardAPI" {
                return Err(Flaw::at(entry.line, Fault::PodsOnly("downwardAPI")));
            }
            if !known.contains(&name) {
                return Err(Flaw::at(entry.line, Fault::UnknownField(known)));
            }
        }
        let mut found = None;
        for stanza in Stanza::ALL {
            let field = stanza.field();
            if let Some((mapping, line)) = fields::mapping(volume, field, field)? {
                if found.is_some() {
                    return Err(Flaw::at(line, Fault::Several));
                }
                found = Some((stanza, mapping, line));
            }
        }
        let (stanza, mapping, line) = found.ok_or(Flaw::at(line, Fault::NoSource))?;
        self.read(stanza, mapping, line)
    }

    /// What stands below one of the fields.
    pub(super) fn stanza(
        mut self,
        stanza: Stanza,
        mapping: &Mapping<'_>,
        line: usize,
    ) -> Result<Spec, Flaw> {
        self.read(stanza, mapping, line)
    }

    fn read(&mut self, stanza: Stanza, mapping: &Mapping<'_>, line: usize) -> Result<Spec, Flaw> {
        let own = stanza.field();
        let sources = match stanza {
            Stanza::ConfigMap => {
                let words = Words {
                    kind: Kind::ConfigMap,
                    name: "name",
                    known: &["name", "items", "defaultMode", "optional"],
                };
                vec![self.object(words, mapping, own, line)?]
            }
            Stanza::Secret => {
                let words = Words {
                    kind: Kind::Secret,
                    name: "secretName",
                    known: &["secretName", "items", "defaultMode", "optional"],
                };
                vec![self.object(words, mapping, own, line)?]
            }
            Stanza::Projected => self.projected(mapping, own)?,
        };
        self.paths.lead_through_no_file()?;
        let default_mode = mode(mapping, "defaultMode", own)?.unwrap_or(Mode::DEFAULT);
        Ok(Spec {
            sources,
            default_mode,
            fs_group: None,
            mountpoints: Vec::new(),
        })
    }

    fn projected(&mut self, mapping: &Mapping<'_>, own: &str) -> Result<Vec<Source>, Flaw> {
        has_only(mapping, &["sources", "defaultMode"], own)?;
        self.paths.refuse_duplicates();
        let field = format!("{own}.sources");
        let nodes = fields::list(mapping, "sources", field.clone())?.unwrap_or_default();
        let mut sources = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let field = format!("{field}[{at}]");
            let Value::Mapping(source) = &node.value else {
                let found = node.what();
                return Err(fields::mistyped(node.line, field, What::Mapping, found).into());
            };
            sources.extend(self.projection(source, &field, node.line)?);
        }
        Ok(sources)
    }

    /// One entry of `sources`; nothing where it asks for nothing.
    fn projection(
        &mut self,
        source: &Mapping<'_>,
        own: &str,
        line: usize,
    ) -> Result<Option<Source>, Flaw> {
        fields::told_once(source)?;
        let known: &[&str] = match self.pod {
            Some(_) => &["configMap", "secret", "downwardAPI"],
            None => &["configMap", "secret"],
        };
        for (name, entry) in source.in_order() {
            let fault = match name {
                _ if known.contains(&name) => continue,
                "downwardAPI" => Fault::PodsOnly("downwardAPI"),
                "serviceAccountToken" => Fault::NotServed("serviceAccountToken"),
                "clusterTrustBundle" => Fault::NotServed("clusterTrustBundle"),
                "podCertificate" => Fault::NotServed("podCertificate"),
                _ => Fault::UnknownField(known),
            };
            return Err(Flaw::at(entry.line, fault).of(own));
        }
        let mut found = None;
        for name in known {
            let field = format!("{own}.{name}");
            if let Some((mapping, line)) = fields::mapping(source, name, field.clone())? {
                if found.is_some() {
                    return Err(Flaw::at(line, Fault::SeveralProjections(known)).of(own));
                }
                found = Some((*name, mapping, line, field));
            }
        }
        let none = || Flaw::at(line, Fault::NoProjection(known)).of(own);
        let (name, mapping, line, own) = found.ok_or_else(none)?;
        let kind = match (name, self.pod) {
            ("downwardAPI", Some(pod)) => return self.downward(pod, mapping, &own),
            ("secret", _) => Kind::Secret,
            _ => Kind::ConfigMap,
        };
        let words = Words {
            kind,
            name: "name",
            known: &["name", "items", "optional"],
        };
        self.object(words, mapping, &own, line).map(Some)
    }

    /// What the pod tells of itself. Without items that is nothing, and the pod need not be read.
    fn downward(
        &mut self,
        pod: &str,
        mapping: &Mapping<'_>,
        own: &str,
    ) -> Result<Option<Source>, Flaw> {
        let items = downward::items(&mut self.paths, mapping, own)?;
        Ok((!items.is_empty()).then(|| Source {
            object: ObjectKey {
                kind: Kind::Pod,
                namespace: self.namespace.to_owned(),
                name: pod.to_owned(),
            },
            items,
            optional: false,
        }))
    }

    /// The source of one object. `own` is the path of its field.
    fn object(
        &mut self,
        words: Words,
        mapping: &Mapping<'_>,
        own: &str,
        line: usize,
    ) -> Result<Source, Flaw> {
        has_only(mapping, words.known, own)?;
        let field = format!("{own}.{}", words.name);
        let told = fields::text(mapping, words.name, field.clone())?;
        let Some((name, at)) = told.filter(|(name, _)| !name.is_empty()) else {
            return Err(Flaw::at(line, Fault::Missing(words.name)).of(own));
        };
        name::subdomain(name).map_err(|why| {
            let field = field.into();
            crate::yaml::Flaw::at(at, crate::yaml::Fault::Name { field, why })
        })?;
        let optional = fields::truth(mapping, "optional", format!("{own}.optional"))?;
        let optional = optional.unwrap_or(false);
        Ok(Source {
            object: ObjectKey {
                kind: words.kind,
                namespace: self.namespace.to_owned(),
                name: name.to_owned(),
            },
            items: self.paths.items(mapping, own, optional)?,
            optional,
        })
    }
}

/// Refuses fields that are not there, and any that is told twice.
pub(super) fn has_only(
    mapping: &Mapping<'_>,
    known: &'static [&'static str],
    own: &str,
) -> Result<(), Flaw> {
    fields::told_once(mapping)?;
    match mapping
        .in_order()
        .into_iter()
        .find(|(name, _)| !known.contains(name))
    {
        Some((_, entry)) => Err(Flaw::at(entry.line, Fault::UnknownField(known)).of(own)),
        None => Ok(()),
    }
}
