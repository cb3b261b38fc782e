//! The hand: the one process of livemount that touches mounts.
//!
//! A process that serves a FUSE connection and also touches a mount of it can wait for itself in
//! the kernel, where no signal reaches it. So the daemon answers requests and nothing else, and
//! everything that needs a path or a descriptor of a mount (mounting, binding, `statx`, the ring,
//! renaming, unlinking, unmounting) is asked of this process, which holds no `/dev/fuse` descriptor
//! for longer than one call.
//!
//! It is its daemon's child and ends with it, or runs apart and outlives daemons, who come to it on a
//! socket one after the other.
//!
//! The crate is both ends: [`process`] is what the hidden subcommand runs, [`Hand`] is what the
//! daemon holds, and [`protocol`] is the only thing that they share. It is a crate of its own so
//! that it cannot name the engine, a runtime or a FUSE library.
//!
//! Only [`process`] and the modules beneath it need privileges. [`Hand`] makes no system call on a
//! mount or on a path; it only keeps the descriptors of the mounts, to give them to a hand that
//! takes over from one that died.

mod client;
mod error;
mod files;
mod mounted_volume;
mod mountinfo;
mod mounts;
mod perform;
pub mod process;
pub mod protocol;
mod socket;
mod sweep;
mod sys;
mod target;
mod volume_path;
mod worker;

pub use client::{ClientOptions, Connection, Hand, HandStatus, Reach, Unfinished};
pub use error::HandError;
pub use perform::abort_at;
pub use protocol::{
    CommitNumber, HandOp, Last, OpResult, Prepared, Progress, Unbind, VolumeNumber,
};
