//! Answers the kernel. A thin adapter: each request is one question to the volume, and the answer is
//! written back. It decides nothing, never waits, and knows neither the publisher nor the hand.

mod errno;
mod fuse;
mod init;
mod raw;
mod takeover;
mod xattr;

pub use fuse::{Filesystem, nodeid};
pub use init::{lacks, resends};
pub use takeover::{Connection, Inherited, begin};
