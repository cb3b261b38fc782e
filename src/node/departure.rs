//! Pods that are being deleted while a publish of theirs waits. The kubelet begins nothing else with a
//! volume before its call has been answered (`nestedpendingoperations.go`), so that NodeUnpublishVolume
//! cannot come in time: such a pod would stay in Terminating until the wait is over.
//!
//! One question for the whole node, of metadata alone and from the server's cache, and only while
//! somebody waits.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tracing::debug;

/// The uids of this node's pods that are being deleted; nothing where it cannot be told.
pub(super) async fn departing(client: kube::Client, node: String) -> BTreeSet<String> {
    let here = ListParams::default()
        .fields(&format!("spec.nodeName={node}"))
        .match_any();
    let Ok(pods) = Api::<Pod>::all(client).list_metadata(&here).await else {
        debug!("it cannot be told which pods are being deleted");
        return BTreeSet::new();
    };
    let deleted = pods
        .items
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some());
    deleted.filter_map(|pod| pod.metadata.uid).collect()
}
