//! What of a volume outlives this process: its state in shared memory, written so that whatever moment
//! the process ends at, its successor has the whole of it.
//!
//! Each volume has a file of its own ([`VolumeFile`]): a record, and a journal of what happened since,
//! which is a memory write for each change and never a system call. The contents of all volumes lie in
//! one file beside them ([`Contents`]). The files have no name and no disk beneath them (memfd_create(2));
//! they live as long as somebody holds their descriptors, which is the keeper's part.

mod contents;
mod error;
mod extents;
mod memory;
mod slot;
mod volume_file;

pub use contents::{Contents, Kept};
pub use error::StoreError;
pub use slot::Slot;
pub use volume_file::{Found, NextSnapshot, Requests, Superseded, VolumeFile};
