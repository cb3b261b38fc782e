//! The one cell that the publisher and the filesystem share: what a volume shows right now.
//!
//! The publisher is the only writer; the filesystem reads, and moves a name only when the publisher
//! has armed exactly that. Everything is behind one short lock: no system call, notification or
//! message is ever made while it is held, so a FUSE thread never waits for the publisher's work.
//! This module knows no kernel, no fuser and no hand, and can be tested as plain data.

mod armed;
mod commit_ops;
mod error;
mod fs_ops;
mod handles;
mod history;
mod inodes;
mod park;
mod state;
mod tree;
mod version_dirs;

#[cfg(test)]
mod tests;

pub use armed::ArmedOp;
pub use commit_ops::{Committing, Compat, Swapped};
pub use error::FsError;
pub use fs_ops::{Attr, Label, Listed, Looked};
pub use handles::{Opened, Pins, Reader};
pub use history::Served;
pub use inodes::{FileType, ROOT};
pub use park::{DrainReport, Parker};
pub use state::Volume;
pub(crate) use version_dirs::DOTDATA;
