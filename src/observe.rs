//! Facts: what happened, told once, to whoever listens.
//!
//! The publisher and the engine's loop tell facts into one bounded stream; a thread of its own writes
//! them to the log. A log that nobody reads must never hold up a commit, so a full stream drops facts
//! and counts them. Facts hold names, numbers and times; never a value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use livemount_engine::render::Refusal;
use livemount_engine::snapshot::ObjectVersion;
use tracing::{error, info, warn};

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
    /// How long it waited for readers.
    pub drained: Duration,
    /// How many readers had not finished at the drain's bound.
    pub unread: usize,
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
    /// A source could not be read; the last good objects stay.
    Unreadable {
        /// Why, in one sentence.
        why: String,
    },
    /// A change that the kernel refused. The next commit tries again.
    Unbrought {
        /// The volume's name.
        volume: Arc<str>,
        /// What was to be done, with its path.
        what: String,
        /// The kernel's or the hand's answer.
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
    /// The hand died and was started again.
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

fn versions(objects: &[ObjectVersion]) -> String {
    let words: Vec<String> = objects
        .iter()
        .map(|object| match &object.resource_version {
            Some(version) => format!("{}@{version}", object.key),
            None => object.key.to_string(),
        })
        .collect();
    words.join(", ")
}

/// Writes a fact to the log.
pub fn log(fact: &Fact) {
    match fact {
        Fact::Committed(commit) => info!(
            volume = %commit.volume,
            version = commit.version,
            objects = versions(&commit.objects),
            changed = commit.changed,
            added = commit.added,
            removed = commit.removed,
            failed = commit.failed,
            drained_ms = millis(commit.drained),
            unread = commit.unread,
            took_ms = millis(commit.took),
            older_handles = commit.older_handles,
            "committed"
        ),
        Fact::Refused { volume, refusal } => {
            warn!(%volume, "refused, the last good version stays: {refusal}");
        }
        Fact::Recovered { volume } => info!(%volume, "recovered: the objects render again"),
        Fact::Unreadable { why } => warn!("refused, the last good version stays: {why}"),
        Fact::Unbrought { volume, what, why } => {
            warn!(%volume, "could not {what}, which is tried again: {why}");
        }
        Fact::Stuck {
            volume,
            step,
            since,
        } => warn!(
            %volume,
            since_ms = millis(*since),
            "a commit waits in the kernel ({step}) for something that a program holds"
        ),
        Fact::HandDied => warn!("the hand died and was started again"),
        Fact::PinsDropped { volume, total } => warn!(
            %volume,
            total,
            "an older version was dropped for the limit; handles on it read ESTALE"
        ),
        Fact::Ended {
            volume,
            error: Some(error),
        } => error!(%volume, %error, "the FUSE connection broke"),
        Fact::Ended {
            volume,
            error: None,
        } => warn!(%volume, "the FUSE connection was ended from outside"),
    }
}

/// Milliseconds to three places, as a number that both log formats show alike.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
