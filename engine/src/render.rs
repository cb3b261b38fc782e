//! Rendering: a spec and its objects become a snapshot, as the kubelet would write them
//! (kubernetes.md 1.1 to 1.3).
//!
//! All or nothing: one part that cannot be rendered refuses the whole, and the volume keeps what it
//! showed. Whether an absent object is truly absent or only not read yet is not known here: the
//! engine renders when it knows. Sentences name objects, keys and paths, never a value.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::object::{Bytes, Object, ObjectKey, shown};
use crate::path::RelPath;
use crate::snapshot::{Entry, File, HashKey, ObjectVersion, ROOT_MODE, Snapshot};
use crate::spec::{Source, Spec};

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

/// Why a spec cannot be rendered from its objects.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// An object that is not optional does not exist.
    #[error("{object} does not exist")]
    Missing {
        /// The object.
        object: ObjectKey,
    },
    /// A key that the items of a source that is not optional ask for does not exist.
    #[error("{object} has no key {:?}", shown(.key))]
    MissingKey {
        /// The object.
        object: ObjectKey,
        /// The key.
        key: String,
    },
    /// A path would be a file and a folder at once.
    #[error(
        "path {:?} is a file and cannot hold {:?}",
        shown(.file.as_str()),
        shown(.below.as_str())
    )]
    FileAndFolder {
        /// The path that is a file.
        file: RelPath,
        /// The path of a file that lies below it.
        below: RelPath,
    },
}

/// What rendered, but may not be what was meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Warning {
    /// Two values ask for one path; the later one is shown, as with the kubelet.
    #[error(
        "path {:?}: key {:?} of {by} replaces key {:?} of {of}",
        shown(.path.as_str()),
        shown(.by_key),
        shown(.of_key)
    )]
    Replaced {
        /// The path.
        path: RelPath,
        /// The object whose value is shown.
        by: ObjectKey,
        /// The key of that value.
        by_key: String,
        /// The object whose value is not shown.
        of: ObjectKey,
        /// The key of that value.
        of_key: String,
    },
    /// An immutable object is another one now; the volume keeps the one that it has shown, as the
    /// kubelet does.
    #[error("{object} is immutable and was changed or made anew; the former one stays")]
    Immutable {
        /// The object.
        object: ObjectKey,
    },
}

/// Renders a spec. `lookup` finds an object; what it does not find does not exist. Files whose
/// contents are those at the same path of `previous` share its bytes.
///
/// Tells the first refusal in the spec's order; a path that is a file and a folder comes after all
/// of these.
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
    let mut entries = folders(&payload.drafts, grouped(DIR_MODE, GROUP_DIR))?;
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
    fn add(&mut self, source: &Source, object: &'o Object, mode: u16) -> Result<(), Refusal> {
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
        if source.items.is_empty() {
            for (key, value) in object.data() {
                let path = RelPath::new(key).expect("`Object::new` takes only keys that are names");
                self.put(path, draft(key, value, mode));
            }
        }
        for item in &source.items {
            let mode = item.mode.map_or(mode, crate::spec::Mode::bits);
            match object.data().get_key_value(&item.key) {
                Some((key, value)) => self.put(item.path.clone(), draft(key, value, mode)),
                None if source.optional => {}
                None => {
                    return Err(Refusal::MissingKey {
                        object: object.key.clone(),
                        key: item.key.clone(),
                    });
                }
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

/// A file before its contents are hashed: what a later source replaces costs no hash.
struct Draft<'o> {
    object: usize,
    key: &'o str,
    value: &'o Bytes,
    mode: u16,
}

impl Draft<'_> {
    fn file(&self, key: &HashKey, before: Option<&File>) -> File {
        let digest = match before {
            Some(before) if before.bytes.shares(self.value) => before.digest,
            _ => key.digest(self.value),
        };
        let bytes = match before {
            Some(before) if before.digest == digest => &before.bytes,
            _ => self.value,
        };
        File {
            bytes: bytes.clone(),
            mode: self.mode,
            digest,
            object: self.object,
        }
    }
}

/// Every folder that the files need.
fn folders(
    drafts: &BTreeMap<RelPath, Draft<'_>>,
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
    Ok(entries)
}

fn version(object: &Object) -> ObjectVersion {
    ObjectVersion {
        key: object.key.clone(),
        uid: object.uid.clone(),
        resource_version: object.resource_version.clone(),
        received: object.received,
    }
}

#[cfg(test)]
mod tests;
