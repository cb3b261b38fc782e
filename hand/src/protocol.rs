//! What daemon and hand say to each other: one postcard message a SEQPACKET record, descriptors
//! beside it.
//!
//! Both ends are the same binary at the same version, so there is no negotiation. The hand reads
//! these with privileges from a process without any: decoding bounds every message, never panics,
//! and refuses bytes left over. What a message *means* is judged where it is performed; nothing
//! here looks at a path.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::HandError;

/// No message is larger, in bytes. Longer lists are cut up by the client.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// No path within a volume is longer, in bytes (the kernel's `PATH_MAX`).
pub const MAX_PATH: usize = 4096;

/// What the daemon sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the daemon, repeated in the reply.
    pub seq: u64,
    /// How long the caller waits, in milliseconds; a call that has not begun by then is refused as
    /// [`HandError::Stuck`].
    pub within_ms: u32,
    /// What to do.
    pub call: Call,
}

/// What the hand sends back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The request that this answers.
    pub seq: u64,
    /// What came of it.
    pub outcome: Result<Answer, HandError>,
}

/// The number of a volume, chosen by the daemon; the hand knows a volume by nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeNumber(pub u64);

impl fmt::Display for VolumeNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The number of a commit among those of its volume, chosen by the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitNumber(pub u64);

/// One thing that the hand can be asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// For its main thread.
    Control(Control),
    /// For a worker.
    Work(Work),
}

/// What the hand's main thread does at once, whatever else goes on: nothing of it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// A sign of life.
    Ping,
    /// Take over what a former hand held. With the mount's descriptor beside it if there is one;
    /// not answered.
    Adopt {
        /// Which volume.
        volume: VolumeNumber,
        /// Its target, as bytes of a path.
        target: Option<Vec<u8>>,
        /// The target directory was made by a hand.
        created: bool,
        /// The volume is bound there.
        bound: bool,
        /// The last operation that the daemon knows to be done.
        last: Option<Last>,
    },
    /// See [`Hand::last`](crate::Hand::last).
    Last {
        /// Which volume.
        volume: VolumeNumber,
    },
}

/// What a worker of the hand does: it may be long in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// See [`Hand::prepare`](crate::Hand::prepare).
    Prepare {
        /// Which volume.
        volume: VolumeNumber,
        /// Bytes of an absolute path.
        target: Vec<u8>,
        /// A directory that is not empty will do.
        over: bool,
    },
    /// See [`Hand::mount`](crate::Hand::mount).
    Mount {
        /// Which volume.
        volume: VolumeNumber,
    },
    /// See [`Hand::bind`](crate::Hand::bind).
    Bind {
        /// Which volume.
        volume: VolumeNumber,
        /// Bytes of an absolute path.
        target: Vec<u8>,
    },
    /// See [`Hand::refresh`](crate::Hand::refresh).
    Refresh {
        /// Which volume.
        volume: VolumeNumber,
        /// Paths relative to `files/`.
        paths: Vec<String>,
    },
    /// See [`Hand::run`](crate::Hand::run).
    Run {
        /// Which volume.
        volume: VolumeNumber,
        /// The commit that the operations belong to.
        commit: CommitNumber,
        /// Index of the first of them within the commit.
        first: u32,
        /// What to do, in this order.
        ops: Vec<HandOp>,
    },
    /// See [`Hand::unbind`](crate::Hand::unbind).
    Unbind {
        /// Which volume.
        volume: VolumeNumber,
        /// How hard.
        how: Unbind,
    },
    /// See [`Hand::forget`](crate::Hand::forget).
    Forget {
        /// Which volume.
        volume: VolumeNumber,
        /// Also remove the target directory if a hand made it.
        remove_target: bool,
    },
    /// See [`Hand::clear`](crate::Hand::clear). Of no volume: what is at the target may be anybody's.
    Clear {
        /// Bytes of an absolute path.
        target: Vec<u8>,
    },
}

impl Call {
    /// What it is called in an error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Control(Control::Ping) => "ping",
            Self::Control(Control::Adopt { .. }) => "adopt",
            Self::Control(Control::Last { .. }) => "last",
            Self::Work(Work::Prepare { .. }) => "prepare",
            Self::Work(Work::Mount { .. }) => "mount",
            Self::Work(Work::Bind { .. }) => "bind",
            Self::Work(Work::Refresh { .. }) => "refresh",
            Self::Work(Work::Run { .. }) => "run",
            Self::Work(Work::Unbind { .. }) => "unbind",
            Self::Work(Work::Forget { .. }) => "forget",
            Self::Work(Work::Clear { .. }) => "clear",
        }
    }
}

impl From<Control> for Call {
    fn from(control: Control) -> Self {
        Self::Control(control)
    }
}

impl From<Work> for Call {
    fn from(work: Work) -> Self {
        Self::Work(work)
    }
}

/// What came of a [`Call`] that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Control::Ping`].
    Pong {
        /// Operations begun and not ended.
        busy: u32,
        /// Those of them that are past their time.
        late: u32,
    },
    /// To [`Work::Prepare`].
    Prepared(Prepared),
    /// To [`Work::Mount`]; `/dev/fuse` and the mount's descriptor come beside it, in this order.
    Mounted,
    /// To [`Work::Bind`]; a descriptor beside it replaces the mount's (see `mounts`).
    Bound,
    /// To [`Work::Refresh`], one errno or none for each path.
    Refreshed(Vec<Option<i32>>),
    /// To [`Work::Run`], one for each operation.
    Ran(Vec<OpResult>),
    /// To [`Control::Last`].
    Progress(Progress),
    /// To [`Work::Unbind`], [`Work::Forget`] and [`Work::Clear`].
    Done,
}

/// What preparing a target did to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The directory was not there and was made.
    pub created: bool,
    /// A dead livemount was there and was detached.
    pub replaced: bool,
}

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

/// How hard to unmount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unbind {
    /// Not if somebody uses it ([`HandError::Busy`]).
    IfIdle,
    /// Out of sight at once; who has it open goes on (`MNT_DETACH`).
    Detach,
    /// Abort the connection, so that everybody who waits in it is freed, then detach (`MNT_FORCE`,
    /// fs/fuse/inode.c `fuse_umount_begin`).
    Force,
}

/// Writes a message.
///
/// # Errors
///
/// [`HandError::Malformed`] where it is longer than [`MAX_MESSAGE`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, HandError> {
    let bytes = postcard::to_stdvec(message).map_err(|_| HandError::Malformed)?;
    if bytes.len() > MAX_MESSAGE {
        Err(HandError::Malformed)
    } else {
        Ok(bytes)
    }
}

/// Reads a message; all of `bytes` must be it.
///
/// # Errors
///
/// [`HandError::Malformed`] where it is not, or is longer than [`MAX_MESSAGE`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HandError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(HandError::Malformed);
    }
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(HandError::Malformed),
    }
}
