//! Where the daemon's hand is, and what it is told at its start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How to come by a hand.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Where it is.
    pub reach: Reach,
    /// How long without a sign of life before the daemon gives the hand up; and, where the hand is
    /// its child, before the hand gives the daemon up and kills it. Pings go at a quarter of it. Not
    /// less than 4 ms.
    pub heartbeat: Duration,
}

/// Where a hand is.
#[derive(Debug, Clone)]
pub enum Reach {
    /// It is started, and ends with its daemon.
    Child {
        /// The program, usually `/proc/self/exe`: still the same binary after an upgrade on disk.
        program: PathBuf,
        /// Its first arguments (the hidden subcommand); `--root` and `--heartbeat` are appended.
        args: Vec<OsString>,
        /// Absolute paths; the hand accepts targets strictly beneath these only.
        roots: Vec<PathBuf>,
        /// The SELinux context that every file of every mount shall have; the kernel's default for
        /// FUSE (`fusefs_t`) where none is given.
        selinux_context: Option<String>,
    },
    /// It runs apart and listens on this socket. It outlives its daemons, and what they leave stays
    /// as it is until one says what it has ([`Hand::settle`](crate::Hand::settle)).
    Socket(PathBuf),
}
