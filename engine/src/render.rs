//! Rendering: a spec and its objects become a snapshot, as the kubelet would write them
//! (`MakePayload`, `pkg/volume/configmap/configmap.go`).
//!
//! All or nothing: one part that cannot be rendered refuses the whole, and the volume keeps what it
//! showed. Whether an absent object is truly absent or only not read yet is not known here: the
//! engine renders when it knows.

mod refusal;

use std::collections::BTreeMap;

use crate::downward;
use crate::object::{Bytes, Kind, Object, ObjectKey};
use crate::path::RelPath;
use crate::snapshot::{Entry, File, HashKey, ObjectVersion, ROOT_MODE, Snapshot};
use crate::spec::{Item, Source, Spec};
pub use refusal::{Refusal, Warning};

/// Permission bits of a folder inside a volume.
const DIR_MODE: u16 = 0o755;
/// What an fsGroup adds to a folder's bits (`changeFilePermission`, `volume_linux.go`).
const GROUP_DIR: u16 = 0o2000;
/// What an fsGroup adds to a file's bits (`roMask`, `volume_linux.go`).
const GROUP_FILE: u16 = 0o440;

/// What came of a spec and its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The tree.
    pub snapshot: Snapshot,
    /// What rendered, but may not be what was meant.
    pub warnings: Vec<Warning>,
}

/// Renders a spec. `lookup` finds an object; what it does not find does not exist. Files whose
/// contents are those at the same path of `previous` share its bytes.
///
/// # Errors
///
/// The first refusal in the spec's order; a path that is a file and a folder comes after all of these,
/// a mountpoint last.
pub fn render<'o>(
    spec: &Spec,
    lookup: impl Fn(&ObjectKey) -> Option<&'o Object>,
    key: &HashKey,
    previous: Option<&Snapshot>,
) -> Result<Rendered, Refusal> {
    let mut payload = Payload::default();
    for source in &spec.sources {
        match lookup(&source.object) {
            Some(object) => payload.add(source, object, spec.default_mode.bits())?,
            None if source.optional => {}
            None => {
                return Err(Refusal::Missing {
                    object: source.object.clone(),
                });
            }
        }
    }

    let grouped = |mode, bits| {
        if spec.fs_group.is_some() {
            mode | bits
        } else {
            mode
        }
    };
    let mut entries = folders(
        &payload.drafts,
        &spec.mountpoints,
        grouped(DIR_MODE, GROUP_DIR),
    )?;
    for (path, draft) in payload.drafts {
        let before = previous.and_then(|snapshot| snapshot.file(path.as_str()));
        let mut file = draft.file(key, before);
        file.mode = grouped(file.mode, GROUP_FILE);
        entries.insert(path, Entry::File(file));
    }
    let objects = payload.objects.into_iter().map(version).collect();
    let root_mode = grouped(ROOT_MODE, GROUP_DIR);
    let gid = spec.fs_group.unwrap_or(0);
    Ok(Rendered {
        snapshot: Snapshot::seal(key, entries, objects, root_mode, gid),
        warnings: payload.warnings,
    })
}

/// The files asked for so far.
#[derive(Default)]
struct Payload<'o> {
    objects: Vec<&'o Object>,
    drafts: BTreeMap<RelPath, Draft<'o>>,
    warnings: Vec<Warning>,
}

impl<'o> Payload<'o> {
    fn add(&mut self, source: &'o Source, object: &'o Object, mode: u16) -> Result<(), Refusal> {
        let known = self
            .objects
            .iter()
            .position(|other| other.key == object.key);
        let index = known.unwrap_or_else(|| {
            self.objects.push(object);
            self.objects.len() - 1
        });
        let draft = |key, value, mode| Draft {
            object: index,
            key,
            value,
            mode,
        };
        // A pod's fields are no names of files.
        if source.items.is_empty() && object.key.kind != Kind::Pod {
            for (key, value) in object.data() {
                let path = RelPath::new(key).expect("`Object::new` takes only keys that are names");
                self.put(path, draft(key, value.clone(), mode));
            }
        }
        for item in &source.items {
            let mode = item.mode.map_or(mode, crate::spec::Mode::bits);
            match value(object, item) {
                Some(value) => self.put(item.path.clone(), draft(&item.key, value, mode)),
                None if source.optional => {}
                None => return Err(missing(object, &item.key)),
            }
        }
        Ok(())
    }

    fn put(&mut self, path: RelPath, draft: Draft<'o>) {
        let (by, by_key) = (draft.object, draft.key.to_owned());
        if let Some(replaced) = self.drafts.insert(path.clone(), draft) {
            self.warnings.push(Warning::Replaced {
                path,
                by: self.objects[by].key.clone(),
                by_key,
                of: self.objects[replaced.object].key.clone(),
                of_key: replaced.key.to_owned(),
            });
        }
    }
}

/// What an object says for an item.
fn value(object: &Object, item: &Item) -> Option<Bytes> {
    match object.key.kind {
        Kind::ConfigMap | Kind::Secret => object.data().get(&item.key).cloned(),
        Kind::Pod => downward::value(object, item),
    }
}

fn missing(object: &Object, key: &str) -> Refusal {
    let (object, key) = (object.key.clone(), key.to_owned());
    match object.kind {
        Kind::ConfigMap | Kind::Secret => Refusal::MissingKey { object, key },
        Kind::Pod => Refusal::Untold { object, field: key },
    }
}

/// A file before its contents are hashed: what a later source replaces costs no hash.
struct Draft<'o> {
    object: usize,
    key: &'o str,
    value: Bytes,
    mode: u16,
}

impl Draft<'_> {
    fn file(&self, key: &HashKey, before: Option<&File>) -> File {
        let digest = match before {
            Some(before) if before.bytes.shares(&self.value) => before.digest,
            _ => key.digest(&self.value),
        };
        let bytes = match before {
            Some(before) if before.digest == digest => &before.bytes,
            _ => &self.value,
        };
        File {
            bytes: bytes.clone(),
            mode: self.mode,
            digest,
            object: self.object,
        }
    }
}

/// Every folder that the files need, and those for other volumes.
fn folders(
    drafts: &BTreeMap<RelPath, Draft<'_>>,
    mountpoints: &[RelPath],
    mode: u16,
) -> Result<BTreeMap<RelPath, Entry>, Refusal> {
    let mut entries = BTreeMap::new();
    for path in drafts.keys() {
        for folder in path.ancestors() {
            if drafts.contains_key(&folder) {
                return Err(Refusal::FileAndFolder {
                    file: folder,
                    below: path.clone(),
                });
            }
            if entries.insert(folder, Entry::Dir { mode }).is_some() {
                break; // What lies above it is there as well.
            }
        }
    }
    for mountpoint in mountpoints {
        for folder in std::iter::once(mountpoint.clone()).chain(mountpoint.ancestors()) {
            if drafts.contains_key(&folder) {
                return Err(Refusal::Mountpoint {
                    mountpoint: mountpoint.clone(),
                    file: folder,
                });
            }
            if entries.insert(folder, Entry::Dir { mode }).is_some() {
                break;
            }
        }
    }
    Ok(entries)
}

fn version(object: &Object) -> ObjectVersion {
    ObjectVersion {
        key: object.key.clone(),
        uid: object.uid.clone(),
        resource_version: object.resource_version.clone(),
        immutable: object.immutable,
        received: object.received,
    }
}

#[cfg(test)]
mod tests;
