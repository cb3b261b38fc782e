//! What one volume shows right now, as data: its names and inodes, who has what open, what may change
//! next, what of the past is kept for those who hold it.
//!
//! This crate is separate so that the compiler keeps it pure. It looks at no clock, takes no lock,
//! starts no thread and calls nobody back: what time it is comes in as an argument, and an open that
//! is let go comes out as a value. So the whole of it can be written down and read back ([`Record`]),
//! and whoever shares it between threads owns the one lock. It knows no kernel, no fuser and no hand.
//!
//! The publisher is the only writer; the filesystem reads, and moves a name only when the publisher
//! has armed exactly that.

#![warn(clippy::missing_errors_doc)]

mod armed;
mod commit_ops;
mod error;
mod fs_ops;
mod handles;
mod history;
mod inodes;
mod journal;
mod now;
mod number;
mod park;
mod record;
mod staging;
mod state;
mod takeover;
mod tree;
mod version_dirs;

pub use armed::Change;
pub use commit_ops::{Compat, Swapped};
pub use error::FsError;
pub use fs_ops::{Attr, Label, Listed, Looked, ReadAnswer};
pub use handles::{Opened, Pins, Reader};
pub use history::Served;
pub use inodes::{FileType, ROOT};
pub use journal::{
    Answered, Moment, ParkedOpen, Replay, Replayed, RequestNumber, SnapshotRecord, Step,
};
pub use now::{Monotonic, Now};
pub use number::{HandleNumber, Inode, Ticket, VersionNumber};
pub use park::{DrainReport, LetGo, OpenAnswer};
pub use record::{FORMAT, Record, RecordError, Wall};
pub use state::{Committing, State};
pub use version_dirs::DOTDATA;

#[cfg(test)]
mod tests;
