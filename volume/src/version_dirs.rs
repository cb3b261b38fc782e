//! `..data` and `..<n>`: one whole version, for programs that must read several files of the same one.
//!
//! `..data` is a link to `..<n>`, a folder with every name of version `n`. Both are found by LOOKUP and
//! hidden from READDIR, and the kernel may not cache their names, so that each walk through `..data`
//! meets the current version. The name `..<n>` goes a moment after the version is no longer current;
//! who holds the folder then (open, working directory, watch) keeps the version, within the limit
//! for older ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::path::RelPath;
use livemount_engine::snapshot::Snapshot;

use crate::commit_ops::weight;
use crate::error::FsError;
use crate::inodes::{FileType, Identity};
use crate::now::Monotonic;
use crate::number::{Inode, VersionNumber};
use crate::staging::plant;
use crate::state::State;
use crate::tree::{Children, Content, NewNode};

/// The link's name.
pub const DOTDATA: &str = "..data";

/// How long the name `..<n>` outlives its version: who has just read the link still gets there.
const GRACE: Duration = Duration::from_secs(2);
/// The most former versions that are kept for that.
const RECENT: usize = 8;

/// A version's folder that somebody has looked up.
#[derive(Clone, Debug)]
pub(crate) struct VersionDir {
    pub(crate) inodes: Vec<Inode>,
    /// What the kernel knows of it, all inodes together.
    pub(crate) lookups: u64,
    /// Its version is an older one, and counts as open.
    pub(crate) held: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) version: VersionNumber,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) retired: Monotonic,
}

/// The versions that can be seen as folders.
#[derive(Clone, Debug)]
pub(crate) struct VersionDirs {
    pub(crate) seen: BTreeMap<VersionNumber, VersionDir>,
    pub(crate) recent: VecDeque<Former>,
    /// Which commit's rename made the present `..data`.
    pub(crate) dotdata: VersionNumber,
    /// Which commit prepared one last; the same, unless its rename failed.
    pub(crate) prepared: VersionNumber,
}

impl Default for VersionDirs {
    fn default() -> Self {
        Self {
            seen: BTreeMap::new(),
            recent: VecDeque::new(),
            dotdata: VersionNumber(0),
            prepared: VersionNumber(0),
        }
    }
}

/// The version that a name `..<n>` means.
fn version_of(name: &str) -> Option<VersionNumber> {
    let digits = name.strip_prefix("..")?;
    let version: u32 = digits.parse().ok()?;
    // One version, one name.
    (version.to_string() == digits).then_some(VersionNumber(version))
}

impl State {
    /// What `..data` leads to.
    pub(crate) fn dotdata_target(&self) -> String {
        format!("..{}", self.version)
    }

    /// A reserved name of the volume's root.
    pub(crate) fn reserved(&mut self, name: &str, now: Monotonic) -> Result<Inode, FsError> {
        if name == DOTDATA {
            return Ok(self.dotdata(self.version_dirs.dotdata));
        }
        let version = version_of(name).ok_or(FsError::NoName)?;
        if version == self.version {
            return Ok(self.version_dir(version, &Arc::clone(&self.current)));
        }
        let former = self
            .version_dirs
            .recent
            .iter()
            .find(|former| former.version == version && now.since(former.retired) < GRACE);
        let snapshot = former.map(|former| Arc::clone(&former.snapshot));
        match snapshot {
            Some(snapshot) => Ok(self.version_dir(version, &snapshot)),
            None => Err(FsError::NoName),
        }
    }

    /// The link that the commit of a version made.
    pub(crate) fn dotdata(&mut self, version: VersionNumber) -> Inode {
        let identity = Identity::Dotdata(version);
        if let Some(ino) = self.tree.find(&identity) {
            return ino;
        }
        let new = NewNode {
            content: Content::Dotdata,
            mode: 0o777,
            gid: self.current.gid,
            mtime: self.committed,
        };
        self.tree.insert_unnamed(self.tree.files, identity, new)
    }

    /// The link that the commit of a version is about to put in place. One that an earlier commit
    /// prepared in vain has no name and goes with the kernel's last look at it.
    pub(crate) fn prepare_dotdata(&mut self, version: VersionNumber) -> Inode {
        let former = std::mem::replace(&mut self.version_dirs.prepared, version);
        if former != version
            && former != self.version_dirs.dotdata
            && let Some(ino) = self.tree.find(&Identity::Dotdata(former))
        {
            self.tree.unname(ino);
        }
        self.dotdata(version)
    }

    /// Puts the link of a version in the place of the one before.
    pub(crate) fn replace_dotdata(&mut self, version: VersionNumber) {
        let former = self.dotdata(self.version_dirs.dotdata);
        self.dotdata(version);
        self.version_dirs.dotdata = version;
        self.tree.unname(former);
        let (files, committed) = (self.tree.files, self.committed);
        self.tree.changed(files, committed);
    }

    /// The folder of a version.
    fn version_dir(&mut self, version: VersionNumber, snapshot: &Snapshot) -> Inode {
        let identity =
            |kind, path: Option<&RelPath>| Identity::VersionDir(version, kind, path.cloned());
        if let Some(root) = self.tree.find(&identity(FileType::Dir, None)) {
            return root;
        }
        let mtime = self.committed;
        let root = NewNode {
            content: Content::Dir(Children::default()),
            mode: (snapshot.root_mode & 0o7000) | 0o755,
            gid: snapshot.gid,
            mtime,
        };
        let files = self.tree.files;
        let root = self
            .tree
            .insert_unnamed(files, identity(FileType::Dir, None), root);
        let named = |path: &RelPath, kind| identity(kind, Some(path));
        let mut inodes = plant(&mut self.tree, root, snapshot, mtime, named);
        inodes.push(root);
        let held = version != self.version;
        if held {
            self.handles.hold(version, weight(snapshot));
        }
        let dir = VersionDir {
            inodes,
            lookups: 0,
            held,
        };
        self.version_dirs.seen.insert(version, dir);
        root
    }

    /// Notes that the kernel was told of an inode.
    pub(crate) fn looked_up(&mut self, ino: Inode) {
        self.tree.looked_up(ino);
        if let Some(dir) = self.version_dir_of(ino) {
            dir.lookups += 1;
        }
    }

    /// FORGET: the kernel drops so many of its lookups.
    pub fn forget(&mut self, ino: Inode, count: u64) {
        if let Some(dir) = self.version_dir_of(ino) {
            dir.lookups = dir.lookups.saturating_sub(count);
        }
        let version = self.version_seen(ino);
        self.tree.forget(ino, count);
        if let Some(version) = version
            && version != self.version
            && self
                .version_dirs
                .seen
                .get(&version)
                .is_some_and(|dir| dir.lookups == 0)
        {
            self.drop_version_dir(version);
        }
    }

    /// The version below whose folder an inode lies.
    pub(crate) fn version_seen(&self, ino: Inode) -> Option<VersionNumber> {
        match self.tree.get(ino).map(|node| &node.identity) {
            Ok(Identity::VersionDir(version, ..)) => Some(*version),
            _ => None,
        }
    }

    fn version_dir_of(&mut self, ino: Inode) -> Option<&mut VersionDir> {
        let version = self.version_seen(ino)?;
        self.version_dirs.seen.get_mut(&version)
    }

    /// Takes a version's folder away; who still knows it gets ESTALE.
    pub(crate) fn drop_version_dir(&mut self, version: VersionNumber) {
        if let Some(dir) = self.version_dirs.seen.remove(&version) {
            self.tree.drop_all(dir.inodes);
            if dir.held {
                self.handles.unhold(version);
            }
        }
    }

    /// The current version becomes a former one.
    pub(crate) fn retire_version_dir(&mut self, former: Arc<Snapshot>, now: Monotonic) {
        let version = self.version;
        match self.version_dirs.seen.get_mut(&version) {
            Some(dir) if dir.lookups > 0 => {
                dir.held = true;
                self.handles.hold(version, weight(&former));
            }
            _ => self.drop_version_dir(version),
        }
        let recent = &mut self.version_dirs.recent;
        recent.retain(|former| now.since(former.retired) < GRACE);
        recent.truncate(RECENT - 1);
        recent.push_front(Former {
            version,
            snapshot: former,
            retired: now,
        });
    }

    /// Lets go of the former versions that nobody can find by name any more. They come back, to be dropped
    /// where no lock is held. It shows in nothing that can be asked.
    #[must_use = "to be dropped where no lock is held"]
    pub fn forget_former(&mut self, now: Monotonic) -> Vec<Arc<Snapshot>> {
        let recent = std::mem::take(&mut self.version_dirs.recent);
        let (fresh, gone): (VecDeque<_>, VecDeque<_>) = recent
            .into_iter()
            .partition(|former| now.since(former.retired) < GRACE);
        self.version_dirs.recent = fresh;
        gone.into_iter().map(|former| former.snapshot).collect()
    }

    /// The names `..<n>` of folders that nobody can find any more, though the kernel may still have them in
    /// its cache: looking at one makes it forget, unless somebody holds it.
    pub fn expired_version_dirs(&self, now: Monotonic) -> Vec<String> {
        let fresh = |version: VersionNumber| {
            self.version_dirs
                .recent
                .iter()
                .any(|former| former.version == version && now.since(former.retired) < GRACE)
        };
        self.version_dirs
            .seen
            .keys()
            .filter(|version| **version != self.version && !fresh(**version))
            .map(|version| format!("..{version}"))
            .collect()
    }
}
