//! Numbers for Prometheus: what facts add up to, and how things stand at the moment of a scrape.
//!
//! `table` is the one list of what there is; docs/METRICS.md is written from it. Nothing is labelled
//! with a pod, a volume or an object: these come and go without end, each would leave series behind
//! in every Prometheus that scrapes the node, and names of objects may not be for everybody who sees
//! metrics. Which volume it is, `livemount status`, the log and the pod's events say. Label values are
//! texts of the program itself, which the type of a label demands.

mod doc;
mod process;
mod register;
mod table;

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use livemount_engine::render::Refusal;
use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::{Committed, Fact};
pub use doc::{Kind, Row, rows, table as markdown};
pub use table::EventResult;
use table::{Count, Set};

/// What is read at the moment of a scrape. Whoever knows a part of it fills that part in
/// ([`Metrics::provide`]); what nobody fills in is 0. What only rises is a count since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Published volumes.
    pub volumes: u64,
    /// Those that do not show what their objects say now, because it was refused.
    pub volumes_with_condition: u64,
    /// Publish calls that wait for their volume's first commit.
    pub publishes_waiting: u64,
    /// For how long the worst volume has had a newer snapshot than the one that it shows; zero where
    /// every volume shows the newest.
    pub behind: Duration,
    /// Older versions that handles keep, over all volumes.
    pub pinned_versions: u64,
    /// What these hold, in bytes.
    pub pinned_bytes: u64,
    /// Whether the hand lives and has been given everything.
    pub hand_up: bool,
    /// How often the hand was started again.
    pub hand_restarts: u64,
    /// Operations that the hand has begun and not ended.
    pub hand_busy: u64,
    /// Those of them that are past their time.
    pub hand_late: u64,
    /// Whether there is a keeper, and it has everything.
    pub keeper_up: bool,
    /// How often a keeper went.
    pub keeper_losses: u64,
    /// Volumes that this process has taken over from a predecessor.
    pub taken_over: u64,
    /// For how long a caretaker had them before.
    pub caretaken: Duration,
    /// Objects that are watched.
    pub watches: u64,
    /// Open connections that watches share.
    pub watch_connections: u64,
    /// Objects whose watch cannot be kept up now.
    pub failing_objects: u64,
    /// Watches that began again, by why.
    pub watch_restarts: Counts,
    /// Requests to the API server that failed, by why.
    pub api_errors: Counts,
    /// Facts that were lost because the log was slow.
    pub facts_lost: u64,
    /// What the kernel lacks.
    pub kernel_lacks: Vec<&'static str>,
}

/// Counts by a word of the program's own.
pub type Counts = Vec<(&'static str, u64)>;

type Provider = Box<dyn Fn(&mut Gauges) + Send + Sync>;

/// All numbers of this process.
pub struct Metrics {
    registry: Registry,
    set: Set,
    providers: Mutex<Vec<Provider>>,
    started: SystemTime,
}

impl Metrics {
    /// All at nothing. To be made as the process starts: its start time is taken from here.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let (set, _) = Set::register(&mut registry);
        Self {
            registry,
            set,
            providers: Mutex::default(),
            started: SystemTime::now(),
        }
    }

    /// Has this asked at each scrape. It must not wait for anything: it is asked while nobody else is.
    pub fn provide(&self, provider: impl Fn(&mut Gauges) + Send + Sync + 'static) {
        self.providers.lock().push(Box::new(provider));
    }

    /// Adds what a fact tells.
    pub fn fact(&self, fact: &Fact) {
        let set = &self.set;
        match fact {
            Fact::Committed(commit) => self.committed(commit),
            Fact::Refused { refusal, .. } => {
                set.refusals.one(reason(refusal)).inc();
            }
            Fact::Recovered { .. } => {
                set.recoveries.inc();
            }
            Fact::Unreadable { .. } => {
                set.unreadable.inc();
            }
            Fact::FailedOperation { .. } => {
                set.failed_operations.inc();
            }
            Fact::NoThread { .. } => {
                set.no_thread.inc();
            }
            Fact::Stuck { .. } => {
                set.stuck.inc();
            }
            // The hand's own count is the true one.
            Fact::HandDied => {}
            Fact::PinsDropped { .. } => {
                set.pins_dropped.inc();
            }
            Fact::Ended { error, .. } => {
                let cause = if error.is_some() { "broken" } else { "aborted" };
                set.ended.one(cause).inc();
            }
        }
    }

    fn committed(&self, commit: &Committed) {
        let set = &self.set;
        let whole = commit.failed == 0;
        let result = if whole { "whole" } else { "partly" };
        set.commits.one(result).inc();
        for (change, files) in [
            ("changed", commit.changed),
            ("added", commit.added),
            ("removed", commit.removed),
        ] {
            let files = u64::try_from(files).unwrap_or(u64::MAX);
            set.files.one(change).inc_by(files);
        }
        set.unread
            .inc_by(u64::try_from(commit.unread).unwrap_or(u64::MAX));
        set.drain.observe(commit.drained.as_secs_f64());
        let swap = commit.current.saturating_sub(commit.drained);
        set.swap.observe(swap.as_secs_f64());
        let ring = commit.took.saturating_sub(commit.current);
        set.ring.observe(ring.as_secs_f64());
        set.duration.observe(commit.took.as_secs_f64());
        // A clock that was set back in between says nothing.
        let waited = commit
            .received
            .and_then(|received| commit.began.duration_since(received).ok());
        if let Some(waited) = waited {
            set.event_to_commit.observe(waited.as_secs_f64());
            if whole {
                let all = waited + commit.took;
                set.event_to_ring.observe(all.as_secs_f64());
            }
        }
    }

    /// Counts a call of the kubelet's: the method and the status code by their names in CSI and gRPC.
    pub fn called(&self, method: &'static str, code: &'static str, took: Duration) {
        self.set.calls.one([method, code]).inc();
        let duration = self.set.call_duration.one(method);
        duration.observe(took.as_secs_f64());
    }

    /// Counts what became of a Kubernetes Event.
    pub fn pod_event(&self, result: EventResult) {
        self.set.pod_events.one(result.word()).inc();
    }

    /// Everything as it is now, in the OpenMetrics text format 1.0. Asks the providers and reads
    /// `/proc`, so an event loop should have it done elsewhere.
    ///
    /// # Errors
    ///
    /// None of today's metrics: the error of one that has no form in text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        // Held to the end: two scrapes at once would mix what each has read.
        let providers = self.providers.lock();
        let mut now = Gauges::default();
        for provider in &*providers {
            provider(&mut now);
        }
        self.read(&now);
        self.set.process.read(self.started);
        let mut answer = String::new();
        text::encode(&mut answer, &self.registry)?;
        Ok(answer)
    }

    fn read(&self, now: &Gauges) {
        let set = &self.set;
        for (gauge, value) in [
            (&set.volumes, now.volumes),
            (&set.in_trouble, now.volumes_with_condition),
            (&set.waiting, now.publishes_waiting),
            (&set.pinned_versions, now.pinned_versions),
            (&set.pinned_bytes, now.pinned_bytes),
            (&set.hand_up, now.hand_up.into()),
            (&set.hand_busy, now.hand_busy),
            (&set.hand_late, now.hand_late),
            (&set.keeper_up, now.keeper_up.into()),
            (&set.taken_over, now.taken_over),
            (&set.watches, now.watches),
            (&set.watch_connections, now.watch_connections),
            (&set.failing_objects, now.failing_objects),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        set.behind.set(now.behind.as_secs_f64());
        set.caretaken.set(now.caretaken.as_secs_f64());
        // These rise where they are counted.
        let rise = |counter: &Count, value| {
            counter.inner().fetch_max(value, Ordering::Relaxed);
        };
        rise(&set.hand_restarts, now.hand_restarts);
        rise(&set.keeper_losses, now.keeper_losses);
        rise(&set.facts_lost, now.facts_lost);
        for (counters, counts) in [
            (&set.watch_restarts, &now.watch_restarts),
            (&set.api_errors, &now.api_errors),
        ] {
            for (reason, value) in counts {
                rise(&counters.one(reason), *value);
            }
        }
        for feature in &now.kernel_lacks {
            set.kernel_lacks.one(feature).set(1);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

/// A refusal in one word.
fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Missing { .. } => "missing",
        Refusal::MissingKey { .. } => "missing_key",
        Refusal::Untold { .. } => "untold",
        Refusal::Mountpoint { .. } => "mountpoint",
        Refusal::FileAndFolder { .. } => "file_and_folder",
    }
}
