//! What daemon and hand say to each other: one postcard message a SEQPACKET record, descriptors
//! beside it.
//!
//! A hand that is its daemon's child is the same binary. One that runs apart may be older or newer
//! than the daemons that come to it: each connection begins with [`Control::Hello`], and both ends
//! speak the lesser of their versions. So that this is all that there is to it, **variants are only
//! ever appended, and fields neither added nor changed**: what version 1 can say is written the same
//! way for ever (`tests/wire.rs` holds the bytes), and a new thing to say is a new variant and a new
//! [`VERSION`], not said to who has not got it.
//!
//! The hand reads these with privileges from a process without any: decoding bounds every message,
//! never panics, and refuses bytes left over. What a message *means* is judged where it is
//! performed; nothing here looks at a path.

mod operations;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::HandError;

pub use operations::{CommitNumber, HandOp, Last, OpResult, Progress};

/// What this end speaks.
pub const VERSION: u16 = 1;

/// The oldest that this end still understands.
pub const OLDEST: u16 = 1;

/// The name of a hand's socket in its folder, where it runs apart.
pub const SOCKET: &str = "hand.sock";

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

/// The number of a volume, chosen by the daemon; the hand knows a volume by nothing else. A hand that
/// outlives daemons must never be told one number for two volumes, whichever daemons chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeNumber(pub u64);

impl fmt::Display for VolumeNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

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
    /// Take over what a former hand or another daemon held. With the mount's descriptor beside it if
    /// there is one. A hand that holds the very mount keeps what it knows itself. Answered unless its
    /// number is 0.
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
    /// The first message to a hand that runs apart.
    Hello(Spoken),
    /// See [`Hand::settle`](crate::Hand::settle).
    Settle,
}

/// The versions of the protocol that one end speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// The newest.
    pub version: u16,
    /// The oldest.
    pub oldest: u16,
}

impl Spoken {
    /// What this end speaks.
    pub const OURS: Self = Self {
        version: VERSION,
        oldest: OLDEST,
    };

    /// The version that both ends speak; none where they have none in common.
    pub fn common(self, other: Self) -> Option<u16> {
        let version = self.version.min(other.version);
        (version >= self.oldest.max(other.oldest)).then_some(version)
    }
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
    /// See [`Hand::idle`](crate::Hand::idle).
    Idle {
        /// Which volume.
        volume: VolumeNumber,
    },
    /// See [`Hand::abort`](crate::Hand::abort).
    Abort {
        /// Which volume.
        volume: VolumeNumber,
    },
}

impl Call {
    /// What it is called in an error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Control(Control::Ping) => "ping",
            Self::Control(Control::Adopt { .. }) => "adopt",
            Self::Control(Control::Last { .. }) => "last",
            Self::Control(Control::Hello(_)) => "hello",
            Self::Control(Control::Settle) => "settle",
            Self::Work(Work::Prepare { .. }) => "prepare",
            Self::Work(Work::Mount { .. }) => "mount",
            Self::Work(Work::Bind { .. }) => "bind",
            Self::Work(Work::Refresh { .. }) => "refresh",
            Self::Work(Work::Run { .. }) => "run",
            Self::Work(Work::Unbind { .. }) => "unbind",
            Self::Work(Work::Forget { .. }) => "forget",
            Self::Work(Work::Clear { .. }) => "clear",
            Self::Work(Work::Idle { .. }) => "idle",
            Self::Work(Work::Abort { .. }) => "abort",
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
    /// To [`Control::Adopt`], [`Control::Settle`], [`Work::Unbind`], [`Work::Forget`],
    /// [`Work::Clear`], [`Work::Idle`] and [`Work::Abort`].
    Done,
    /// To [`Control::Hello`]. Where there is no version in common the connection ends behind it.
    Hello(Spoken),
}

/// What preparing a target did to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The directory was not there and was made.
    pub created: bool,
    /// A dead livemount was there and was detached.
    pub replaced: bool,
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

/// The number of a message that cannot be read otherwise, so that its sender can be answered.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    postcard::take_from_bytes(bytes)
        .ok()
        .map(|(number, _)| number)
}
