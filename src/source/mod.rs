//! Sources: what watches the places that objects come from and says what it read there.
//!
//! This file is the port: all that anybody needs of a source. A source is asked through [`Source`], says
//! what it read into a [`Mailbox`], and is found by the origin of an object's key in [`Sources`]. Everything
//! asynchronous about reading objects is below. A source knows nothing of volumes, snapshots, FUSE or mounts;
//! it hands over whole objects in the order in which it read them and leaves it to the engine to find out
//! whether anything changed.

pub mod kube;
mod mailbox;
pub mod manifest;
#[cfg(test)]
pub mod memory;
mod router;

use std::collections::BTreeMap;
use std::error::Error;

use livemount_engine::object::{Object, ObjectKey, Origin};
use thiserror::Error;

pub use mailbox::{Mailbox, Want};
pub use router::{Sources, Updates};

/// What a source says. For one object, in the order in which it was true; states that were superseded
/// before anybody heard them are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// This is the object's state.
    Applied(Object),
    /// The object is not there.
    Deleted(ObjectKey),
    /// What one reading says of every object that is wanted, all at once: nothing of one that is not there.
    Read(BTreeMap<ObjectKey, Option<Object>>),
    /// Nothing can be learned of the object for now; it is tried again. What was said stays good.
    Failing {
        /// The object.
        key: ObjectKey,
        /// Why, one sentence without a value.
        why: String,
    },
    /// After `Failing`: the object is followed again.
    Working(ObjectKey),
    /// A part of the source that is not one object's, such as a file, cannot be read. What was said stays
    /// good.
    Unreadable {
        /// Why, one sentence without a value.
        why: String,
    },
}

/// What can be asked of a source. Nothing of it waits; what comes of it is said into the source's mailbox.
pub trait Source: Send + Sync {
    /// By which origin its objects are known.
    fn origin(&self) -> Origin;

    /// Follow an object. Asked again, it is read afresh.
    fn watch(&self, key: &ObjectKey);

    /// Nobody wants the object any more: nothing that was read of it before is said after the next `watch`.
    fn unwatch(&self, key: &ObjectKey);

    /// Read everything anew, where somebody may know better than the source whether it has changed. Whether
    /// an API server has told its newest is nobody's to doubt.
    fn reload(&self) {}
}

/// A source that will say nothing any more, and why.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct SourceEnded(#[from] Box<dyn Error + Send + Sync>);
