//! A volume's state: what it shows, who has what open, and what may change next.
//!
//! Data alone. What the filesystem asks of it is in `fs_ops`, what a commit does to it in
//! `commit_ops`; `record` writes it down and reads it back.

use std::sync::Arc;
use std::time::SystemTime;

use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{HashKey, Snapshot};
use serde::{Deserialize, Serialize};

use crate::armed::Armed;
use crate::handles::{Handles, Pins};
use crate::history::History;
use crate::inodes::Identity;
use crate::number::VersionNumber;
use crate::park::{Drain, Park};
use crate::staging::plant;
use crate::tree::Tree;
use crate::version_dirs::VersionDirs;

/// How far the commit under way has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Committing {
    /// There is none.
    No,
    /// It was begun; nothing of it can be seen.
    Begun,
    /// Its bytes are current, and not all of it was told.
    Swapped,
}

/// One volume.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) tree: Tree,
    pub(crate) handles: Handles,
    pub(crate) armed: Armed,
    /// From the begin of a commit to the end of its drain.
    pub(crate) drain: Option<Drain>,
    pub(crate) park: Option<Park>,
    pub(crate) committing: Committing,
    /// The ticket of the next open that is parked.
    pub(crate) next_ticket: u64,
    /// The number of the current version.
    pub(crate) version: VersionNumber,
    /// The current version's snapshot.
    pub(crate) current: Arc<Snapshot>,
    /// What the names and files show once no commit is under way: the current snapshot, less what
    /// the kernel refused.
    pub(crate) shown: Arc<Snapshot>,
    pub(crate) version_dirs: VersionDirs,
    /// The time of the newest commit: every mtime is at most this, and the next commit is later.
    pub(crate) committed: SystemTime,
    pub(crate) history: History,
}

impl State {
    /// A volume that shows its first snapshot, before anything is mounted. The key hashes its inode
    /// numbers.
    pub fn new(key: HashKey, first: Arc<Snapshot>, pins: Pins, now: SystemTime) -> Self {
        let mut tree = Tree::new(key, first.root_mode, first.gid, now);
        let mut history = History::default();
        history.committed(VersionNumber::FIRST, first.objects.clone(), now, |_| false);
        let files = tree.files;
        let named = |path: &RelPath, kind| Identity::Path(kind, path.clone());
        plant(&mut tree, files, &first, now, named);
        Self {
            tree,
            handles: Handles::new(pins),
            armed: Armed::default(),
            drain: None,
            park: None,
            committing: Committing::No,
            next_ticket: 0,
            version: VersionNumber::FIRST,
            current: Arc::clone(&first),
            shown: first,
            version_dirs: VersionDirs::default(),
            history,
            committed: now,
        }
    }
}
