//! Pods that are gone or on their way while a publish of theirs waits. The kubelet begins nothing else
//! with a volume before its call has been answered (`nestedpendingoperations.go`), so that
//! NodeUnpublishVolume cannot come in time: the volume, and with it the pod's folder, would stay until
//! the wait is over.
//!
//! One question for the whole node, of metadata alone, and only while somebody waits.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tracing::debug;

/// The uids of this node's pods that are there to stay; nothing where it cannot be told.
pub(super) async fn staying(client: kube::Client, node: String) -> Option<BTreeSet<String>> {
    let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let Ok(pods) = Api::<Pod>::all(client).list_metadata(&here).await else {
        debug!("it cannot be told which pods are being deleted");
        return None;
    };
    let staying = pods
        .items
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Some(staying.filter_map(|pod| pod.metadata.uid).collect())
}
