//! A server that ends, forgets, or goes back in time.

use livemount::source::Source as _;
use std::time::Duration;

use libtest_mimic::Trial;
use livemount_cluster::{ADMIN, ControlPlane, Relay};

use crate::scene::{Room, Scene, options, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_server_is_killed_and_comes_back", killed),
        trial("a_compacted_etcd_is_read_anew", compacted),
        trial("promise_7_a_restored_etcd_is_recognised", restored),
        trial(
            "a_server_without_streaming_lists_is_listed",
            without_streaming,
        ),
    ]
}

async fn killed() {
    // What is under way when it is asked to end may take so long.
    let mut plane = ControlPlane::with(&["--request-timeout=3s"]).await;
    let room = Room::new(plane.client(), "killed").await;
    let mut scene = Scene::of(&plane).await;
    let (app, none) = (room.key("app"), room.key("none"));
    room.put("app", "one").await;
    scene.source.watch(&app);
    scene.source.watch(&none);
    scene.ear.value(&app, Some("one")).await;
    scene.ear.value(&none, None).await;
    for round in 0..2 {
        plane.api.process().kill();
        let why = scene.ear.failing(&app).await;
        assert!(
            why.contains("refused") || why.contains("cannot be reached"),
            "{why}"
        );
        plane.api.run().await;
        let value = format!("after {round}");
        room.put("app", &value).await;
        scene.ear.value(&app, Some(&value)).await;
    }
    room.put("none", "now").await;
    scene.ear.value(&none, Some("now")).await;
    // In order, as an upgrade does it.
    plane.api.process().terminate();
    plane.api.run().await;
    room.put("app", "last").await;
    scene.ear.value(&app, Some("last")).await;
    scene.ear.never_back(&app);
}

/// The version that a source would go on from is forgotten. Both ways of reading: a streaming list,
/// and a list with a watch after it.
async fn compacted() {
    for flags in [&[][..], &["--feature-gates=WatchList=false"]] {
        let mut plane = ControlPlane::with(flags).await;
        let room = Room::new(plane.client(), "compacted").await;
        let relay = Relay::to(plane.api.port()).await;
        let mut scene = Scene::with(options(plane.api.kubeconfig_by(&relay.url(), ADMIN))).await;
        let app = room.key("app");
        room.put("app", "one").await;
        scene.source.watch(&app);
        scene.ear.value(&app, Some("one")).await;
        relay.close();
        for number in 0..50 {
            room.put("app", &number.to_string()).await;
        }
        plane.etcd.compact().await;
        plane.api.restart().await;
        relay.open();
        scene.ear.value(&app, Some("49")).await;
        room.put("app", "live").await;
        scene.ear.value(&app, Some("live")).await;
        scene.ear.never_back(&app);
    }
}

/// All versions that were said since the snapshot never were. One of the objects gets the very
/// version that it had in the lost time, with other contents.
async fn restored() {
    let mut plane = ControlPlane::start().await;
    let room = Room::new(plane.client(), "restored").await;
    let mut scene = Scene::of(&plane).await;
    let names = ["changed", "removed", "made", "same"];
    let [changed, removed, made, same] = names.map(|name| room.key(name));
    for name in ["changed", "removed", "same"] {
        room.put(name, "old").await;
    }
    for key in [&changed, &removed, &made, &same] {
        scene.source.watch(key);
    }
    for key in [&changed, &removed, &same] {
        scene.ear.value(key, Some("old")).await;
    }
    scene.ear.value(&made, None).await;

    let snapshot = plane.etcd.snapshot().await;
    room.put("changed", "lost").await;
    room.put("made", "lost").await;
    room.remove("removed").await;
    for number in 0..30 {
        room.put("changed", &format!("lost {number}")).await;
    }
    scene.ear.value(&changed, Some("lost 29")).await;
    scene.ear.value(&made, Some("lost")).await;
    scene.ear.value(&removed, None).await;
    for key in [&changed, &made, &removed, &same] {
        scene.ear.never_back(key);
    }

    plane.restore(&snapshot).await;
    scene.ear.value(&changed, Some("old")).await;
    scene.ear.value(&removed, Some("old")).await;
    scene.ear.value(&made, None).await;
    assert!(scene.source.status().restored >= 2);
    for name in names {
        room.put(name, "new").await;
        scene.ear.value(&room.key(name), Some("new")).await;
    }
}

/// The server says 422 once, and is not asked again for a while.
async fn without_streaming() {
    let plane = ControlPlane::with(&["--feature-gates=WatchList=false"]).await;
    let room = Room::new(plane.client(), "without-streaming").await;
    let mut options = options(plane.api.kubeconfig(ADMIN));
    options.timing.renewal = Duration::from_secs(1);
    let mut scene = Scene::with(options).await;
    let keys: Vec<_> = (0..10).map(|n| room.key(&format!("app-{n}"))).collect();
    scene.source.watch(&keys[0]);
    scene.ear.value(&keys[0], None).await;
    assert_eq!(scene.restarts("unsupported"), 1);
    for key in &keys {
        scene.source.watch(key);
        scene.ear.value(key, None).await;
        room.put(&key.name, "one").await;
        scene.ear.value(key, Some("one")).await;
    }
    // Each watch is renewed every other second, and each renewal is a read.
    let renewed = |status: &livemount::source::kube::SourceStatus| {
        let of = status.restarts.iter().find(|it| it.0.name() == "renewed");
        of.is_some_and(|it| it.1 > 20)
    };
    scene.settles("the watches are renewed", renewed).await;
    for key in &keys {
        room.put(&key.name, "two").await;
        scene.ear.value(key, Some("two")).await;
        room.remove(&key.name).await;
        scene.ear.value(key, None).await;
        scene.ear.never_back(key);
    }
    assert_eq!(scene.restarts("unsupported"), 1);
}
