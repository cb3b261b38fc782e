//! The only writer of volumes: mounts them, commits snapshots to them, takes them down.
//!
//! A volume is published in phases, each a type that owns what has to be undone: prepared, connected,
//! serving, bound. Then it commits on a thread of its own that exists while there is something to
//! commit, so that no volume ever waits for another's system call. A burst becomes one commit: the
//! newest snapshot wins. The publisher never touches a mount; the hand does, and answers.

mod commit;
mod connected;
mod error;
mod going_on;
mod keeping;
mod live;
mod prepared;
mod published;
mod publisher;
mod queue;
#[cfg(test)]
mod queue_tests;
mod serving;
mod session;
mod settings;

use crate::served::sync;

pub use error::PublishError;
pub use going_on::Continued;
pub use keeping::{KeepError, Keeping, Left};
pub use live::VolumeStats;
pub use livemount_volume::{Compat, Pins};
pub use published::Published;
pub use publisher::{NewVolume, Publisher};
pub use session::ConnectionEnd;
pub use settings::Settings;

/// What this kernel's FUSE lacks; nothing before the first volume.
pub fn kernel_lacks() -> &'static [&'static str] {
    crate::fs::lacks()
}
