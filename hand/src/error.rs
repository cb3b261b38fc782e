//! What can go wrong between the daemon and the hand, told once for both: the hand sends most of
//! these as they are.
//!
//! No target path is in here: the caller knows the volume that it asked about, and says it where it
//! tells the error.

use std::borrow::Cow;
use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::protocol::{Spoken, VolumeNumber};

/// A refusal of the hand, or the reason why there is no answer from it.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum HandError {
    /// The hand's program could not be started.
    #[error("cannot start the hand: {}", say(*errno))]
    Start {
        /// The errno of the failed start.
        errno: i32,
    },
    /// The hand went away before it answered. Whether the operation was done is not known; a new
    /// hand is being started.
    #[error("the hand died before it answered")]
    Died,
    /// This [`Hand`](crate::Hand) was closed.
    #[error("the hand was closed")]
    Closed,
    /// No answer within the time that the caller gave. The operation goes on in the hand.
    #[error("the hand has not finished in time: {what}")]
    Slow {
        /// Which call.
        what: Cow<'static, str>,
    },
    /// An earlier operation on the same volume is past its time and still in the kernel. Nothing of
    /// this call was done.
    #[error("an earlier operation on this volume is stuck; nothing was done")]
    Stuck,
    /// The hand knows no such volume, or the volume has no mount yet.
    #[error("the hand holds no mount for volume {0}")]
    NoVolume(VolumeNumber),
    /// The target is not an absolute path strictly beneath one of the hand's roots.
    #[error("the target is outside the roots that this hand may touch")]
    OutsideRoots,
    /// The target, or something on the way to it, is not a directory (a symbolic link is none).
    #[error("the target is not a directory")]
    NotADirectory,
    /// The target holds files, and the caller did not ask to mount over them.
    #[error("the target directory is not empty")]
    NotEmpty,
    /// A live livemount, of another daemon or another volume, is mounted at the target.
    #[error("another live livemount is mounted at the target")]
    Occupied,
    /// Something else was mounted over the volume, so that it cannot be unmounted.
    #[error("another filesystem is mounted over the volume")]
    Covered,
    /// The volume is bound, and what was asked for needs it unbound first: another target, or a new
    /// mount.
    #[error("the volume is still bound to a target")]
    StillBound,
    /// Somebody uses the mount (only for [`Unbind::IfIdle`](crate::Unbind::IfIdle)).
    #[error("the mount is in use")]
    Busy,
    /// A path does not name something beneath the volume: empty, absolute, too long, with `.`,
    /// `..`, an empty component or a NUL.
    #[error("not a path within the volume")]
    BadPath,
    /// A descriptor that was given is not that of a FUSE mount.
    #[error("the descriptor is not that of a FUSE mount")]
    NotFuse,
    /// A message could not be read or written: the two ends do not speak the same protocol.
    #[error("malformed message")]
    Malformed,
    /// A system call failed.
    #[error("{what}: {}", say(*errno))]
    Os {
        /// The call, for people.
        what: Cow<'static, str>,
        /// Its errno.
        errno: i32,
    },
    /// Nobody answers on the socket of a hand that runs apart.
    #[error("no hand answers on {socket}: {}", say(*errno))]
    Unreachable {
        /// Its path.
        socket: String,
        /// What the last try came to.
        errno: i32,
    },
    /// The two ends have no version of the protocol in common.
    #[error(
        "this livemount speaks version {} to {} with a hand, and this hand {} to {}",
        ours.oldest, ours.version, theirs.oldest, theirs.version
    )]
    Version {
        /// What the daemon speaks.
        ours: Spoken,
        /// What the hand does.
        theirs: Spoken,
    },
    /// Another daemon has taken this one's place with the hand.
    #[error("another daemon has taken over the hand")]
    Replaced,
}

impl HandError {
    /// The errno of a failed system call, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Start { errno } | Self::Os { errno, .. } | Self::Unreachable { errno, .. } => {
                Some(*errno)
            }
            _ => None,
        }
    }

    pub(crate) fn start(error: &io::Error) -> Self {
        Self::Start {
            errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
        }
    }
}

/// Names the system call that gave an errno.
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, HandError>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, what: &'static str) -> Result<T, HandError> {
        self.map_err(|errno| HandError::Os {
            what: what.into(),
            errno: errno.raw_os_error(),
        })
    }
}

fn say(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}
