//! Pods that live on volumes of a predecessor: a plugin that ends takes its connections with it, and
//! nothing can give a running container a new mount. Somebody has to restart these pods, so they are
//! told.
//!
//! They are found in what the kubelet wrote beside each target (`vol_data.json`,
//! `pkg/volume/csi/csi_util.go` `saveVolumeData`). No target is touched: it may be a dead mount.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde::Deserialize;
use tracing::{info, warn};

use crate::observe::{PodEvent, PodEvents};
use crate::pod::PodRef;
use crate::volumes::Request;

/// What the kubelet wrote; of its many fields the one that matters.
#[derive(Deserialize)]
struct VolumeData {
    #[serde(rename = "driverName")]
    driver: String,
}

/// A volume that a predecessor published, as far as files can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OrphanedVolume {
    uid: String,
    volume: String,
}

impl OrphanedVolume {
    /// Whether it is what was asked for by this.
    pub(super) fn is(&self, request: &Request) -> bool {
        let owner = request.owner.as_ref();
        owner.is_some_and(|owner| owner.pod.uid == self.uid && owner.volume == self.volume)
    }
}

/// All of them. To be called before the first publish; afterwards there are volumes that are well.
pub(super) fn find(pods: &Path, driver: &str) -> Vec<OrphanedVolume> {
    let mut orphaned = Vec::new();
    for pod in names(pods) {
        let volumes = pods.join(&pod).join("volumes/kubernetes.io~csi");
        for volume in names(&volumes) {
            let data = fs::read(volumes.join(&volume).join("vol_data.json"));
            let ours = data.is_ok_and(|data| {
                serde_json::from_slice::<VolumeData>(&data).is_ok_and(|data| data.driver == driver)
            });
            if ours {
                orphaned.push(OrphanedVolume {
                    uid: pod.clone(),
                    volume,
                });
            }
        }
    }
    orphaned
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().into_string());
    let mut names: Vec<String> = names.filter_map(Result::ok).collect();
    names.sort();
    names
}

/// Tells the pods, once it is known what they are called. Those that do not run yet lose nothing: the
/// kubelet publishes their volumes again.
pub(super) async fn tell(
    orphaned: Vec<OrphanedVolume>,
    client: kube::Client,
    node: String,
    events: PodEvents,
) {
    if orphaned.is_empty() {
        return;
    }
    info!(
        volumes = orphaned.len(),
        "a predecessor's volumes: their pods have to be restarted"
    );
    let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let pods = match Api::<Pod>::all(client).list(&here).await {
        Ok(pods) => pods,
        Err(error) => {
            // Of other errors the words could be the server's answer.
            let why = match error {
                kube::Error::Api(refusal) => refusal.message,
                _ => "the API server could not be asked for them".to_owned(),
            };
            return warn!("pods with lost volumes cannot be told: {why}");
        }
    };
    for pod in pods {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let metadata = pod.metadata;
        let (Some("Running"), Some(uid)) = (phase, metadata.uid) else {
            continue;
        };
        for orphaned in orphaned.iter().filter(|orphaned| orphaned.uid == uid) {
            let pod = PodRef {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
                uid: uid.clone(),
            };
            events.tell(
                &pod,
                PodEvent::MountLost {
                    volume: orphaned.volume.clone(),
                    why: "the node plugin was restarted; delete the pod to have it mounted anew"
                        .into(),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_this_driver_are_found_and_no_others() {
        let pods = tempfile::tempdir().expect("a folder");
        let write = |pod: &str, volume: &str, data: &str| {
            let folder = pods
                .path()
                .join(pod)
                .join("volumes/kubernetes.io~csi")
                .join(volume);
            fs::create_dir_all(&folder).expect("folders");
            fs::write(folder.join("vol_data.json"), data).expect("a file");
        };
        write("u1", "a", r#"{"driverName":"ours","volumeHandle":"csi-1"}"#);
        write("u1", "b", r#"{"driverName":"theirs"}"#);
        write("u2", "c", "{");
        write("u3", "d", r#"{"driverName":"ours"}"#);
        let orphaned = find(pods.path(), "ours");
        let found: Vec<_> = orphaned
            .iter()
            .map(|orphaned| (orphaned.uid.as_str(), orphaned.volume.as_str()))
            .collect();
        assert_eq!(found, [("u1", "a"), ("u3", "d")]);
        assert!(find(Path::new("/nonexistent"), "ours").is_empty());
    }
}
