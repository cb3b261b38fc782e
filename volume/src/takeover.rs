//! What a successor asks of a volume that another process has served, before it goes on with it.

use std::sync::Arc;
use std::time::SystemTime;

use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{HashKey, Snapshot};

use crate::armed::Change;
use crate::commit_ops::Swapped;
use crate::handles::Pins;
use crate::history::History;
use crate::inodes::Identity;
use crate::number::{Inode, VersionNumber};
use crate::state::{Committing, State};
use crate::tree::Content;

impl State {
    /// A volume of which another process's state is lost, though its connection lives on: what it shows is
    /// rendered anew, and everybody is told of every file. Nothing is known of what handles were open: they
    /// read ESTALE. Versions begin at a number that none of them can have.
    ///
    /// The caller goes on as with a commit that was under way ([`State::swapped`]).
    pub fn anew(key: HashKey, first: Arc<Snapshot>, pins: Pins, now: SystemTime) -> Self {
        let mut state = Self::new(key, first, pins, now);
        // Fewer commits than seconds since 1970, in any life of a volume.
        let since = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        state.version = VersionNumber(u32::try_from(since.as_secs()).unwrap_or(u32::MAX / 2));
        state.history = History::default();
        let objects = state.current.objects.clone();
        state
            .history
            .committed(state.version, objects, now, |_| false);
        let nodes = state.tree.nodes.iter();
        let mut rings: Vec<Change> = nodes
            .filter_map(|(ino, node)| match (&node.identity, &node.content) {
                (Identity::Path(_, path), Content::File(_)) => Some(Change::Ring {
                    path: path.clone(),
                    ino: *ino,
                    executable: node.mode & 0o111 != 0,
                }),
                _ => None,
            })
            .collect();
        rings.sort_by(|one, other| one.path().cmp(other.path()));
        state.armed.arm(rings.into());
        state.committing = Committing::Swapped;
        state
    }

    /// Another process goes on with the volume. Opens that were parked are asked for again by the kernel, or
    /// by whoever knows their requests; the last change that was done may be.
    pub fn take_over(&mut self) {
        if let Some(park) = &mut self.park {
            park.waiting.clear();
        }
        self.armed.unsure = self.armed.done > 0;
    }

    /// The key of the volume's hashes.
    pub fn key(&self) -> HashKey {
        self.tree.key
    }

    /// The current version's snapshot, whatever of it was refused.
    pub fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current)
    }

    /// How far the commit under way has come.
    pub fn committing(&self) -> Committing {
        self.committing
    }

    /// What there is to do of a commit whose bytes are current: as its swap told, but that all inodes which
    /// have a name count as changed, since it is not known which of them the kernel was told of.
    pub fn swapped(&self) -> Swapped {
        Swapped {
            version: self.version,
            mtime: self.committed,
            changed: self.named().map(|(ino, _)| ino).collect(),
            changes: self.armed(),
            dropped: false,
        }
    }

    /// All names of the volume's files and folders.
    pub fn names(&self) -> Vec<RelPath> {
        self.named().map(|(_, path)| path.clone()).collect()
    }

    fn named(&self) -> impl Iterator<Item = (Inode, &RelPath)> {
        let nodes = self.tree.nodes.iter();
        nodes.filter_map(|(ino, node)| match &node.identity {
            Identity::Path(_, path) if node.linked => Some((*ino, path)),
            _ => None,
        })
    }
}
