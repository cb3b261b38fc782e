//! The metrics: their text, what moves them and by how much, the server that tells them, and
//! docs/METRICS.md, which `LIVEMOUNT_WRITE_DOCS=1 cargo test --test mounts metrics` writes from the table.

mod daemon;
mod exposition;
mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use livemount::observe::metrics::{EventResult, Gauges, Kind, Row, markdown, rows};
use livemount::observe::{Committed, Fact, Metrics};
use livemount_engine::object::{Kind as ObjectKind, ObjectKey};
use livemount_engine::path::RelPath;
use livemount_engine::render::Refusal;

use exposition::Exposition;

/// Not a test: the daemon's process.
#[test]
#[ignore = "the daemon of other tests"]
fn counting() {
    daemon::main();
}

fn scrape(metrics: &Metrics) -> Exposition {
    Exposition::read(&metrics.encode().expect("a text"))
}

fn commit(volume: &str) -> Committed {
    let began = SystemTime::now();
    Committed {
        volume: volume.into(),
        version: 2,
        objects: Vec::new(),
        changed: 3,
        added: 2,
        removed: 1,
        failed: 0,
        received: Some(began - Duration::from_millis(40)),
        began,
        drained: Duration::from_millis(250),
        unread: 4,
        current: Duration::from_millis(300),
        took: Duration::from_millis(1000),
        older_handles: 5,
    }
}

fn object() -> ObjectKey {
    ObjectKey {
        kind: ObjectKind::Secret,
        namespace: "default".into(),
        name: "db".into(),
        origin: livemount_engine::object::Origin::named("test"),
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a path")
}

/// One of each, of one volume.
fn facts(volume: &str) -> Vec<Fact> {
    let (name, object) = (|| volume.into(), object());
    let key = || "password".to_owned();
    let refused = |refusal| Fact::Refused {
        volume: volume.into(),
        refusal,
    };
    vec![
        Fact::Committed(commit(volume)),
        refused(Refusal::Missing {
            object: object.clone(),
        }),
        refused(Refusal::MissingKey {
            object: object.clone(),
            key: key(),
        }),
        refused(Refusal::Untold {
            object,
            field: key(),
        }),
        refused(Refusal::FileAndFolder {
            file: path("a"),
            below: path("a/b"),
        }),
        refused(Refusal::Mountpoint {
            mountpoint: path("a"),
            file: path("a"),
        }),
        Fact::Recovered { volume: name() },
        Fact::Unreadable {
            why: "no".into(),
            serving: true,
        },
        Fact::FailedOperation {
            volume: name(),
            what: "ring a".into(),
            why: "no".into(),
        },
        Fact::NoThread {
            volume: name(),
            why: "no".into(),
        },
        Fact::Stuck {
            volume: name(),
            step: "event",
            since: Duration::from_secs(5),
        },
        Fact::HandDied,
        Fact::PinsDropped {
            volume: name(),
            total: 7,
        },
        Fact::Ended {
            volume: name(),
            error: Some("no".into()),
        },
        Fact::Ended {
            volume: name(),
            error: None,
        },
    ]
}

#[test]
fn each_fact_moves_its_own_metrics_by_what_it_tells() {
    let metrics = Metrics::new();
    let before = scrape(&metrics);
    // Each another number of times, so that none is taken for another.
    for (times, fact) in (1..).zip(facts("default/web/config")) {
        for _ in 0..times {
            metrics.fact(&fact);
        }
    }
    let expected = [
        ("livemount_event_to_commit_seconds_count", 1.0),
        ("livemount_event_to_commit_seconds_sum", 0.04),
        ("livemount_commit_drain_seconds_count", 1.0),
        ("livemount_commit_drain_seconds_sum", 0.25),
        ("livemount_commit_swap_seconds_count", 1.0),
        ("livemount_commit_swap_seconds_sum", 0.05),
        ("livemount_commit_ring_seconds_count", 1.0),
        ("livemount_commit_ring_seconds_sum", 0.7),
        ("livemount_commit_duration_seconds_count", 1.0),
        ("livemount_commit_duration_seconds_sum", 1.0),
        ("livemount_event_to_ring_seconds_count", 1.0),
        ("livemount_event_to_ring_seconds_sum", 1.04),
        ("livemount_commits_total{result=\"whole\"}", 1.0),
        ("livemount_committed_files_total{change=\"changed\"}", 3.0),
        ("livemount_committed_files_total{change=\"added\"}", 2.0),
        ("livemount_committed_files_total{change=\"removed\"}", 1.0),
        ("livemount_unread_handles_total", 4.0),
        ("livemount_refusals_total{reason=\"missing\"}", 2.0),
        ("livemount_refusals_total{reason=\"missing_key\"}", 3.0),
        ("livemount_refusals_total{reason=\"untold\"}", 4.0),
        ("livemount_refusals_total{reason=\"mountpoint\"}", 6.0),
        ("livemount_refusals_total{reason=\"file_and_folder\"}", 5.0),
        ("livemount_recoveries_total", 7.0),
        ("livemount_source_unreadable_total", 8.0),
        ("livemount_unbrought_operations_total", 9.0),
        ("livemount_commit_threads_refused_total", 10.0),
        ("livemount_stuck_steps_total", 11.0),
        ("livemount_pins_dropped_total", 13.0),
        ("livemount_connections_ended_total{cause=\"broken\"}", 14.0),
        ("livemount_connections_ended_total{cause=\"aborted\"}", 15.0),
    ];
    let moved = rounded(scrape(&metrics).moved(&before));
    let expected = expected.map(|(series, by)| (series.to_owned(), by));
    assert_eq!(moved, rounded(BTreeMap::from(expected)));
}

fn rounded(moved: BTreeMap<String, f64>) -> BTreeMap<String, i64> {
    #[allow(clippy::cast_possible_truncation)]
    let round = |value: f64| (value * 1e6).round() as i64;
    moved.into_iter().map(|(of, by)| (of, round(by))).collect()
}

#[test]
fn a_commit_that_is_not_whole_has_not_reached_its_last_event() {
    let metrics = Metrics::new();
    metrics.fact(&Fact::Committed(Committed {
        failed: 1,
        ..commit("v")
    }));
    let now = scrape(&metrics);
    let value = |series| now.value(series).to_string();
    assert_eq!(value("livemount_commits_total{result=\"partly\"}"), "1");
    assert_eq!(value("livemount_commits_total{result=\"whole\"}"), "0");
    assert_eq!(value("livemount_event_to_commit_seconds_count"), "1");
    assert_eq!(value("livemount_event_to_ring_seconds_count"), "0");
}

#[test]
fn an_arrival_that_is_not_known_or_lies_ahead_is_not_measured() {
    let metrics = Metrics::new();
    let ahead = SystemTime::now() + Duration::from_secs(1000);
    for received in [None, Some(ahead)] {
        metrics.fact(&Fact::Committed(Committed {
            received,
            ..commit("v")
        }));
    }
    let now = scrape(&metrics);
    let value = |series| now.value(series).to_string();
    assert_eq!(value("livemount_commit_duration_seconds_count"), "2");
    assert_eq!(value("livemount_event_to_commit_seconds_count"), "0");
    assert_eq!(value("livemount_event_to_ring_seconds_count"), "0");
}

#[test]
fn any_number_of_pods_adds_no_series_and_no_name() {
    let metrics = Metrics::new();
    let tell = |from: u32, to: u32| {
        for pod in from..to {
            let volume = format!("default/pod-{pod}/config");
            for fact in facts(&volume) {
                metrics.fact(&fact);
            }
        }
        metrics.encode().expect("a text")
    };
    let (few, many) = (tell(0, 1), tell(1, 300));
    let (one, all) = (Exposition::read(&few), Exposition::read(&many));
    assert_eq!(one.names(), all.names());
    for name in ["pod-", "password", "db\"", "ring a"] {
        assert!(!many.contains(name), "{name} in {many}");
    }
}

#[test]
fn what_is_read_at_a_scrape_comes_from_its_providers() {
    let metrics = Metrics::new();
    metrics.provide(|now: &mut Gauges| {
        // Every field, so that a new one is not forgotten here.
        *now = Gauges {
            volumes: 1,
            volumes_with_condition: 2,
            publishes_waiting: 3,
            behind: Duration::from_millis(4500),
            pinned_versions: 5,
            pinned_bytes: 6,
            hand_up: true,
            hand_restarts: 7,
            hand_busy: 8,
            hand_late: 9,
            watches: 10,
            watch_connections: 11,
            failing_objects: 12,
            watch_restarts: vec![("gone", 13), ("closed", 14)],
            api_errors: vec![("timeout", 15)],
            facts_lost: 16,
            keeper_up: true,
            keeper_losses: 17,
            taken_over: 18,
            caretaken: Duration::from_millis(1500),
            kernel_lacks: vec!["resend"],
        };
    });
    // A further one adds what it knows.
    metrics.provide(|now: &mut Gauges| now.watches += 100);
    let now = scrape(&metrics);
    for (series, value) in [
        ("livemount_volumes", "1"),
        ("livemount_volumes_in_trouble", "2"),
        ("livemount_publishes_waiting", "3"),
        ("livemount_volume_behind_seconds", "4.5"),
        ("livemount_pinned_versions", "5"),
        ("livemount_pinned_bytes", "6"),
        ("livemount_hand_up", "1"),
        ("livemount_hand_restarts_total", "7"),
        ("livemount_hand_busy", "8"),
        ("livemount_hand_late", "9"),
        ("livemount_source_watches", "110"),
        ("livemount_source_connections", "11"),
        ("livemount_source_failing_objects", "12"),
        (
            "livemount_source_watch_restarts_total{reason=\"gone\"}",
            "13",
        ),
        (
            "livemount_source_watch_restarts_total{reason=\"closed\"}",
            "14",
        ),
        ("livemount_api_errors_total{reason=\"timeout\"}", "15"),
        ("livemount_facts_lost_total", "16"),
        ("livemount_keeper_up", "1"),
        ("livemount_keeper_losses_total", "17"),
        ("livemount_volumes_taken_over", "18"),
        ("livemount_caretaken_seconds", "1.5"),
        ("livemount_kernel_feature_missing{feature=\"resend\"}", "1"),
    ] {
        assert_eq!(now.value(series).to_string(), value, "{series}");
    }
}

#[test]
fn a_gauge_falls_and_a_counter_does_not() {
    let metrics = Metrics::new();
    let value = Arc::new(AtomicU64::new(3));
    let asked = Arc::clone(&value);
    metrics.provide(move |now: &mut Gauges| {
        now.volumes = asked.load(Ordering::Relaxed);
        now.hand_restarts = now.volumes;
    });
    scrape(&metrics);
    value.store(2, Ordering::Relaxed);
    let now = scrape(&metrics);
    assert_eq!(now.value("livemount_volumes").to_string(), "2");
    let restarts = now.value("livemount_hand_restarts_total");
    assert_eq!(restarts.to_string(), "3");
}

#[test]
fn calls_and_events_are_counted_by_what_became_of_them() {
    let metrics = Metrics::new();
    let took = Duration::from_millis(500);
    metrics.called("NodePublishVolume", "OK", took);
    metrics.called("NodePublishVolume", "UNAVAILABLE", took);
    metrics.called("NodePublishVolume", "UNAVAILABLE", took);
    let told = [
        (EventResult::Written, "written"),
        (EventResult::Repeated, "repeated"),
        (EventResult::Limited, "limited"),
        (EventResult::Dropped, "dropped"),
        (EventResult::Failed, "failed"),
    ];
    for (times, (told, _)) in (1..).zip(told) {
        for _ in 0..times {
            metrics.pod_event(told);
        }
    }
    let now = scrape(&metrics);
    let called = "livemount_csi_calls_total{method=\"NodePublishVolume\",code=";
    for (series, value) in [
        (format!("{called}\"OK\"}}"), "1"),
        (format!("{called}\"UNAVAILABLE\"}}"), "2"),
        (
            "livemount_csi_call_duration_seconds_sum{method=\"NodePublishVolume\"}".into(),
            "1.5",
        ),
    ] {
        assert_eq!(now.value(&series).to_string(), value, "{series}");
    }
    for (times, (_, word)) in (1..).zip(told) {
        let series = format!("livemount_pod_events_total{{result=\"{word}\"}}");
        assert_eq!(now.value(&series).to_string(), times.to_string());
    }
}

#[test]
fn this_process_is_told_of_under_the_names_of_prometheus() {
    let metrics = Metrics::new();
    let first = scrape(&metrics);
    let open = first.value("process_open_fds");
    // Other tests open and close theirs at the same time.
    assert!(open >= 3.0, "{open}");
    assert!(first.value("process_resident_memory_bytes") > 1e6);
    assert!(first.value("process_virtual_memory_bytes") > 1e6);
    assert!(first.value("process_max_fds") >= open);
    assert!(first.value("process_threads") >= 1.0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs_f64();
    let started = first.value("process_start_time_seconds");
    assert!(started <= now && started > now - 3600.0, "{started} {now}");
    let cpu = first.value("process_cpu_seconds_total");
    crate::support::wait_until("it has worked", crate::support::PATIENCE, || {
        scrape(&metrics).value("process_cpu_seconds_total") > cpu
    });
    let version = concat!(
        "livemount_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    );
    assert_eq!(first.value(version).to_string(), "1");
}

#[test]
fn the_table_says_what_the_text_does() {
    let metrics = Metrics::new();
    // What has no value yet has no line: one of each.
    for fact in facts("v") {
        metrics.fact(&fact);
    }
    metrics.called("NodePublishVolume", "OK", Duration::ZERO);
    metrics.provide(|now: &mut Gauges| {
        now.watch_restarts = vec![("gone", 1)];
        now.api_errors = vec![("timeout", 1)];
        now.kernel_lacks = vec!["resend"];
    });
    let text = scrape(&metrics);
    let rows = rows();
    let named: BTreeSet<String> = rows.iter().map(Row::family).collect();
    let told: BTreeSet<String> = text.0.keys().cloned().collect();
    assert_eq!(named, told);
    assert_eq!(named.len(), rows.len(), "a name stands twice");
    for row in rows {
        let family = &text.0[&row.family()];
        assert_eq!(family.kind, row.kind.word(), "{}", row.name);
        assert_eq!(family.unit, row.unit, "{}", row.name);
        assert_eq!(family.help, format!("{}.", row.help));
        let labels: Vec<&str> = row.labels.iter().map(|(label, _)| *label).collect();
        for series in family.samples.keys() {
            let told = series.split_once('{').map_or("", |(_, labels)| labels);
            let mut told: Vec<&str> = told
                .trim_end_matches('}')
                .split(',')
                .filter_map(|label| Some(label.split_once('=')?.0))
                .collect();
            told.retain(|label| *label != "le");
            assert_eq!(told, labels, "{series}");
        }
        let unit = matches!(row.unit.as_deref(), Some("seconds" | "bytes") | None);
        assert!(unit, "{}: Prometheus has base units", row.name);
        let values = row.labels.iter().flat_map(|(_, values)| *values).count();
        let few = row.kind == Kind::Info || values <= 10;
        assert!(few, "{} has too many series", row.name);
        // All known values are there from the start.
        if row.labels.len() == 1 && values > 0 {
            assert_eq!(family.samples.len(), values, "{}", row.name);
        }
    }
}

/// Where the table stands in docs/METRICS.md.
const BEGIN: &str = "<!-- the table -->\n";
const END: &str = "<!-- end of the table -->\n";

/// It is not read while it is written.
static DOCUMENT: Mutex<()> = Mutex::new(());

#[test]
fn the_document_is_written_from_the_table() {
    let _document = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    let text = fs::read_to_string(&path).expect("docs/METRICS.md can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the table's begin");
    let (written, after) = rest.split_once(END).expect("the table's end");
    let table = markdown();
    if std::env::var_os("LIVEMOUNT_WRITE_DOCS").is_some_and(|value| value == "1") {
        let text = [before, BEGIN, &table, "\n", END, after].concat();
        fs::write(path, text).expect("docs/METRICS.md can be written");
        return;
    }
    assert_eq!(
        written.trim_end(),
        table.trim_end(),
        "docs/METRICS.md says something else than the table: run this test with \
         LIVEMOUNT_WRITE_DOCS=1"
    );
}

#[test]
fn every_query_of_the_document_names_a_metric() {
    let _document = DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/METRICS.md");
    let text = fs::read_to_string(path).expect("docs/METRICS.md can be read");
    let mut known = BTreeSet::new();
    for row in rows() {
        let query = row.query();
        if row.kind == Kind::Histogram {
            known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{query}{part}")));
        }
        known.insert(query);
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named: Vec<&str> = text
        .split(|c| !word(c))
        .filter(|name| name.starts_with("livemount_") && *name != "livemount_")
        .collect();
    assert!(named.len() > rows().len(), "the queries are gone");
    for name in named {
        assert!(known.contains(name), "{name} is no metric");
    }
}
