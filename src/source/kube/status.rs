//! What a source can say of itself: numbers for metrics, without a value or a name of an object.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Why a watch had to be opened anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// The server ended it, as it does from time to time.
    Renewed,
    /// A fresh answer was wanted.
    Asked,
    /// The connection was lost in the middle.
    Cut,
    /// There was no connection.
    Unreachable,
    /// Nothing was told for longer than it should be.
    Silent,
    /// The version to go on from is forgotten (410).
    Expired,
    /// The server told an older version than before.
    Backwards,
    /// The server wants to be left alone for a while (429, 503, 504).
    Busy,
    /// The server has no streaming lists (400, 422).
    Unsupported,
    /// The server does not accept the credentials (401).
    Unauthorized,
    /// The server does not allow it (403).
    Forbidden,
    /// The server refused it for another reason.
    Refused,
    /// The answer was not understood.
    Garbled,
}

impl RestartReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Renewed,
        Self::Asked,
        Self::Cut,
        Self::Unreachable,
        Self::Silent,
        Self::Expired,
        Self::Backwards,
        Self::Busy,
        Self::Unsupported,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Refused,
        Self::Garbled,
    ];

    /// Whether a request failed; the others are the ordinary course of things.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Renewed | Self::Asked | Self::Unsupported)
    }

    /// Its name as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Asked => "asked",
            Self::Cut => "cut",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Expired => "expired",
            Self::Backwards => "backwards",
            Self::Busy => "busy",
            Self::Unsupported => "unsupported",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::Garbled => "garbled",
        }
    }
}

/// A source's numbers now.
#[derive(Clone, Debug, Default)]
pub struct SourceStatus {
    /// Objects that are followed, lingering ones included.
    pub objects: usize,
    /// Watches that hold a lease on a connection.
    pub watches: usize,
    /// Connections that are open, the one for lists included.
    pub connections: usize,
    /// How often a watch was opened anew, by reason, since the start. Reasons that did not occur
    /// are there too.
    pub restarts: Vec<(RestartReason, u64)>,
    /// How often a consistent read told an older state than before: an etcd that was restored.
    pub restored: u64,
    /// The last thing that went wrong, one sentence.
    pub last_error: Option<String>,
}

/// What is counted.
#[derive(Default)]
pub(super) struct Counters {
    restarts: [AtomicU64; RestartReason::ALL.len()],
    restored: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    pub fn restart(&self, reason: RestartReason) {
        self.restarts[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn restored(&self) {
        self.restored.fetch_add(1, Ordering::Relaxed);
    }

    pub fn error(&self, why: String) {
        *self.last_error.lock() = Some(why);
    }

    pub fn fill(&self, status: &mut SourceStatus) {
        let count = |reason: RestartReason| self.restarts[reason as usize].load(Ordering::Relaxed);
        status.restarts = RestartReason::ALL
            .map(|reason| (reason, count(reason)))
            .into();
        status.restored = self.restored.load(Ordering::Relaxed);
        status.last_error.clone_from(&self.last_error.lock());
    }
}
