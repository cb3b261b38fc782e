//! What lies between the source and the server, and a server that does not answer.

use livemount::source::Source as _;
use std::time::Duration;

use libtest_mimic::Trial;
use livemount::source::kube::{RestartReason, SourceStatus};
use livemount_cluster::{ADMIN, ControlPlane, Relay};

use crate::scene::{Ear, Room, Scene, options, plane, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_cut_loses_nothing", cut),
        trial("what_went_while_cut_off_is_heard", gone_meanwhile),
        trial("a_network_that_swallows_all_is_noticed", stalled),
        trial("a_stopped_server_is_noticed", stopped),
        trial("a_watch_that_tells_nothing_is_opened_anew", quiet),
        trial(
            "promise_7_a_turn_to_another_server_is_no_way_back",
            failover,
        ),
    ]
}

async fn cut() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "cut").await;
    let relay = Relay::to(plane.api.port()).await;
    let mut scene = Scene::with(options(plane.api.kubeconfig_by(&relay.url(), ADMIN))).await;
    let app = room.key("app");
    room.put("app", "first").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("first")).await;
    for round in 0..20 {
        for number in 0..5 {
            room.put("app", &format!("{round}.{number}")).await;
        }
        relay.cut();
        let last = format!("{round}.last");
        room.put("app", &last).await;
        scene.ear.value(&app, Some(&last)).await;
    }
    scene.ear.never_back(&app);
    assert!(scene.restarts("cut") > 0);
}

/// No event tells of it: the object is not there any more when the source comes back.
async fn gone_meanwhile() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "gone-meanwhile").await;
    let relay = Relay::to(plane.api.port()).await;
    let mut scene = Scene::with(options(plane.api.kubeconfig_by(&relay.url(), ADMIN))).await;
    let (gone, anew) = (room.key("gone"), room.key("anew"));
    for key in [&gone, &anew] {
        room.put(&key.name, "one").await;
        scene.source.watch(key);
        scene.ear.value(key, Some("one")).await;
    }
    relay.close();
    room.remove("gone").await;
    room.remove("anew").await;
    room.put("anew", "two").await;
    let why = scene.ear.failing(&gone).await;
    assert!(
        why.starts_with("the API server cannot be reached: "),
        "{why}"
    );
    relay.open();
    scene.ear.value(&gone, None).await;
    scene.ear.value(&anew, Some("two")).await;
    scene.ear.working(&gone).await;
    scene.ear.never_back(&anew);
}

async fn stalled() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "stalled").await;
    let relay = Relay::to(plane.api.port()).await;
    let mut scene = Scene::with(options(plane.api.kubeconfig_by(&relay.url(), ADMIN))).await;
    let app = room.key("app");
    room.put("app", "one").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("one")).await;
    relay.stall();
    room.put("app", "two").await;
    noticed(&mut scene.ear, &app).await;
    assert_eq!(&*scene.ear.now(&app).data()["k"], b"one");
    relay.open();
    scene.ear.value(&app, Some("two")).await;
    scene.ear.never_back(&app);
}

async fn stopped() {
    let mut plane = ControlPlane::start().await;
    let room = Room::new(plane.client(), "stopped").await;
    let mut scene = Scene::of(&plane).await;
    let app = room.key("app");
    room.put("app", "one").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("one")).await;
    plane.api.process().pause();
    noticed(&mut scene.ear, &app).await;
    plane.api.process().resume();
    plane.api.run().await;
    room.put("app", "two").await;
    scene.ear.value(&app, Some("two")).await;
    scene.ear.never_back(&app);
}

/// It is said that the server is not reached, although its connections are open.
async fn noticed(ear: &mut Ear, app: &livemount_engine::object::ObjectKey) {
    let why = ear.failing(app).await;
    assert!(why.starts_with("the API server "), "{why}");
}

/// The server answers pings and sends a bookmark each minute, which here is not enough.
async fn quiet() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "quiet").await;
    let mut options = options(plane.api.kubeconfig(ADMIN));
    options.timing.quiet = Duration::from_secs(1);
    let mut scene = Scene::with(options).await;
    let app = room.key("app");
    room.put("app", "one").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("one")).await;
    let silent = |status: &SourceStatus| {
        let mut restarts = status.restarts.iter();
        restarts.any(|it| it.0 == RestartReason::Silent && it.1 >= 3)
    };
    scene.settles("it is opened anew", silent).await;
    room.put("app", "two").await;
    scene.ear.value(&app, Some("two")).await;
    assert_eq!(
        scene.ear.versions(&app).len(),
        2,
        "what did not change is said once"
    );
}

/// Two servers of one etcd, one of which was stopped while the other told of changes.
async fn failover() {
    let mut plane = ControlPlane::start().await;
    let mut other = plane.another_api(&[]).await;
    let room = Room::new(plane.client(), "failover").await;
    let relay = Relay::to(plane.api.port()).await;
    let mut scene = Scene::with(options(plane.api.kubeconfig_by(&relay.url(), ADMIN))).await;
    let app = room.key("app");
    room.put("app", "first").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("first")).await;
    for round in 0..5 {
        // The other one falls behind, and is asked before it has caught up.
        other.process().pause();
        for number in 0..20 {
            room.put("app", &format!("{round}.{number}")).await;
        }
        scene.ear.value(&app, Some(&format!("{round}.19"))).await;
        relay.turn_to(other.port());
        other.process().resume();
        let last = format!("{round}.last");
        room.put("app", &last).await;
        scene.ear.value(&app, Some(&last)).await;
        relay.turn_to(plane.api.port());
        room.put("app", &format!("{round}.back")).await;
        scene.ear.value(&app, Some(&format!("{round}.back"))).await;
    }
    scene.ear.never_back(&app);
    assert_eq!(scene.source.status().restored, 0);
    plane.api.process().kill();
    relay.turn_to(other.port());
    let other = Room {
        client: other.client(),
        ..room
    };
    other.put("app", "without").await;
    scene.ear.value(&app, Some("without")).await;
    scene.ear.never_back(&app);
}
