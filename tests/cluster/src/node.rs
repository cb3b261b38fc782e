//! A node: the kubelet with containerd, and what makes and places pods on it.

use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, Node as Object, Pod, ServiceAccount};
use kube::api::{ListParams, ObjectList};
use kube::{Api, Client};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::json;

use crate::component::Component;
use crate::containerd::{Containerd, PAUSE};
use crate::image::Image;
use crate::plane::{CONTROLLERS, ControlPlane, NODE, SCHEDULER};
use crate::programs::program;
use crate::wait::until;
use crate::{cgroups, folder, machine, objects};

/// The one node of a cluster, with controller manager and scheduler. Its end takes down all pods,
/// and with them every process and mount that they have.
pub struct Node {
    client: Client,
    controllers: Component,
    scheduler: Component,
    kubelet: Component,
    containerd: Containerd,
}

impl Node {
    /// Starts it, and waits until it is ready for pods in the namespace `default`. There is one at
    /// a time in a run.
    pub async fn start(plane: &ControlPlane) -> Node {
        let state = folder().join("state/node");
        fs::create_dir_all(&state).expect("the run's folder can be written to");
        let containerd = Containerd::start(&state).await;
        let pause = Image::new(PAUSE).entrypoint(&["/bin/busybox", "sleep", "infinity"]);
        containerd.import(&pause.archive());
        let mut node = Node {
            client: plane.client(),
            controllers: controllers(plane),
            scheduler: scheduler(plane),
            kubelet: kubelet(plane, &containerd, &state),
            containerd,
        };
        node.controllers.start();
        node.scheduler.start();
        node.run_kubelet().await;
        node.ready().await;
        node.namespace("default").await;
        node
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        machine::NAME
    }

    /// The kubelet's folder, which everything of pods and plugins is below.
    pub fn root(&self) -> &'static Path {
        Path::new(machine::KUBELET)
    }

    /// Makes an image known, for pods to use.
    pub fn load(&self, image: &Image) {
        self.containerd.import(&image.archive());
    }

    /// Makes a namespace, and waits until pods can be made in it.
    pub async fn namespace(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        objects::apply(&self.client, &object).await;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), name);
        until(&format!("the namespace {name} is filled"), async || {
            let account = accounts.get("default").await.map(drop);
            account.map_err(|error| error.to_string())?;
            let authority = maps.get("kube-root-ca.crt").await.map(drop);
            authority.map_err(|error| error.to_string())
        })
        .await;
    }

    /// The kubelet's process, to pause it or to kill it.
    pub fn kubelet(&mut self) -> &mut Component {
        &mut self.kubelet
    }

    /// containerd's process. What it has started survives it.
    pub fn containerd(&mut self) -> &mut Component {
        &mut self.containerd.process
    }

    /// Kills the kubelet and starts it again. Pods run on meanwhile.
    pub async fn restart_kubelet(&mut self) {
        self.kubelet.kill();
        self.run_kubelet().await;
    }

    /// Kills containerd and starts it again. Containers run on meanwhile.
    pub async fn restart_containerd(&mut self) {
        self.containerd.process.kill();
        self.containerd.run().await;
        // The kubelet's connection comes back a little later.
        until("the kubelet reaches containerd", async || {
            self.kubelet_has("runningpods/").await.map(drop)
        })
        .await;
    }

    /// Starts the kubelet, if it does not run, and waits until it works and knows its pods.
    pub async fn run_kubelet(&mut self) {
        if !self.kubelet.is_running() {
            self.kubelet.start();
        }
        until("the kubelet works", async || {
            self.kubelet.check();
            healthy().await?;
            self.knows_its_pods().await
        })
        .await;
    }

    /// A kubelet that was just started refuses to run commands in pods that it has not heard of.
    async fn knows_its_pods(&self) -> Result<(), String> {
        let known = self.kubelet_has("pods").await?;
        let here = ListParams::default().fields(&format!("spec.nodeName={}", machine::NAME));
        let pods = Api::<Pod>::all(self.client.clone()).list(&here).await;
        let unknown: Vec<_> = pods
            .map_err(|error| error.to_string())?
            .into_iter()
            .map(|pod| pod.metadata)
            .filter(|pod| known.iter().all(|known| known.metadata.uid != pod.uid))
            .filter_map(|pod| pod.name)
            .collect();
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(format!("it has not heard of {unknown:?}"))
        }
    }

    /// The kubelet's own answer: `pods` are those it was told of, `runningpods/` those that its
    /// containerd runs.
    async fn kubelet_has(&self, which: &str) -> Result<ObjectList<Pod>, String> {
        let path = format!("/api/v1/nodes/{}/proxy/{which}", machine::NAME);
        let request = http::Request::get(path).body(Vec::new()).expect("a path");
        let answer = self.client.request(request).await;
        answer.map_err(|error| error.to_string())
    }

    async fn ready(&mut self) {
        let nodes: Api<Object> = Api::all(self.client.clone());
        until("the node is ready", async || {
            for component in [
                &mut self.kubelet,
                &mut self.controllers,
                &mut self.scheduler,
            ] {
                component.check();
            }
            let node = nodes.get(machine::NAME).await;
            let node = node.map_err(|error| error.to_string())?;
            let conditions = node.status.and_then(|status| status.conditions);
            let ready = conditions
                .into_iter()
                .flatten()
                .find(|condition| condition.type_ == "Ready")
                .ok_or("it says nothing of it")?;
            // Until a controller has seen it ready no pod is placed on it.
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            if ready.status == "True" && taints.is_empty() {
                Ok(())
            } else {
                Err(format!("{:?}, {} taints", ready.message, taints.len()))
            }
        })
        .await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kubelet.kill();
        self.containerd.process.kill();
        // Containers and their mounts outlive both.
        cgroups::kill(&folder());
        let below = [folder().join("state/node"), machine::KUBELET.into()];
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for mount in mounts.lines().rev() {
            let point = Path::new(mount.split(' ').nth(4).unwrap_or_default());
            if below
                .iter()
                .any(|folder| point.starts_with(folder) && point != folder)
            {
                // One that is gone with another is what is wanted.
                let _ = unmount(point, UnmountFlags::DETACH);
            }
        }
    }
}

/// The kubelet's own word on whether it works, which includes that it has looked at its pods.
async fn healthy() -> Result<(), String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", 10248)).await?;
        let request = b"GET /healthz HTTP/1.0\r\nHost: kubelet\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    match exchange.await {
        Ok(answer) if answer.split(' ').nth(1) == Some("200") => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    }
}

fn controllers(plane: &ControlPlane) -> Component {
    let mut process = Component::new(
        "kube-controller-manager",
        program("kube-controller-manager"),
    );
    let kubeconfig = show(&plane.component(CONTROLLERS));
    process.args([
        format!("--kubeconfig={kubeconfig}"),
        format!(
            "--service-account-private-key-file={}",
            show(plane.accounts_key())
        ),
        format!("--root-ca-file={}", show(&plane.api.authority())),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
    ]);
    process
}

fn scheduler(plane: &ControlPlane) -> Component {
    let mut process = Component::new("kube-scheduler", program("kube-scheduler"));
    let kubeconfig = show(&plane.component(SCHEDULER));
    process.args([
        format!("--kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
    ]);
    process
}

fn kubelet(plane: &ControlPlane, containerd: &Containerd, state: &Path) -> Component {
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": plane.api.authority()},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": containerd.endpoint(),
        // The machine is shared and may be of any kind: nothing is reserved or enforced on it, and
        // its disk's fullness is not the tests' concern.
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups::name(&folder()),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        "maxPods": 250,
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "volumePluginDir": format!("{}/volumeplugins", machine::KUBELET),
    });
    let path = state.join("kubelet.json");
    fs::write(&path, configuration.to_string()).expect("the run's folder can be written to");
    let kubeconfig = show(&plane.component(NODE));
    let mut process = Component::new("kubelet", program("kubelet"));
    process.args([
        format!("--config={}", show(&path)),
        format!("--kubeconfig={kubeconfig}"),
        format!("--root-dir={}", machine::KUBELET),
        format!("--hostname-override={}", machine::NAME),
    ]);
    process
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
