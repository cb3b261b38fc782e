//! What this node can allocate: with the kubelet it is the limit, in a downward API volume, of a container
//! that sets none (`MergeContainerResourceLimits`, kubernetes `api/v1/resource/helpers.go`).
//!
//! Read once, when the plugin starts: it changes with the machine or the kubelet's configuration, and
//! who changes these drains the node.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use tracing::warn;

use crate::source::kube::Cluster;

/// How long the start waits for the first answer.
const FIRST: Duration = Duration::from_secs(5);
/// How soon it is asked again.
const AGAIN: Duration = Duration::from_secs(30);

/// Tells the cluster's source what the node can allocate. Returns when it is known, or soon; then it is
/// asked on. As long as it is not known, a volume that asks for it is refused.
pub(super) async fn learn(cluster: &Cluster, node: &str) {
    if let Ok(true) = tokio::time::timeout(FIRST, learnt(cluster, node)).await {
        return;
    }
    let (cluster, node) = (cluster.clone(), node.to_owned());
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(AGAIN).await;
            if learnt(&cluster, &node).await {
                return;
            }
        }
    });
}

async fn learnt(cluster: &Cluster, node: &str) -> bool {
    match Api::<Node>::all(cluster.client()).get(node).await {
        Ok(found) => {
            let allocatable = found.status.and_then(|status| status.allocatable);
            cluster.set_allocatable(allocatable.unwrap_or_default());
            true
        }
        Err(error) => {
            // Of other errors the words could be the server's answer.
            let why = match error {
                kube::Error::Api(refusal) => refusal.message,
                _ => "the API server could not be asked".to_owned(),
            };
            warn!("what this node can allocate is not known: {why}");
            false
        }
    }
}
