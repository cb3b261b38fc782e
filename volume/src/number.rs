//! The numbers by which a volume's things are known, each of a type of its own. What they are to the
//! kernel is said at the edge, where it is answered.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An inode: the kernel's nodeid and `st_ino` in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Inode(pub u64);

/// An open handle. The version that it opened is in the high half, a serial number in the low one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HandleNumber(pub u64);

impl HandleNumber {
    pub(crate) fn new(version: VersionNumber, serial: u32) -> Self {
        Self(u64::from(version.0) << 32 | u64::from(serial))
    }

    /// The version that the handle opened.
    pub fn version(self) -> VersionNumber {
        // Half of 64 bits.
        VersionNumber(u32::try_from(self.0 >> 32).unwrap_or(u32::MAX))
    }
}

/// A version of a volume: 1 for its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionNumber(pub u32);

impl VersionNumber {
    /// A volume's first version.
    pub const FIRST: Self = Self(1);

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A parked open: what the answer to it is found by when it is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);
