//! The two DaemonSets of deploy/ with other images, and waiting for what becomes of them.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, LogParams};
use livemount_cluster::{Image, apply_yaml, until};

use super::scene::{Scene, deploy};

/// The image that deploy/ names.
pub const FIRST: &str = "livemount";
/// The same program by another name.
pub const SECOND: &str = "docker.io/library/livemount:second";
/// One that ends at once, with status 127.
const CRASHES: &str = "livemount.test/crashes:1";
/// One that nobody has. Nobody listens there, so that it is known at once.
pub const NOWHERE: &str = "127.0.0.1:1/nowhere:1";

/// A part of the plugin, as its pods are labelled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Node,
    Keeper,
}

impl Part {
    const BOTH: [Part; 2] = [Part::Keeper, Part::Node];

    pub fn component(self) -> &'static str {
        match self {
            Part::Node => "node",
            Part::Keeper => "keeper",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Part::Node => "base/daemonset.yaml",
            Part::Keeper => "base/keeper.yaml",
        }
    }

    fn set(self) -> &'static str {
        match self {
            Part::Node => "livemount",
            Part::Keeper => "livemount-keeper",
        }
    }
}

impl Scene {
    /// Makes an image that crashes known, and says its name.
    pub fn crashing_image(&self) -> &'static str {
        let busybox = std::path::Path::new("/bin/busybox");
        // It does not know itself by that name.
        let image = Image::new(CRASHES).file(busybox, "/usr/local/bin/livemount");
        self.node.load(&image);
        CRASHES
    }

    /// Applies a DaemonSet of deploy/ with another image.
    pub async fn set_image(&self, part: Part, image: &str) {
        let text = std::fs::read_to_string(deploy().join(part.file())).expect("a manifest");
        let with = text.replace("image: livemount\n", &format!("image: {image}\n"));
        apply_yaml(&self.client, &with).await;
    }

    /// Applies both, as `kubectl apply -k` does, without waiting between.
    pub async fn set_images(&self, image: &str) {
        for part in Part::BOTH {
            self.set_image(part, image).await;
        }
    }

    /// Waits until a DaemonSet is as it was applied: one pod of this image, which is available, and no other.
    pub async fn rolled_out(&self, part: Part, image: &str) {
        let sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), "livemount");
        until(&format!("{} has rolled out", part.set()), async || {
            let set = sets.get(part.set()).await.map_err(|e| e.to_string())?;
            let status = set.status.unwrap_or_default();
            let pods = self.pods_of(part).await;
            let images: Vec<_> = pods.iter().map(image_of).collect();
            let is_there = status.observed_generation == set.metadata.generation
                && status.number_available == Some(1)
                && status.updated_number_scheduled == Some(1)
                && images == [image];
            is_there
                .then_some(())
                .ok_or(format!("{images:?} {status:?}"))
        })
        .await;
    }

    /// All pods of a part, those that are told to end as well.
    pub async fn pods_of(&self, part: Part) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "livemount");
        let label = format!("app.kubernetes.io/component={}", part.component());
        let of_it = ListParams::default().labels(&label);
        pods.list(&of_it).await.expect("a list").items
    }

    /// Deletes a DaemonSet, and waits until its pod is gone.
    pub async fn delete_set(&self, part: Part) {
        let sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), "livemount");
        let deleted = sets.delete(part.set(), &DeleteParams::default()).await;
        deleted.expect("it is deleted");
        until("its pod is gone", async || {
            let pods = self.pods_of(part).await;
            pods.is_empty().then_some(()).ok_or(format!("{pods:?}"))
        })
        .await;
    }

    /// Deletes the pod of a part, without waiting for its end, and returns what it was.
    pub async fn tell_to_end(&self, part: Part) -> Pod {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "livemount");
        let old = self.pod_of(part.component()).await.expect("its pod");
        let name = old.metadata.name.as_ref().expect("a name");
        let deleted = pods.delete(name, &DeleteParams::default()).await;
        deleted.expect("it is deleted");
        old
    }

    /// Waits until the log of the part's one pod has these words.
    pub async fn log_has(&self, part: Part, words: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "livemount");
        until(&format!("the log has {words:?}"), async || {
            let all = self.pods_of(part).await;
            let name = all.first().and_then(|pod| pod.metadata.name.clone());
            let (name, whole) = (name.unwrap_or_default(), LogParams::default());
            let log = pods.logs(&name, &whole).await;
            let log = log.map_err(|error| error.to_string())?;
            log.contains(words).then_some(()).ok_or(log)
        })
        .await;
    }

    /// Deletes the pod of a part, and waits until another is there and ready.
    pub async fn replace_pod(&self, part: Part) {
        let old = self.tell_to_end(part).await.metadata;
        until("another pod is ready", async || {
            let pods = self.pods_of(part).await;
            let [pod] = pods.as_slice() else {
                return Err(format!("{} pods", pods.len()));
            };
            let another = pod.metadata.uid != old.uid && is_ready(pod);
            another.then_some(()).ok_or(format!("{:?}", pod.status))
        })
        .await;
    }

    /// Waits until a pod with this image says that it does not run, for a reason with one of these words.
    pub async fn fails_to_start(&self, part: Part, image: &str, reasons: &[&str]) {
        until(&format!("{image} does not start"), async || {
            let pods = self.pods_of(part).await;
            let waiting = pods
                .iter()
                .filter(|pod| image_of(pod) == image)
                .filter_map(|pod| pod.status.as_ref())
                .flat_map(|status| {
                    let inits = status.init_container_statuses.iter().flatten();
                    inits.chain(status.container_statuses.iter().flatten())
                })
                .filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone())
                .collect::<Vec<_>>();
            let fails = waiting.iter().any(|why| reasons.contains(&why.as_str()));
            fails.then_some(()).ok_or(format!("{waiting:?}"))
        })
        .await;
    }
}

fn image_of(pod: &Pod) -> String {
    let spec = pod.spec.as_ref().expect("a spec");
    spec.containers[0].image.clone().unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
