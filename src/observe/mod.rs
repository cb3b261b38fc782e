//! Facts: what happened, told once, to whoever listens.
//!
//! The publisher and the event loops tell facts into one bounded stream; a thread of its own writes
//! them to the log and counts them in the metrics. A log that nobody reads must never hold up a commit,
//! so a full stream drops facts and counts them. Facts hold names, numbers and times; never a value.
//!
//! Kubernetes Events are not made of facts: who tells one knows the pod, which a fact does not.

pub mod events;
pub mod http;
mod log;
pub mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use livemount_engine::render::Refusal;
use livemount_engine::snapshot::ObjectVersion;

pub use events::{PodEvent, PodEvents};
pub use log::log;
pub use metrics::Metrics;

/// How many facts may wait for a slow log.
const WAITING: usize = 1024;

/// What a commit did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The volume's name.
    pub volume: Arc<str>,
    /// The version that is current since, 1 for the first.
    pub version: u32,
    /// The objects that it shows.
    pub objects: Vec<ObjectVersion>,
    /// Files whose bytes changed.
    pub changed: usize,
    /// Files that appeared.
    pub added: usize,
    /// Files that went.
    pub removed: usize,
    /// Changes that could not be brought, and are tried again.
    pub failed: usize,
    /// When the newest of the objects that changed was received, where its source is one that is told
    /// of versions. One that changed without an effect on this volume may be older by far.
    pub received: Option<SystemTime>,
    /// When it began.
    pub began: SystemTime,
    /// How long it waited for readers.
    pub drained: Duration,
    /// How many readers had not finished at the drain's bound.
    pub unread: usize,
    /// From its begin until every changed file read as new, with the drain; then its events began.
    pub current: Duration,
    /// From its begin to its last event.
    pub took: Duration,
    /// Handles that are still open on older versions.
    pub older_handles: usize,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A commit is done.
    Committed(Committed),
    /// A version was refused; the last good one stays.
    Refused {
        /// The volume's name.
        volume: Arc<str>,
        /// Why.
        refusal: Refusal,
    },
    /// A volume that was refused shows what its objects say again.
    Recovered {
        /// The volume's name.
        volume: Arc<str>,
    },
    /// A source, or a part of it, could not be read; the last good objects stay.
    Unreadable {
        /// Why, in one sentence.
        why: String,
        /// Whether a volume is served from it already, which shows the last good version.
        serving: bool,
    },
    /// A change that the kernel refused. The next commit tries again.
    FailedOperation {
        /// The volume's name.
        volume: Arc<str>,
        /// What was to be done, with its path.
        what: String,
        /// The kernel's or the hand's answer.
        why: String,
    },
    /// A commit could not begin because the machine gave it no thread; the snapshot stays for the next
    /// offer.
    NoThread {
        /// The volume's name.
        volume: Arc<str>,
        /// The machine's answer.
        why: String,
    },
    /// A commit waits in the kernel for something that a program in the pod holds.
    Stuck {
        /// The volume's name.
        volume: Arc<str>,
        /// In which step.
        step: &'static str,
        /// For how long.
        since: Duration,
    },
    /// The hand died and was started again. Every commit under way tells it, so this is no count of
    /// restarts.
    HandDied,
    /// Older versions were given up for the limit; their handles read ESTALE.
    PinsDropped {
        /// The volume's name.
        volume: Arc<str>,
        /// How many so far.
        total: u64,
    },
    /// The kernel ended a volume's connection.
    Ended {
        /// The volume's name.
        volume: Arc<str>,
        /// The error, where there was one.
        error: Option<String>,
    },
}

/// The telling end of the stream.
#[derive(Clone)]
pub struct Facts {
    stream: SyncSender<Fact>,
    lost: Arc<AtomicU64>,
}

impl Facts {
    /// A stream and its reading end.
    pub fn stream() -> (Self, Receiver<Fact>) {
        let (stream, facts) = sync_channel(WAITING);
        let lost = Arc::default();
        (Self { stream, lost }, facts)
    }

    /// Tells a fact, or counts it as lost where the stream is full.
    pub fn tell(&self, fact: Fact) {
        if self.stream.try_send(fact).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many facts were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
