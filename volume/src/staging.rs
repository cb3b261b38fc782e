//! From a snapshot to inodes: what a volume shows first, a version's directory, and what a commit
//! prepares in `/stage`, where no program sees it until its rename.

use std::collections::HashMap;
use std::time::SystemTime;

use livemount_engine::diff::{Op, Plan};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{Entry, Snapshot};

use crate::armed::Change;
use crate::error::FsError;
use crate::inodes::{FileType, Identity};
use crate::number::{Inode, VersionNumber};
use crate::state::State;
use crate::tree::{Children, Content, NewNode, Tree};

/// Puts a snapshot's names below an empty folder. Tells the inodes that were made.
pub(crate) fn plant(
    tree: &mut Tree,
    folder: Inode,
    snapshot: &Snapshot,
    mtime: SystemTime,
    identity: impl Fn(&RelPath, FileType) -> Identity,
) -> Vec<Inode> {
    let mut inodes = Vec::with_capacity(snapshot.entries.len());
    for (path, entry) in &snapshot.entries {
        let kind = if entry.is_dir() {
            FileType::Dir
        } else {
            FileType::File
        };
        // A snapshot lists each folder before what it holds, and each name once.
        let planted = match path.parent() {
            None => Ok(folder),
            Some(parent) => tree.resolve_below(folder, &parent),
        }
        .and_then(|parent| {
            let new = node(entry, snapshot, mtime);
            tree.insert(parent, path.name(), identity(path, kind), new)
        });
        debug_assert!(planted.is_ok(), "{path} cannot be planted: {planted:?}");
        inodes.extend(planted);
    }
    inodes
}

/// An entry of a snapshot as an inode.
pub(crate) fn node(entry: &Entry, snapshot: &Snapshot, mtime: SystemTime) -> NewNode {
    let (content, mode) = match entry {
        Entry::Dir { mode } => (Content::Dir(Children::default()), *mode),
        Entry::File(file) => (Content::File(file.bytes.clone()), file.mode),
    };
    NewNode {
        content,
        mode,
        gid: snapshot.gid,
        mtime,
    }
}

impl State {
    /// Puts the added names into the stage and finds the inodes of every change.
    pub(crate) fn stage(
        &mut self,
        next: &Snapshot,
        plan: &Plan,
        mtime: SystemTime,
    ) -> Result<Vec<Change>, FsError> {
        let mut staged = HashMap::new();
        for (index, top) in plan.staged.iter().enumerate() {
            let name = stage_name(self.version.next(), index);
            self.stage_one(next, top, &name, mtime)?;
            staged.insert(top, name);
        }
        let parent = |path: &RelPath| match path.parent() {
            None => Ok(self.tree.files),
            Some(parent) => self.tree.resolve(&parent),
        };
        plan.ops
            .iter()
            .map(|op| {
                let path = op.path().clone();
                Ok(match op {
                    Op::Rename(_) => Change::Rename {
                        stage: staged.get(&path).cloned().ok_or(FsError::NoName)?,
                        parent: parent(&path)?,
                        path,
                    },
                    Op::Ring(_) => Change::Ring {
                        ino: self.tree.resolve(&path)?,
                        executable: next
                            .file(path.as_str())
                            .is_some_and(|file| file.mode & 0o111 != 0),
                        path,
                    },
                    Op::Unlink(_) => Change::Unlink {
                        parent: parent(&path)?,
                        path,
                    },
                    Op::Rmdir(_) => Change::Rmdir {
                        parent: parent(&path)?,
                        path,
                    },
                })
            })
            .collect()
    }

    /// Drops what is staged and nobody has renamed in.
    pub(crate) fn unstage(&mut self) {
        self.tree.discard_below(self.tree.stage);
    }

    /// The files that come back while somebody still holds them: staging gives them new bytes.
    pub(crate) fn revived(&self, next: &Snapshot, plan: &Plan) -> Vec<Inode> {
        plan.staged
            .iter()
            .flat_map(|top| subtree(next, top))
            .filter(|(_, entry)| !entry.is_dir())
            .filter_map(|(path, _)| {
                let identity = Identity::Path(FileType::File, path.clone());
                self.tree.find(&identity)
            })
            .collect()
    }

    fn stage_one(
        &mut self,
        next: &Snapshot,
        top: &RelPath,
        name: &str,
        mtime: SystemTime,
    ) -> Result<(), FsError> {
        let stage = self.tree.stage;
        for (path, entry) in subtree(next, top) {
            let new = node(entry, next, mtime);
            let kind = if entry.is_dir() {
                FileType::Dir
            } else {
                FileType::File
            };
            let identity = Identity::Path(kind, path.clone());
            if path == top {
                self.tree.insert(stage, name, identity, new)?;
                continue;
            }
            let above = path.parent().ok_or(FsError::NoName)?;
            let staged = self.tree.child(stage, name)?;
            let folder = match above.below(top) {
                None => staged,
                Some(rest) => self.tree.resolve_below(staged, &rest)?,
            };
            self.tree.insert(folder, path.name(), identity, new)?;
        }
        Ok(())
    }
}

/// The name under which the `index`th addition of a version waits; never used again.
fn stage_name(version: VersionNumber, index: usize) -> String {
    format!("{version}-{index}")
}

/// A name of a snapshot and all below it.
fn subtree<'s>(
    snapshot: &'s Snapshot,
    top: &'s RelPath,
) -> impl Iterator<Item = (&'s RelPath, &'s Entry)> {
    snapshot
        .entries
        .range(top.clone()..)
        .take_while(|(path, _)| path.as_str().starts_with(top.as_str()))
        .filter(move |(path, _)| *path == top || path.is_below(top))
}
