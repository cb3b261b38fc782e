//! An Event on the node itself: what is no pod's, and what whoever looks after the node should know.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tracing::warn;

/// Tells for how long no daemon came. One Event for each start at the most.
pub(super) async fn caretaken(client: kube::Client, node: String, long: Duration) {
    let note = format!(
        "for {:.0} s no livemount daemon came: the caretaker served what was there, and nothing changed in it",
        long.as_secs_f64()
    );
    let uid = match Api::<Node>::all(client.clone()).get_metadata(&node).await {
        Ok(found) => found.metadata.uid,
        Err(_) => None,
    };
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{node}.livemount-")),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        reporting_controller: Some("livemount".into()),
        reporting_instance: Some(node.clone()),
        action: Some("TakeOver".into()),
        reason: Some("Caretaken".into()),
        note: Some(note),
        type_: Some("Warning".into()),
        regarding: Some(ObjectReference {
            kind: Some("Node".into()),
            name: Some(node.clone()),
            uid: uid.or(Some(node)),
            ..ObjectReference::default()
        }),
        ..Event::default()
    };
    // Events on nodes are in the namespace `default`, as the kubelet's own.
    let events = Api::<Event>::namespaced(client, "default");
    if let Err(error) = events.create(&PostParams::default(), &event).await {
        warn!(%error, "the node could not be told that the caretaker served it");
    }
}
