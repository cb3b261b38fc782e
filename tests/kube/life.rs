//! An object's life on a server that is well.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use libtest_mimic::Trial;
use livemount::source::{Source as _, Update};
use livemount_cluster::{ADMIN, until};
use livemount_engine::object::Kind;
use serde_json::json;
use tokio::task::JoinSet;

use crate::scene::{Room, Scene, config_map, key, options, plane, state, timing, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "an_object_comes_changes_goes_and_comes_back",
            comes_and_goes,
        ),
        trial("ten_thousand_quick_updates_end_right", quick_updates),
        trial("bytes_arrive_as_they_are", bytes),
        trial("a_pod_tells_its_labels", pod),
        trial("an_immutable_object_holds_no_watch", immutable),
        trial("what_nobody_wants_lingers_silently", linger),
        trial("every_question_is_answered", asked),
    ]
}

async fn comes_and_goes() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "comes-and-goes").await;
    let mut scene = Scene::of(plane).await;
    let app = room.key("app");

    scene.source.watch(&app);
    scene.ear.value(&app, None).await;

    let before = SystemTime::now();
    room.put("app", "one").await;
    scene.ear.value(&app, Some("one")).await;
    let first = scene.ear.now(&app);
    assert!(first.uid.is_some() && !first.immutable);
    let received = first.received.expect("a time");
    assert!(received >= before && received <= SystemTime::now());

    let version = room.put("app", "two").await;
    scene.ear.value(&app, Some("two")).await;
    assert_eq!(scene.ear.versions(&app).last(), Some(&version));

    room.remove("app").await;
    scene.ear.value(&app, None).await;
    room.put("app", "three").await;
    scene.ear.value(&app, Some("three")).await;
    assert_ne!(scene.ear.now(&app).uid, first.uid);
    scene.ear.never_back(&app);
}

/// What is heard is what was written, in its order, and the last of it is the last.
async fn quick_updates() {
    const WRITERS: usize = 10;
    const EACH: usize = 1000;
    let plane = plane().await;
    let room = Room::new(plane.client(), "quick-updates").await;
    let mut scene = Scene::of(plane).await;
    let app = room.key("app");
    room.put("app", "first").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("first")).await;

    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let maps = room.maps();
        writers.spawn(async move {
            let mut written = HashMap::new();
            for number in 0..EACH {
                let value = format!("{writer}/{number}");
                let object: ConfigMap = config_map("app", &value);
                let put = maps.replace("app", &PostParams::default(), &object).await;
                let version = put.expect("it is put").metadata.resource_version;
                written.insert(version.expect("a version"), value);
            }
            written
        });
    }
    let mut written: HashMap<String, String> = HashMap::new();
    while !writers.is_empty() {
        tokio::select! {
            Some(some) = writers.join_next() => written.extend(some.expect("a writer")),
            () = scene.ear.one() => {}
        }
    }
    assert_eq!(
        written.len(),
        WRITERS * EACH,
        "each write has a version of its own"
    );
    room.put("app", "last").await;
    scene.ear.value(&app, Some("last")).await;

    scene.ear.never_back(&app);
    let mut heard = 0;
    for said in &scene.ear.said {
        let Update::Applied(object) = said else {
            panic!("{said:?}");
        };
        let version = object.resource_version.as_ref().expect("a version");
        if let Some(value) = written.get(version) {
            assert_eq!(&*object.data()["k"], value.as_bytes());
            heard += 1;
        }
    }
    assert!(heard > 0);
}

async fn bytes() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "bytes").await;
    let mut scene = Scene::of(plane).await;
    let all: Vec<u8> = (0..=255).cycle().take(700 << 10).collect();

    let secret = key(Kind::Secret, "bytes", "s");
    room.put_secret("s", &all).await;
    scene.source.watch(&secret);
    scene.ear.next_state(&secret).await;
    assert!(*scene.ear.now(&secret).data()["k"] == *all);

    let mut object = config_map("b", "ü\n\u{0}\u{2028}");
    object.binary_data = Some([("b".to_owned(), ByteString(all.clone()))].into());
    let made = room.maps().create(&PostParams::default(), &object).await;
    made.expect("it is made");
    let map = room.key("b");
    scene.source.watch(&map);
    scene.ear.next_state(&map).await;
    let object = scene.ear.now(&map);
    assert_eq!(&*object.data()["k"], "ü\n\u{0}\u{2028}".as_bytes());
    assert!(*object.data()["b"] == *all);
}

async fn pod() {
    let plane = plane().await;
    Room::new(plane.client(), "pod").await;
    let mut scene = Scene::of(plane).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "pod"}});
    livemount_cluster::apply(&plane.client(), &account).await;
    let pods: Api<Pod> = Api::namespaced(plane.client(), "pod");
    let object = serde_json::from_value(json!({
        "metadata": {"name": "p", "labels": {"app": "one"}},
        "spec": {"automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "i"}]},
    }));
    let made = pods
        .create(&PostParams::default(), &object.expect("a pod"))
        .await;
    made.expect("it is made");
    let p = key(Kind::Pod, "pod", "p");
    scene.source.watch(&p);
    let label = |said: &[Update]| {
        let object = state(said, &p)??;
        object.data().get("metadata.labels['app']").cloned()
    };
    scene
        .ear
        .until("the label is told", |said| {
            (*label(said)? == *b"one").then_some(())
        })
        .await;
    let change = json!({"metadata": {"labels": {"app": "two"}}});
    let changed = pods
        .patch("p", &PatchParams::default(), &Patch::Merge(change))
        .await;
    changed.expect("it is changed");
    scene
        .ear
        .until("the label changes", |said| {
            (*label(said)? == *b"two").then_some(())
        })
        .await;
    let now = DeleteParams::default().grace_period(0);
    pods.delete("p", &now).await.expect("it is removed");
    scene.ear.value(&p, None).await;
}

async fn immutable() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "immutable").await;
    let mut scene = Scene::of(plane).await;
    let fixed = room.key("fixed");
    let make = async |value: &str, immutable: bool| {
        let mut object = config_map("fixed", value);
        object.immutable = Some(immutable);
        let made = room.maps().create(&PostParams::default(), &object).await;
        made.expect("it is made");
    };
    make("one", true).await;
    scene.source.watch(&fixed);
    scene.ear.value(&fixed, Some("one")).await;
    assert!(scene.ear.now(&fixed).immutable);
    scene
        .settles("the watch is given back", |status| status.watches == 0)
        .await;

    // Deleted and made anew: nobody notices, until somebody asks.
    room.remove("fixed").await;
    make("two", true).await;
    scene.source.watch(&fixed);
    scene.ear.value(&fixed, Some("two")).await;
    scene
        .settles("the watch is given back", |status| status.watches == 0)
        .await;

    // Not immutable any more: it is watched.
    room.remove("fixed").await;
    make("three", false).await;
    scene.source.watch(&fixed);
    scene.ear.value(&fixed, Some("three")).await;
    room.put("fixed", "four").await;
    scene.ear.value(&fixed, Some("four")).await;
    assert_eq!(scene.source.status().watches, 1);
    scene.ear.never_back(&fixed);
}

async fn linger() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "linger").await;
    let mut options = options(plane.api.kubeconfig(ADMIN));
    options.timing.linger = Duration::from_secs(5);
    let mut scene = Scene::with(options).await;
    let (app, other) = (room.key("app"), room.key("other"));
    room.put("app", "one").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("one")).await;

    // Silent while it lingers: another object, written later, is heard first.
    scene.source.watch(&other);
    scene.ear.value(&other, None).await;
    scene.source.unwatch(&app);
    assert_eq!(scene.source.status().watches, 2);
    room.put("app", "two").await;
    room.put("other", "two").await;
    scene.ear.value(&other, Some("two")).await;
    assert_eq!(&*scene.ear.now(&app).data()["k"], b"one");

    // Wanted again: a fresh answer, and it lives on beyond the former end.
    scene.source.watch(&app);
    scene.ear.value(&app, Some("two")).await;
    scene.source.unwatch(&other);
    scene
        .settles("the other is dropped", |status| status.objects == 1)
        .await;
    room.put("app", "three").await;
    scene.ear.value(&app, Some("three")).await;
    scene.source.unwatch(&app);
    let none =
        |status: &livemount::source::kube::SourceStatus| status.objects == 0 && status.watches == 0;
    scene.settles("all is dropped", none).await;
    // And begins anew.
    scene.source.watch(&app);
    scene.ear.next_state(&app).await;
}

/// Each question has an answer of its own, although nothing changed.
async fn asked() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "asked").await;
    let mut options = options(plane.api.kubeconfig(ADMIN));
    options.timing = timing();
    let mut scene = Scene::with(options).await;
    let (app, none) = (room.key("app"), room.key("none"));
    room.put("app", "one").await;
    for _ in 0..5 {
        for _ in 0..7 {
            scene.source.watch(&app);
            scene.source.watch(&none);
        }
        let from = scene.ear.said.len();
        let both = |said: &[Update]| {
            state(&said[from..], &app)
                .zip(state(&said[from..], &none))
                .is_some()
        };
        scene
            .ear
            .until("both answer", |said| both(said).then_some(()))
            .await;
    }
    scene.source.unwatch(&app);
    let what = "one watch holds its place";
    until(what, async || {
        let watches = scene.source.status().watches;
        (watches == 2).then_some(()).ok_or(format!("{watches}"))
    })
    .await;
}
