//! The operations of a commit, and how far they have come.
//!
//! The rules of [`protocol`](super) hold here too: nothing is changed, only appended.

use serde::{Deserialize, Serialize};

/// The number of a commit among those of its volume, chosen by the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitNumber(pub u64);

/// One operation of a commit, done through the volume's writable mount. Paths are relative to
/// `files/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandOp {
    /// Moves a prepared name in: one `MOVED_TO` for whoever watches the directory.
    Rename {
        /// A single name in `stage/`.
        stage: String,
        /// Where it goes. It must not exist: the hand does not look, the caller knows.
        path: String,
    },
    /// Opens for writing, writes one byte, closes: `OPEN`, `MODIFY`, `CLOSE_WRITE`. Where the file
    /// is being executed (`ETXTBSY`) or somebody holds a lease on it (`EAGAIN`) it becomes a
    /// [`HandOp::Touch`], and the result says so.
    Ring {
        /// The file.
        path: String,
        /// For the fallback: the file's modification time, in seconds.
        mtime_sec: i64,
        /// For the fallback: its nanoseconds.
        mtime_nsec: u32,
    },
    /// Sets the modification time and leaves the access time alone: one `MODIFY`.
    Touch {
        /// The file.
        path: String,
        /// Seconds.
        mtime_sec: i64,
        /// Nanoseconds.
        mtime_nsec: u32,
    },
    /// Removes a file or a symbolic link: one `DELETE`.
    Unlink {
        /// The name.
        path: String,
    },
    /// Removes a directory.
    Rmdir {
        /// The name.
        path: String,
    },
}

/// What came of a [`HandOp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpResult {
    /// Done as asked.
    Done,
    /// A ring that became a touch.
    Touched,
    /// Not done. The errno is the kernel's own: what `ENOENT` means at an unlink is for the
    /// publisher to say.
    Failed(i32),
}

/// The last operation that ended on a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// Its commit.
    pub commit: CommitNumber,
    /// Its index within the commit.
    pub index: u32,
    /// What came of it.
    pub result: OpResult,
}

/// How far a volume's operations have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// The last that ended.
    pub last: Option<Last>,
    /// The one that was begun and has not ended: commit and index.
    pub running: Option<(CommitNumber, u32)>,
}
