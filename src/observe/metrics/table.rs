//! The one list of metrics: name, unit, help and label stand here, once, where each is registered.
//!
//! Names follow Prometheus: `livemount_` in front, the unit behind, `_total` for what only rises (the
//! registry adds these two). Helps have no full stop, which the registry adds as well.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::doc::Row;
use super::process::{Decimal, Process};
use super::register::{By, By2, MetricRegistry};

/// What rises.
pub(super) type Count = Counter;
/// What rises, by one label.
pub(super) type Counts = By<Counter>;

/// Every metric of livemount's own, each with what it counts.
pub(super) struct Set {
    pub(super) event_to_commit: Histogram,
    pub(super) drain: Histogram,
    pub(super) swap: Histogram,
    pub(super) ring: Histogram,
    pub(super) duration: Histogram,
    pub(super) event_to_ring: Histogram,
    pub(super) commits: Counts,
    pub(super) files: Counts,
    pub(super) unread: Count,
    pub(super) failed_operations: Count,
    pub(super) stuck: Count,
    pub(super) no_thread: Count,
    pub(super) volumes: Gauge,
    pub(super) behind: Decimal,
    pub(super) in_trouble: Gauge,
    pub(super) waiting: Gauge,
    pub(super) refusals: Counts,
    pub(super) recoveries: Count,
    pub(super) ended: Counts,
    pub(super) pinned_versions: Gauge,
    pub(super) pinned_bytes: Gauge,
    pub(super) pins_dropped: Count,
    pub(super) hand_up: Gauge,
    pub(super) hand_restarts: Count,
    pub(super) hand_busy: Gauge,
    pub(super) hand_late: Gauge,
    pub(super) keeper_up: Gauge,
    pub(super) keeper_losses: Count,
    pub(super) taken_over: Gauge,
    pub(super) caretaken: Decimal,
    pub(super) watches: Gauge,
    pub(super) watch_connections: Gauge,
    pub(super) failing_objects: Gauge,
    pub(super) watch_restarts: Counts,
    pub(super) api_errors: Counts,
    pub(super) unreadable: Count,
    pub(super) calls: By2<Counter>,
    pub(super) call_duration: By<Histogram>,
    pub(super) pod_events: Counts,
    pub(super) facts_lost: Count,
    pub(super) kernel_lacks: By<Gauge>,
    pub(super) process: Process,
}

const NONE: Option<Unit> = None;
const SECONDS: Option<Unit> = Some(Unit::Seconds);
const BYTES: Option<Unit> = Some(Unit::Bytes);

impl Set {
    /// Registers everything. Also tells what was registered, in order.
    // One list, and a list is as long as what it lists.
    #[allow(clippy::too_many_lines)]
    pub(super) fn register(registry: &mut Registry) -> (Self, Vec<Row>) {
        let mut registry = MetricRegistry::new(registry);
        let b = &mut registry;
        let set = Self {
            event_to_commit: b.group("From the API to the application").one(
                "livemount_event_to_commit",
                SECONDS,
                "From the arrival of the newest object that changed to the begin of the commit \
                 that shows it",
            ),
            drain: b.one(
                "livemount_commit_drain",
                SECONDS,
                "How long commits waited for readers that had just opened a changed file",
            ),
            swap: b.one(
                "livemount_commit_swap",
                SECONDS,
                "From the end of a commit's drain until every changed file reads as new",
            ),
            ring: b.one(
                "livemount_commit_ring",
                SECONDS,
                "From then to the commit's last event: renames in, rings and unlinks by the hand",
            ),
            duration: b.one(
                "livemount_commit_duration",
                SECONDS,
                "From the begin of a commit to its last event",
            ),
            event_to_ring: b.one(
                "livemount_event_to_ring",
                SECONDS,
                "From the arrival of the newest object that changed to the last event of the \
                 commit that shows it, where all of it was brought",
            ),
            commits: b.by(
                "livemount_commits",
                NONE,
                ("result", &["whole", "partly"]),
                "Commits; of those that were done partly the rest is tried again",
            ),
            files: b.by(
                "livemount_committed_files",
                NONE,
                ("change", &["changed", "added", "removed"]),
                "Files that commits changed, added or removed",
            ),
            unread: b.one(
                "livemount_unread_handles",
                NONE,
                "Handles that had not been read to their end at a drain's bound, whose readers may \
                 have seen a new size with old bytes",
            ),
            failed_operations: b.one(
                "livemount_unbrought_operations",
                NONE,
                "Operations that the kernel refused and that are tried again",
            ),
            stuck: b.one(
                "livemount_stuck_steps",
                NONE,
                "How often a commit was seen to wait in the kernel for something that a program \
                 holds, once every five seconds",
            ),
            no_thread: b.one(
                "livemount_commit_threads_refused",
                NONE,
                "Commits that could not begin because the machine gave them no thread",
            ),
            volumes: b
                .group("Volumes")
                .one("livemount_volumes", NONE, "Published volumes"),
            behind: b.one(
                "livemount_volume_behind",
                SECONDS,
                "For how long the worst volume has had a newer version than the one that it shows; \
                 0 where all show the newest",
            ),
            in_trouble: b.one(
                "livemount_volumes_in_trouble",
                NONE,
                "Volumes that keep the last good version because a newer one was refused",
            ),
            waiting: b.one(
                "livemount_publishes_waiting",
                NONE,
                "Publish calls that wait for their volume's first version, such as for a missing \
                 object",
            ),
            refusals: b.by(
                "livemount_refusals",
                NONE,
                (
                    "reason",
                    &[
                        "missing",
                        "missing_key",
                        "untold",
                        "mountpoint",
                        "file_and_folder",
                    ],
                ),
                "Versions that were refused, which changed nothing",
            ),
            recoveries: b.one(
                "livemount_recoveries",
                NONE,
                "Volumes that were refused and show what their objects say again",
            ),
            ended: b.by(
                "livemount_connections_ended",
                NONE,
                ("cause", &["aborted", "broken"]),
                "FUSE connections that ended although nobody asked livemount to; the pod's files \
                 are gone",
            ),
            pinned_versions: b.one(
                "livemount_pinned_versions",
                NONE,
                "Older versions that open handles keep",
            ),
            pinned_bytes: b.one(
                "livemount_pinned",
                BYTES,
                "What these versions hold, counted as if they shared nothing",
            ),
            pins_dropped: b.one(
                "livemount_pins_dropped",
                NONE,
                "Commits that gave older versions up for the limit; handles on these read ESTALE",
            ),
            hand_up: b.group("The hand").one(
                "livemount_hand_up",
                NONE,
                "1 while the process that touches mounts lives and knows all of them",
            ),
            hand_restarts: b.one(
                "livemount_hand_restarts",
                NONE,
                "How often that process died and was started again",
            ),
            hand_busy: b.one(
                "livemount_hand_busy",
                NONE,
                "Operations that it has begun and not ended",
            ),
            hand_late: b.one(
                "livemount_hand_late",
                NONE,
                "Those of them that are past their time",
            ),
            keeper_up: b.group("Restarts").one(
                "livemount_keeper_up",
                NONE,
                "1 while there is a keeper that holds all of it; while it is 0 the end of this process \
                 ends its volumes",
            ),
            keeper_losses: b.one(
                "livemount_keeper_losses",
                NONE,
                "How often a keeper went",
            ),
            taken_over: b.one(
                "livemount_volumes_taken_over",
                NONE,
                "Volumes that this process went on with at its start",
            ),
            caretaken: b.one(
                "livemount_caretaken",
                SECONDS,
                "For how long the caretaker had served them before: no daemon came in that time",
            ),
            watches: b.group("The API server").one(
                "livemount_source_watches",
                NONE,
                "Objects that are watched",
            ),
            watch_connections: b.one(
                "livemount_source_connections",
                NONE,
                "Connections to the API server that the watches share",
            ),
            failing_objects: b.one(
                "livemount_source_failing_objects",
                NONE,
                "Objects whose watch cannot be kept up now, so that a change would not be seen",
            ),
            watch_restarts: b.by(
                "livemount_source_watch_restarts",
                NONE,
                ("reason", &[]),
                "Watches that began again",
            ),
            api_errors: b.by(
                "livemount_api_errors",
                NONE,
                ("reason", &[]),
                "Requests to the API server that failed",
            ),
            unreadable: b.one(
                "livemount_source_unreadable",
                NONE,
                "How often a source, or a part of it, could not be read",
            ),
            calls: b.group("Calls of the kubelet").by2(
                "livemount_csi_calls",
                NONE,
                ["method", "code"],
                "Calls of the kubelet by method and gRPC status code",
            ),
            call_duration: b.by(
                "livemount_csi_call_duration",
                SECONDS,
                ("method", &[]),
                "How long a call of the kubelet took, the wait for a missing object included",
            ),
            pod_events: b.group("Telling").by(
                "livemount_pod_events",
                NONE,
                ("result", EventResult::WORDS),
                "Kubernetes Events on pods: written, left out as a repetition or for the rate \
                 limit, dropped because too many waited, failed",
            ),
            facts_lost: b.one(
                "livemount_facts_lost",
                NONE,
                "Facts that reached neither log nor metrics because the log was too slow",
            ),
            kernel_lacks: b.group("This process and its machine").by(
                "livemount_kernel_feature_missing",
                NONE,
                ("feature", &[]),
                "1 for each feature that this kernel lacks",
            ),
            process: Process::register(b),
        };
        b.info(
            "livemount_build",
            [("version", env!("CARGO_PKG_VERSION"))],
            "The version of livemount, as a label",
        );
        (set, registry.into_rows())
    }
}

/// What became of a Kubernetes Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// The API server has it.
    Written,
    /// The same was told a moment ago.
    Repeated,
    /// Its pod, or all pods together, had too many.
    Limited,
    /// Too many waited to be written.
    Dropped,
    /// The API server could not be told.
    Failed,
}

impl EventResult {
    const WORDS: &[&str] = &["written", "repeated", "limited", "dropped", "failed"];

    /// The label's value.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Repeated => "repeated",
            Self::Limited => "limited",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}
