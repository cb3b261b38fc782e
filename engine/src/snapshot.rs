//! Snapshots: the immutable tree of files that a spec renders from objects.
//!
//! Plain data: `render` makes it, `diff` compares it, and nobody changes it. Every folder stands in
//! it under its own name, so that no reader has to infer one from what it holds. A file that did not
//! change shares its bytes with the snapshot before, so that keeping older versions costs only what
//! differs.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::time::SystemTime;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::object::{Bytes, ObjectKey};
use crate::path::RelPath;

/// Permission bits of a volume's root folder (`perm`, `pkg/volume/emptydir/empty_dir.go`: a
/// `configMap` volume is set up in one).
pub(crate) const ROOT_MODE: u16 = 0o777;

/// The key of every hash that may be seen from outside. Without it a hash of a Secret's value would
/// tell a guesser that the guess was right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u8; 16]);

impl HashKey {
    /// The keyed hash of these contents.
    pub fn digest(&self, contents: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.write(contents);
        Digest(hasher.finish128().as_u128())
    }

    fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// A keyed hash of contents. Equal digests under one key mean equal contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The whole contents.
    pub bytes: Bytes,
    /// Permission bits, the group's share of them included.
    pub mode: u16,
    /// The keyed hash of `bytes`.
    pub digest: Digest,
    /// Which of `Snapshot::objects` the contents came from.
    pub object: usize,
}

/// A name of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder with its permission bits (set-group-id included).
    Dir {
        /// Permission bits.
        mode: u16,
    },
    /// A file.
    File(File),
}

impl Entry {
    /// The file, where it is one.
    pub fn as_file(&self) -> Option<&File> {
        match self {
            Self::File(file) => Some(file),
            Self::Dir { .. } => None,
        }
    }

    /// Whether this is a folder.
    pub fn is_dir(&self) -> bool {
        matches!(self, Self::Dir { .. })
    }

    /// Permission bits, of a file or a folder alike.
    pub fn mode(&self) -> u16 {
        match self {
            Self::Dir { mode } => *mode,
            Self::File(file) => file.mode,
        }
    }
}

/// Which version of an object a snapshot was rendered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The object.
    pub key: ObjectKey,
    /// Its uid, where its source tells one.
    pub uid: Option<String>,
    /// Its version in its source's words.
    pub resource_version: Option<String>,
    /// Whether the object says that it will never change.
    pub immutable: bool,
    /// When its source learned of this version, where it is one that is told of versions.
    pub received: Option<SystemTime>,
}

/// Shown as `ConfigMap default/app@1234`; without the `@` where the source tells no version.
impl fmt::Display for ObjectVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource_version {
            Some(version) => write!(f, "{}@{version}", self.key),
            None => self.key.fmt(f),
        }
    }
}

/// The immutable tree of one version of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Every name, folders included; a folder stands before what it holds.
    pub entries: BTreeMap<RelPath, Entry>,
    /// The objects that were rendered, each once, in the spec's order; an optional one that does not
    /// exist is not among them.
    pub objects: Vec<ObjectVersion>,
    /// Permission bits of the volume's root folder.
    pub root_mode: u16,
    /// The group that owns everything; 0 without an fsGroup.
    pub gid: u32,
    /// The keyed hash of names, types, modes, group and contents: equal means nothing to commit. The
    /// objects' versions have no part in it.
    pub digest: Digest,
}

impl Snapshot {
    /// The volume before its first commit: a root without names, owned by root.
    pub fn empty(key: &HashKey) -> Self {
        Self::seal(key, BTreeMap::new(), Vec::new(), ROOT_MODE, 0)
    }

    /// Computes the digest over what the caller has put together. The caller answers for the tree:
    /// every folder has an entry, and no file has one below it.
    pub(crate) fn seal(
        key: &HashKey,
        entries: BTreeMap<RelPath, Entry>,
        objects: Vec<ObjectVersion>,
        root_mode: u16,
        gid: u32,
    ) -> Self {
        let mut hasher = key.hasher();
        hasher.write(&root_mode.to_le_bytes());
        hasher.write(&gid.to_le_bytes());
        for (path, entry) in &entries {
            // A path holds no NUL, so that this one ends it.
            hasher.write(path.as_str().as_bytes());
            hasher.write(&[0, u8::from(entry.is_dir())]);
            hasher.write(&entry.mode().to_le_bytes());
            if let Entry::File(file) = entry {
                hasher.write(&file.digest.0.to_le_bytes());
            }
        }
        let digest = Digest(hasher.finish128().as_u128());
        Self {
            entries,
            objects,
            root_mode,
            gid,
            digest,
        }
    }

    /// The entry at a path. The text must be clean, as `RelPath::as_str` is; the root has no entry.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The file at a path, where it is one.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.get(path).and_then(Entry::as_file)
    }

    /// Every file, in the order of its path.
    pub fn files(&self) -> impl Iterator<Item = (&RelPath, &File)> {
        self.entries
            .iter()
            .filter_map(|(path, entry)| Some((path, entry.as_file()?)))
    }

    /// How many bytes the files hold together; what is shared with another snapshot is counted too.
    pub fn bytes(&self) -> u64 {
        self.files().map(|(_, file)| file.bytes.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::sample::{KEY, snapshot};

    use super::*;

    #[test]
    fn the_digest_covers_the_tree_and_nothing_else() {
        let base = snapshot(&[("a", "1", 0o644), ("d/b", "2", 0o600)]);
        for other in [
            snapshot(&[("a", "1", 0o644)]),
            snapshot(&[("a", "2", 0o644), ("d/b", "1", 0o600)]),
            snapshot(&[("a", "1", 0o600), ("d/b", "2", 0o600)]),
            snapshot(&[("a", "1", 0o644), ("e/b", "2", 0o600)]),
        ] {
            assert_ne!(base.digest, other.digest, "{other:?}");
        }
        let seal = |mode, gid| Snapshot::seal(&KEY, base.entries.clone(), Vec::new(), mode, gid);
        assert_eq!(base.digest, seal(ROOT_MODE, 0).digest);
        assert_ne!(base.digest, seal(ROOT_MODE, 1).digest);
        assert_ne!(base.digest, seal(0o755, 0).digest);
        let another = Snapshot::seal(
            &HashKey([1; 16]),
            base.entries.clone(),
            Vec::new(),
            ROOT_MODE,
            0,
        );
        assert_ne!(base.digest, another.digest);
    }

    #[test]
    fn files_are_found_by_path_and_counted() {
        let tree = snapshot(&[("a", "one", 0o644), ("d/e/b", "three", 0o600)]);
        assert!(tree.get("d").is_some_and(Entry::is_dir));
        assert!(tree.file("d/e").is_none());
        assert_eq!(
            tree.file("d/e/b").map(|file| &*file.bytes),
            Some(&b"three"[..])
        );
        let paths: Vec<_> = tree.files().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a", "d/e/b"]);
        assert_eq!(tree.bytes(), 8);
        assert_eq!(Snapshot::empty(&KEY).entries.len(), 0);
    }
}
