//! A daemon that mounts one volume and counts what really happens to it. It must not touch the mount,
//! so it is another process: the test binary starts itself again (`support::served`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount::observe::{Facts, Metrics};
use livemount::publish::{NewVolume, Publisher, Settings};
use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use livemount_engine::render::render;
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_engine::spec::{Mode, Source, Spec};
use livemount_hand::{ClientOptions, Hand, Reach, Unbind};

use super::exposition::Exposition;
use crate::support::process::MARKER;
use crate::support::scratch::Scratch;
use crate::support::served::{again, read_frame, stdin, write_frame};
use crate::support::{PATIENCE, wait_until};

const KEY: HashKey = HashKey([4; 16]);
/// How long before its commit the second version was received.
const AGO: Duration = Duration::from_secs(100);

/// One version of three objects: one that changes, one that stays and was received last, at `now`, and
/// one whose version alone changes and that was received long ago.
fn snapshot(
    version: u32,
    data: &[(&str, &str)],
    received: SystemTime,
    now: SystemTime,
) -> Arc<Snapshot> {
    let object = |name: &str, version: u32, data: &[(&str, &str)], received| {
        let key = ObjectKey {
            kind: Kind::ConfigMap,
            namespace: "default".into(),
            name: name.into(),
            origin: livemount_engine::object::Origin::named("test"),
        };
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), Bytes::from(*v)));
        let mut object = Object::new(key, data.collect()).expect("a legal object");
        object.resource_version = Some(version.to_string());
        object.received = Some(received);
        object
    };
    let objects = [
        object("app", version, data, received),
        object("stays", 1, &[("stays", "1")], now),
        object("idle", version, &[("idle", "1")], SystemTime::UNIX_EPOCH),
    ];
    let source = |object: &Object| Source {
        object: object.key.clone(),
        items: Vec::new(),
        optional: false,
    };
    let spec = Spec {
        sources: objects.iter().map(source).collect(),
        default_mode: Mode::DEFAULT,
        fs_group: None,
        mountpoints: Vec::new(),
    };
    let objects: BTreeMap<_, _> = objects.map(|object| (object.key.clone(), object)).into();
    let rendered = render(&spec, |key| objects.get(key), &KEY, None).expect("it renders");
    Arc::new(rendered.snapshot)
}

/// The daemon: mounts, tells its metrics at each byte that it is sent, commits at the second.
pub fn main() {
    let mut socket = stdin();
    let root = PathBuf::from(std::env::var_os(MARKER).expect("the test's folder"));
    let hand = Hand::start(ClientOptions {
        reach: Reach::Child {
            program: env!("CARGO_BIN_EXE_livemount").into(),
            args: vec!["hand".into()],
            roots: vec![root.clone()],
            selinux_context: None,
        },
        heartbeat: Duration::from_secs(10),
    })
    .expect("the hand starts");
    let (facts, stream) = Facts::stream();
    let metrics = Arc::new(Metrics::new());
    let counting = Arc::clone(&metrics);
    std::thread::spawn(move || stream.iter().for_each(|fact| counting.fact(&fact)));
    let asked = hand.clone();
    metrics.provide(move |now| now.hand_up = asked.status().up);
    let publisher = Publisher::new(hand, KEY, facts, None).expect("a publisher");
    let now = SystemTime::now();
    let first = snapshot(1, &[("a", "1"), ("b", "1"), ("gone", "1")], now, now);
    let target = root.join("target");
    let new = NewVolume {
        name: "volume",
        target: &target,
        over: false,
        first,
        settings: Settings::default(),
        request: Vec::new(),
    };
    let published = publisher.publish(new, |_| {}).expect("it is mounted");
    while let Some(commit) = read_frame::<bool>(&mut socket) {
        if commit {
            let received = now - AGO;
            let data = [("a", "2"), ("b", "1"), ("new", "1"), ("newer", "1")];
            published.offer(snapshot(2, &data, received, now));
            assert!(published.settle(PATIENCE), "the commit does not end");
        }
        write_frame(&mut socket, &metrics.encode().expect("a text"));
    }
    let _ = published.unpublish(Unbind::Detach);
    std::process::exit(0);
}

#[test]
fn a_real_commit_moves_the_metrics_of_each_stage() {
    let scratch = Scratch::new();
    let arguments = ["metrics::counting", "--exact", "--ignored", "--nocapture"];
    let (mut child, mut socket) = again(scratch.path(), &arguments);
    let mut ask = |commit: bool| {
        write_frame(&mut socket, &commit);
        let text: String = read_frame(&mut socket).expect("the daemon answers");
        Exposition::read(&text)
    };
    let before = ask(false);
    assert!((before.value("livemount_hand_up") - 1.0).abs() < 1e-9);
    ask(true);
    let mut after = None;
    wait_until("the commit is counted", PATIENCE, || {
        let now = ask(false);
        let counted = now.value("livemount_commits_total{result=\"whole\"}") > 0.5;
        after = Some(now);
        counted
    });
    let moved = after.expect("asked").moved(&before);
    let by = |series: &str| moved.get(series).copied().unwrap_or(0.0);
    for (series, times) in [
        ("livemount_commits_total{result=\"whole\"}", 1.0),
        ("livemount_commits_total{result=\"partly\"}", 0.0),
        ("livemount_committed_files_total{change=\"changed\"}", 1.0),
        ("livemount_committed_files_total{change=\"added\"}", 2.0),
        ("livemount_committed_files_total{change=\"removed\"}", 1.0),
        ("livemount_event_to_commit_seconds_count", 1.0),
        ("livemount_event_to_ring_seconds_count", 1.0),
        ("livemount_commit_drain_seconds_count", 1.0),
        ("livemount_commit_swap_seconds_count", 1.0),
        ("livemount_commit_ring_seconds_count", 1.0),
        ("livemount_commit_duration_seconds_count", 1.0),
    ] {
        assert!((by(series) - times).abs() < 1e-9, "{series}: {moved:#?}");
    }
    let ago = AGO.as_secs_f64();
    let waited = by("livemount_event_to_commit_seconds_sum");
    let (swap, ring) = (
        by("livemount_commit_swap_seconds_sum"),
        by("livemount_commit_ring_seconds_sum"),
    );
    let all = by("livemount_commit_duration_seconds_sum");
    let rung = by("livemount_event_to_ring_seconds_sum");
    assert!(
        (ago..ago + PATIENCE.as_secs_f64()).contains(&waited),
        "{waited}"
    );
    // Each is at least one call of another process.
    assert!(swap > 20e-6 && ring > 20e-6, "{swap} {ring}");
    assert!((by("livemount_commit_drain_seconds_sum") + swap + ring - all).abs() < 1e-6);
    assert!((waited + all - rung).abs() < 1e-6, "{waited} {all} {rung}");
    drop(socket);
    child.wait().expect("it ends");
}
