//! The three volume sources: which fields each has, and what they become.

use livemount_engine::object::{Kind, ObjectKey};
use livemount_engine::spec::{Mode, Source, Spec};

use super::downward;
use super::elements::{Element, elements};
use super::error::{VolumeSourceFault, VolumeSourceFlaw};
use super::items::{Paths, mode};
use super::{Scope, VolumeSourceType};
use crate::yaml::{Mapping, YamlFault, YamlFlaw, fields, name};

/// What all that is read of one volume shares.
pub(super) struct Reader<'n> {
    scope: Scope<'n>,
    pub(super) paths: Paths,
}

/// The fields of one object's source, as they are called where it stands.
#[derive(Clone, Copy)]
struct FieldNames {
    kind: Kind,
    /// What the object's name is called.
    name: &'static str,
    known: &'static [&'static str],
}

impl<'n> Reader<'n> {
    pub(super) fn new(scope: Scope<'n>) -> Self {
        Self {
            scope,
            paths: Paths::default(),
        }
    }

    /// An entry of a pod's `volumes`.
    pub(super) fn volume(
        mut self,
        volume: &Mapping<'_>,
        line: usize,
    ) -> Result<Spec, VolumeSourceFlaw> {
        fields::without_duplicates(volume)?;
        let known = &["name", "configMap", "secret", "projected"];
        for (name, entry) in volume.in_order() {
            if name == "downwardAPI" {
                return Err(VolumeSourceFlaw::at(
                    entry.line,
                    VolumeSourceFault::PodsOnly("downwardAPI"),
                ));
            }
            if !known.contains(&name) {
                return Err(VolumeSourceFlaw::at(
                    entry.line,
                    VolumeSourceFault::UnknownField(known),
                ));
            }
        }
        let mut found = None;
        for source_type in VolumeSourceType::ALL {
            let field = source_type.field();
            if let Some((mapping, line)) = fields::mapping(volume, field, field)? {
                if found.is_some() {
                    return Err(VolumeSourceFlaw::at(line, VolumeSourceFault::Several));
                }
                found = Some((source_type, mapping, line));
            }
        }
        let (source_type, mapping, line) =
            found.ok_or(VolumeSourceFlaw::at(line, VolumeSourceFault::NoSource))?;
        self.read(source_type, mapping, line)
    }

    /// What stands below one of the fields.
    pub(super) fn volume_source(
        mut self,
        source_type: VolumeSourceType,
        mapping: &Mapping<'_>,
        line: usize,
    ) -> Result<Spec, VolumeSourceFlaw> {
        self.read(source_type, mapping, line)
    }

    fn read(
        &mut self,
        source_type: VolumeSourceType,
        mapping: &Mapping<'_>,
        line: usize,
    ) -> Result<Spec, VolumeSourceFlaw> {
        let own = source_type.field();
        let sources = match source_type {
            VolumeSourceType::ConfigMap => {
                let field_names = FieldNames {
                    kind: Kind::ConfigMap,
                    name: "name",
                    known: &["name", "items", "defaultMode", "optional"],
                };
                vec![self.object(field_names, mapping, own, line)?]
            }
            VolumeSourceType::Secret => {
                let field_names = FieldNames {
                    kind: Kind::Secret,
                    name: "secretName",
                    known: &["secretName", "items", "defaultMode", "optional"],
                };
                vec![self.object(field_names, mapping, own, line)?]
            }
            VolumeSourceType::Projected => self.projected(mapping, own)?,
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

    fn projected(
        &mut self,
        mapping: &Mapping<'_>,
        own: &str,
    ) -> Result<Vec<Source>, VolumeSourceFlaw> {
        has_only(mapping, &["sources", "defaultMode"], own)?;
        self.paths.refuse_duplicates();
        let mut sources = Vec::new();
        for source in elements(mapping, "sources", own)? {
            sources.extend(self.projection(&source?)?);
        }
        Ok(sources)
    }

    /// One entry of `sources`; nothing where it asks for nothing.
    fn projection(
        &mut self,
        Element {
            mapping: source,
            own,
            line,
        }: &Element<'_, '_>,
    ) -> Result<Option<Source>, VolumeSourceFlaw> {
        fields::without_duplicates(source)?;
        let known: &[&str] = match self.scope.pod {
            Some(_) => &["configMap", "secret", "downwardAPI"],
            None => &["configMap", "secret"],
        };
        for (name, entry) in source.in_order() {
            let fault = match name {
                _ if known.contains(&name) => continue,
                "downwardAPI" => VolumeSourceFault::PodsOnly("downwardAPI"),
                "serviceAccountToken" => VolumeSourceFault::NotServed("serviceAccountToken"),
                "clusterTrustBundle" => VolumeSourceFault::NotServed("clusterTrustBundle"),
                "podCertificate" => VolumeSourceFault::NotServed("podCertificate"),
                _ => VolumeSourceFault::UnknownField(known),
            };
            return Err(VolumeSourceFlaw::at(entry.line, fault).of(own));
        }
        let mut found = None;
        for name in known {
            let field = format!("{own}.{name}");
            if let Some((mapping, line)) = fields::mapping(source, name, field.clone())? {
                if found.is_some() {
                    return Err(VolumeSourceFlaw::at(
                        line,
                        VolumeSourceFault::SeveralProjections(known),
                    )
                    .of(own));
                }
                found = Some((*name, mapping, line, field));
            }
        }
        let none = || VolumeSourceFlaw::at(*line, VolumeSourceFault::NoProjection(known)).of(own);
        let (name, mapping, line, own) = found.ok_or_else(none)?;
        let kind = match (name, self.scope.pod) {
            ("downwardAPI", Some(pod)) => return self.downward(pod, mapping, &own),
            ("secret", _) => Kind::Secret,
            _ => Kind::ConfigMap,
        };
        let field_names = FieldNames {
            kind,
            name: "name",
            known: &["name", "items", "optional"],
        };
        self.object(field_names, mapping, &own, line).map(Some)
    }

    /// What the pod tells of itself. Without items that is nothing, and the pod need not be read.
    fn downward(
        &mut self,
        pod: &str,
        mapping: &Mapping<'_>,
        own: &str,
    ) -> Result<Option<Source>, VolumeSourceFlaw> {
        let items = downward::items(&mut self.paths, mapping, own)?;
        Ok((!items.is_empty()).then(|| Source {
            object: ObjectKey {
                kind: Kind::Pod,
                namespace: self.scope.namespace.to_owned(),
                name: pod.to_owned(),
                origin: self.scope.origin.clone(),
            },
            items,
            optional: false,
        }))
    }

    /// The source of one object. `own` is the path of its field.
    fn object(
        &mut self,
        field_names: FieldNames,
        mapping: &Mapping<'_>,
        own: &str,
        line: usize,
    ) -> Result<Source, VolumeSourceFlaw> {
        has_only(mapping, field_names.known, own)?;
        let field = format!("{own}.{}", field_names.name);
        let told = fields::text(mapping, field_names.name, field.clone())?;
        let Some((name, at)) = told.filter(|(name, _)| !name.is_empty()) else {
            return Err(
                VolumeSourceFlaw::at(line, VolumeSourceFault::Missing(field_names.name)).of(own),
            );
        };
        name::subdomain(name).map_err(|why| {
            let field = field.into();
            YamlFlaw::at(at, YamlFault::Name { field, why })
        })?;
        let optional = fields::boolean(mapping, "optional", format!("{own}.optional"))?;
        let optional = optional.unwrap_or(false);
        Ok(Source {
            object: ObjectKey {
                kind: field_names.kind,
                namespace: self.scope.namespace.to_owned(),
                name: name.to_owned(),
                origin: self.scope.origin.clone(),
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
) -> Result<(), VolumeSourceFlaw> {
    fields::without_duplicates(mapping)?;
    match mapping
        .in_order()
        .into_iter()
        .find(|(name, _)| !known.contains(name))
    {
        Some((_, entry)) => {
            Err(VolumeSourceFlaw::at(entry.line, VolumeSourceFault::UnknownField(known)).of(own))
        }
        None => Ok(()),
    }
}
