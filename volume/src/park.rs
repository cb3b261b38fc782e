//! Drain and park: what keeps a size and the bytes behind it together (promise 4).
//!
//! `fstat` cannot be answered per handle, so a commit first waits, within a bound, for those who
//! opened a file and have not yet read it, and holds back new opens of that file meanwhile. A parked
//! open is a ticket here; whoever asked keeps the reply, and nothing waits. When a park is over is
//! told by whoever owns a clock: the publisher, or a timer when the publisher cannot.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::FsError;
use crate::handles::Opened;
use crate::now::Monotonic;
use crate::number::{Inode, Ticket};

/// An open's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenAnswer {
    /// At once.
    Now(Result<Opened, FsError>),
    /// When the commit that changes this file lets it go.
    Parked(Ticket),
}

/// The opens that were let go, in the order in which they came, each with its answer. Each must be
/// given to whoever waits for it.
pub type LetGo = Vec<(Ticket, Result<Opened, FsError>)>;

/// The opens that one commit holds back.
#[derive(Clone, Debug)]
pub(crate) struct Park {
    pub(crate) inos: HashSet<Inode>,
    pub(crate) until: Monotonic,
    pub(crate) waiting: Vec<(Ticket, Inode)>,
}

/// The drain of the commit that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drain {
    pub(crate) began: Monotonic,
    /// When the last of the handles that it waits for is fresh no more; nothing where there is none.
    pub(crate) until: Option<Monotonic>,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// How long the commit waited.
    pub waited: Duration,
    /// How many handles were still unread at the bound.
    pub unread: usize,
}
