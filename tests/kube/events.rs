//! Events on a pod, as a real API server has them.

use std::sync::Arc;

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use libtest_mimic::Trial;
use livemount::observe::{Metrics, PodEvent, PodEvents};
use livemount::pod::PodRef;
use livemount_cluster::until;

use crate::scene::{Room, plane, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("an_event_is_made_once_and_counted_up", counted)]
}

async fn counted() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "events").await;
    let metrics = Arc::new(Metrics::new());
    let tell = PodEvents::start(plane.client(), "livemount.io", "node-1", metrics);
    // Events may be told of pods that are gone.
    let pod = PodRef {
        namespace: room.namespace.clone(),
        name: "web-0".into(),
        uid: "0d9f1a2b-0000-4000-8000-000000000001".into(),
    };
    let missing = |volume: &str| PodEvent::Missing {
        volume: volume.into(),
        why: "ConfigMap app does not exist".into(),
    };
    // The same is told again when something else was told in between.
    let recovered = PodEvent::Recovered { volume: "a".into() };
    for event in [missing("a"), recovered, missing("a"), missing("b")] {
        tell.tell(&pod, event);
    }

    let api: Api<Event> = Api::namespaced(plane.client(), &room.namespace);
    let mut events = until("all is written", async || {
        let events = api.list(&ListParams::default()).await;
        let events = events.map_err(|error| error.to_string())?.items;
        // They are written in order.
        let last = |event: &Event| event.note.as_ref().is_some_and(|it| it.contains("\"b\""));
        if events.iter().any(last) {
            Ok(events)
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
    events.sort_by(|a, b| a.note.cmp(&b.note));
    let shown: Vec<_> = events
        .iter()
        .map(|event| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let series = event.series.as_ref();
            (
                [&event.type_, &event.reason, &event.action, &event.note].map(text),
                series.map_or(1, |series| series.count),
            )
        })
        .collect();
    let told = |type_: &str, reason: &str, action: &str, note: &str, count: i32| {
        ([type_, reason, action, note].map(str::to_owned), count)
    };
    assert_eq!(
        shown,
        [
            told(
                "Normal",
                "VersionRecovered",
                "Update",
                "volume \"a\" shows what its objects say again",
                1
            ),
            told(
                "Warning",
                "ObjectMissing",
                "Publish",
                "volume \"a\" waits: ConfigMap app does not exist",
                2
            ),
            told(
                "Warning",
                "ObjectMissing",
                "Publish",
                "volume \"b\" waits: ConfigMap app does not exist",
                1
            ),
        ]
    );
    for event in events {
        let regarding = event.regarding.expect("a pod");
        let about = (regarding.kind.as_deref(), regarding.uid.as_deref());
        assert_eq!(about, (Some("Pod"), Some(&*pod.uid)));
        assert_eq!(event.reporting_controller.as_deref(), Some("livemount.io"));
        assert_eq!(event.reporting_instance.as_deref(), Some("node-1"));
    }
}
