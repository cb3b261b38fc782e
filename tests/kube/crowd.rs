//! Many objects at once.

use std::collections::BTreeSet;

use libtest_mimic::Trial;
use livemount::source::{Source as _, Update};
use livemount_cluster::{ADMIN, Relay};
use tokio::task::JoinSet;

use crate::scene::{Room, Scene, options, plane, state, trial};

const OBJECTS: usize = 300;

pub fn trials() -> Vec<Trial> {
    vec![trial("three_hundred_objects_share_four_connections", crowd)]
}

async fn crowd() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "crowd").await;
    let relay = Relay::to(plane.api.port()).await;
    let mut scene = Scene::with(options(plane.api.kubeconfig_by(&relay.url(), ADMIN))).await;
    let keys: Vec<_> = (0..OBJECTS)
        .map(|n| room.key(&format!("app-{n}")))
        .collect();
    write_all(&room, "one").await;
    for key in &keys {
        scene.source.watch(key);
    }
    for key in &keys {
        scene.ear.value(key, Some("one")).await;
    }
    let status = scene.source.status();
    assert_eq!((status.objects, status.watches), (OBJECTS, OBJECTS));
    // 90 a connection; none has failed, so none was made twice.
    assert_eq!(relay.connections(), 4);
    assert_eq!(status.connections, 4);

    write_all(&room, "two").await;
    for key in &keys {
        scene.ear.value(key, Some("two")).await;
    }
    // Lists go over one of their own.
    let listed = kube::Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(
        scene.cluster.client(),
        &room.namespace,
    );
    let listed = listed.list(&kube::api::ListParams::default()).await;
    assert!(listed.expect("a list").items.len() >= OBJECTS);
    assert_eq!(relay.connections(), 5);
    assert_eq!(scene.source.status().connections, 5);

    // All at once lose their connection, and each comes back.
    relay.close();
    write_all(&room, "three").await;
    relay.open();
    for key in &keys {
        scene.ear.value(key, Some("three")).await;
        scene.ear.never_back(key);
    }
    let heard: BTreeSet<_> = scene.ear.said.iter().filter_map(applied).collect();
    assert_eq!(heard.len(), OBJECTS);
    let open = scene.source.status().connections;
    assert!(open <= 5, "{open} connections");

    for key in &keys {
        assert!(state(&scene.ear.said, key).flatten().is_some());
        scene.source.unwatch(key);
    }
}

fn applied(said: &Update) -> Option<String> {
    match said {
        Update::Applied(object) => Some(object.key.name.clone()),
        _ => None,
    }
}

async fn write_all(room: &Room, value: &'static str) {
    let mut writers = JoinSet::new();
    for part in 0..10 {
        let room = room.clone();
        writers.spawn(async move {
            for n in (part..OBJECTS).step_by(10) {
                room.put(&format!("app-{n}"), value).await;
            }
        });
    }
    writers.join_all().await;
}
