//! The one change that the kernel may bring next.
//!
//! The publisher arms a list in order; exactly one of it is live at any moment, and the handler that
//! serves it moves on to the next. Everything else is EROFS, whoever asks: a caller's ids prove
//! nothing. Whoever does the live one first has done it, so a rogue can at most do our work.

use std::sync::Arc;

use livemount_engine::diff::Op;
use livemount_engine::path::RelPath;

use crate::number::Inode;
use crate::version_dirs::DOTDATA;

/// One change of a commit: what the plan asks for, and the inodes by which the kernel will ask for
/// it. What the hand is asked is made of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A staged name moves to its folder.
    Rename {
        /// Where it will be.
        path: RelPath,
        /// The name in `/stage`.
        stage: String,
        /// The folder's inode.
        parent: Inode,
    },
    /// One write to the file, or one setting of its mtime: either makes the kernel tell.
    Ring {
        /// The file.
        path: RelPath,
        /// Its inode.
        ino: Inode,
        /// Whether it may be executed. Such a file is never opened for writing: an exec in that
        /// moment would fail with ETXTBSY.
        executable: bool,
    },
    /// A file's name goes.
    Unlink {
        /// The name.
        path: RelPath,
        /// Its folder's inode.
        parent: Inode,
    },
    /// A folder's name goes.
    Rmdir {
        /// The name.
        path: RelPath,
        /// Its folder's inode.
        parent: Inode,
    },
    /// A new `..data` takes the place of the one before: the one rename over a name.
    Dotdata,
}

impl Change {
    /// What the plan asked for; nothing for what compatibility adds.
    pub fn op(&self) -> Option<Op> {
        match self {
            Self::Rename { path, .. } => Some(Op::Rename(path.clone())),
            Self::Ring { path, .. } => Some(Op::Ring(path.clone())),
            Self::Unlink { path, .. } => Some(Op::Unlink(path.clone())),
            Self::Rmdir { path, .. } => Some(Op::Rmdir(path.clone())),
            Self::Dotdata => None,
        }
    }

    /// The path that it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::Rename { path, .. }
            | Self::Ring { path, .. }
            | Self::Unlink { path, .. }
            | Self::Rmdir { path, .. } => path.as_str(),
            Self::Dotdata => DOTDATA,
        }
    }
}

/// The changes of the commit under way, and how far they have come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Armed {
    pub(crate) changes: Arc<[Change]>,
    pub(crate) done: usize,
    /// The last one that was done may be asked for again: its answer may have died with who gave it.
    pub(crate) unsure: bool,
}

impl Armed {
    pub(crate) fn arm(&mut self, changes: Arc<[Change]>) {
        *self = Self {
            changes,
            ..Self::default()
        };
    }

    pub(crate) fn disarm(&mut self) {
        *self = Self::default();
    }

    /// The change that may be brought now.
    pub(crate) fn live(&self) -> Option<&Change> {
        self.changes.get(self.done)
    }

    pub(crate) fn advance(&mut self) {
        self.done += 1;
        self.unsure = false;
    }

    /// The change that was done last, where it may be asked for again.
    pub(crate) fn repeated(&self) -> Option<&Change> {
        let last = self.done.checked_sub(1).filter(|_| self.unsure)?;
        self.changes.get(last)
    }

    /// Whether a new `..data` is still to come.
    pub(crate) fn awaits_dotdata(&self) -> bool {
        self.changes[self.done.min(self.changes.len())..].contains(&Change::Dotdata)
    }

    /// Whether this file's ring is live.
    pub(crate) fn rings(&self, file: Inode) -> bool {
        rings(self.live(), file)
    }

    /// Whether this file's ring was done last, and may be asked for again.
    pub(crate) fn rang(&self, file: Inode) -> bool {
        rings(self.repeated(), file)
    }
}

fn rings(change: Option<&Change>, file: Inode) -> bool {
    matches!(change, Some(Change::Ring { ino, .. }) if *ino == file)
}
