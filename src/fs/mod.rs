//! Answers the kernel. A thin adapter: each request is one question to the volume, and the answer is
//! written back. It decides nothing, never waits, and knows neither the publisher nor the hand.

mod errno;
mod fuse;
mod init;
mod xattr;

pub use fuse::{Filesystem, nodeid};
pub use init::lacks;
