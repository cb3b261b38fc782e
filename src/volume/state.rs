//! A volume's state: what it shows, who has what open, and what may change next.
//!
//! Data alone. What the filesystem asks of it is in `fs_ops`, what a commit does to it in
//! `commit_ops`.

use std::sync::Arc;
use std::time::SystemTime;

use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{HashKey, Snapshot};
use parking_lot::{Condvar, Mutex};

use super::armed::Armed;
use super::commit_ops::plant;
use super::handles::{Handles, Pins};
use super::history::History;
use super::inodes::Identity;
use super::park::Park;
use super::tree::Tree;
use super::version_dirs::VersionDirs;

/// One published volume: what it shows, who has what open, and what may change next.
pub struct Volume {
    name: Arc<str>,
    pub(super) state: Mutex<State>,
    /// Told when the last handle that a drain waits for was read to its end or closed.
    pub(super) drained: Condvar,
}

pub(super) struct State {
    pub(super) tree: Tree,
    pub(super) handles: Handles,
    pub(super) armed: Armed,
    pub(super) park: Option<Park>,
    /// The number of the current version: 1 for the first snapshot.
    pub(super) version: u32,
    /// The current version's snapshot.
    pub(super) current: Arc<Snapshot>,
    /// What the names and files show once no commit is under way: the current snapshot, less what
    /// the kernel refused.
    pub(super) shown: Arc<Snapshot>,
    pub(super) version_dirs: VersionDirs,
    /// The time of the newest commit: every mtime is at most this, and the next commit is later.
    pub(super) committed: SystemTime,
    pub(super) history: History,
}

impl Volume {
    /// A volume that shows its first snapshot, before anything is mounted.
    pub fn new(
        name: &str,
        key: HashKey,
        first: Arc<Snapshot>,
        pins: Pins,
        now: SystemTime,
    ) -> Arc<Self> {
        let mut tree = Tree::new(key, first.root_mode, first.gid, now);
        let mut history = History::default();
        history.committed(1, first.objects.clone(), now, |_| false);
        let files = tree.files;
        let named = |path: &RelPath, kind| Identity::Path(kind, path.clone());
        plant(&mut tree, files, &first, now, named);
        Arc::new(Self {
            name: name.into(),
            state: Mutex::new(State {
                tree,
                handles: Handles::new(pins),
                armed: Armed::default(),
                park: None,
                version: 1,
                current: Arc::clone(&first),
                shown: first,
                version_dirs: VersionDirs::default(),
                history,
                committed: now,
            }),
            drained: Condvar::new(),
        })
    }

    /// The volume's name in logs.
    pub fn name(&self) -> &str {
        &self.name
    }
}
