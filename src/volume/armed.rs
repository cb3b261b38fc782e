//! The one change that the kernel may bring next.
//!
//! The publisher arms a list in order; exactly one of it is live at any moment, and the handler that
//! serves it moves on to the next. Everything else is EROFS, whoever asks: a caller's ids prove
//! nothing. Whoever does the live one first has done it, so a rogue can at most do our work.

/// One armed change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArmedOp {
    /// A staged name moves to its folder.
    Rename {
        /// The name in `/stage`.
        stage: String,
        /// The folder's inode.
        parent: u64,
        /// The name in it.
        name: String,
    },
    /// One write to the file, or one setting of its mtime: either makes the kernel tell.
    Ring {
        /// The file's inode.
        ino: u64,
    },
    /// A file's name goes.
    Unlink {
        /// The folder's inode.
        parent: u64,
        /// The name in it.
        name: String,
    },
    /// A new `..data` takes the place of the one before: the one rename over a name.
    Dotdata,
    /// A folder's name goes.
    Rmdir {
        /// The parent folder's inode.
        parent: u64,
        /// The name in it.
        name: String,
    },
}

#[derive(Debug, Default)]
pub(super) struct Armed {
    ops: Vec<ArmedOp>,
    done: usize,
}

impl Armed {
    pub(super) fn arm(&mut self, ops: Vec<ArmedOp>) {
        *self = Self { ops, done: 0 };
    }

    pub(super) fn disarm(&mut self) {
        *self = Self::default();
    }

    /// The change that may be brought now.
    pub(super) fn live(&self) -> Option<&ArmedOp> {
        self.ops.get(self.done)
    }

    pub(super) fn advance(&mut self) {
        self.done += 1;
    }

    /// Whether a new `..data` is still to come.
    pub(super) fn awaits_dotdata(&self) -> bool {
        self.ops[self.done.min(self.ops.len())..].contains(&ArmedOp::Dotdata)
    }

    /// How many of the list were brought, or given up.
    pub(super) fn done(&self) -> usize {
        self.done
    }
}
