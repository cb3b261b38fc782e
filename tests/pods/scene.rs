//! The cluster that all cases share, with the plugin in it, and how a case makes its pods.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::api::{AttachParams, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use livemount_cluster::{ControlPlane, Image, Node, Output, Pod, apply, apply_yaml, folder, until};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::rollout::SECOND;

/// A case.
pub type Case = for<'s> fn(&'s mut Scene) -> Pin<Box<dyn Future<Output = ()> + 's>>;

/// The image that pods run: busybox and inotifywait.
pub const APP: &str = "livemount.test/app:1";

/// The cluster with the plugin in it.
pub struct Scene {
    pub node: Node,
    pub client: Client,
    // The last to go.
    _plane: ControlPlane,
}

/// The same, started by the first case that needs it.
pub struct Lazy {
    runtime: &'static Runtime,
    scene: Mutex<Option<Scene>>,
}

impl Lazy {
    pub fn new(runtime: &'static Runtime) -> Self {
        let scene = Mutex::default();
        Self { runtime, scene }
    }

    pub fn run(&self, case: Case) {
        let mut scene = self.scene.lock();
        self.runtime.block_on(async {
            if scene.is_none() {
                *scene = Some(Scene::start().await);
            }
            let scene = scene.as_mut().expect("it was just started");
            case(scene).await;
        });
    }

    pub fn end(&self) {
        let scene = self.scene.lock().take();
        self.runtime.block_on(async { drop(scene) });
    }
}

impl Scene {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let node = Node::start(&plane).await;
        let client = plane.client();
        let plugin = stripped(Path::new(env!("CARGO_BIN_EXE_livemount")));
        let image = |name| Image::new(name).program(&plugin, "/usr/local/bin/livemount");
        // By the names that deploy/ and examples/ use.
        node.load(&image("docker.io/library/livemount:latest"));
        node.load(&image(SECOND));
        let applet = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pods/inotifyd");
        node.load(
            &Image::new("docker.io/library/busybox:1.37")
                .system("inotifywait")
                .file(&applet, "/bin/inotifyd"),
        );
        node.load(&Image::new(APP).system("inotifywait"));
        for file in deployed() {
            let text = std::fs::read_to_string(&file).expect("a manifest");
            apply_yaml(&client, &text).await;
        }
        let scene = Self {
            node,
            client,
            _plane: plane,
        };
        scene.plugin_ready().await;
        scene
    }

    /// Waits until the plugin is ready on the node.
    pub async fn plugin_ready(&self) {
        let sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), "livemount");
        until("the plugin is ready", async || {
            let set = sets.get("livemount").await.map_err(|e| e.to_string())?;
            let status = set.status.unwrap_or_default();
            if status.number_ready == 1 && status.number_unavailable.unwrap_or(0) == 0 {
                return Ok(());
            }
            Err(format!("{status:?}"))
        })
        .await;
    }

    /// The plugin's pod.
    pub async fn plugin(&self) -> k8s_openapi::api::core::v1::Pod {
        self.pod_of("node").await.expect("the plugin's pod")
    }

    /// The pod of a component, `node` or `keeper`, that is not told to end.
    pub async fn pod_of(&self, component: &str) -> Option<k8s_openapi::api::core::v1::Pod> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.client.clone(), "livemount");
        let of_it =
            ListParams::default().labels(&format!("app.kubernetes.io/component={component}"));
        let pods = pods.list(&of_it).await.expect("a list");
        let mut pods = pods.items.into_iter();
        pods.find(|pod| pod.metadata.deletion_timestamp.is_none())
    }

    /// Makes or changes a ConfigMap.
    pub async fn config_map(&self, name: &str, data: Value) {
        self.object("ConfigMap", name, json!({"data": data})).await;
    }

    /// Makes or changes an object of `default`, whole.
    pub async fn object(&self, kind: &str, name: &str, more: Value) {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}});
        let fields = object.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("fields").clone());
        apply(&self.client, &object).await;
    }

    /// Deletes an object of `default`.
    pub async fn delete(&self, name: &str) {
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(self.client.clone(), "default");
        maps.delete(name, &kube::api::DeleteParams::default())
            .await
            .expect("it is deleted");
    }

    /// Sets or takes away a label of a pod.
    pub async fn label(&self, pod: &Pod, label: &str, value: Value) {
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.client.clone(), "default");
        let patch = Patch::Merge(json!({"metadata": {"labels": {label: value}}}));
        pods.patch(pod.name(), &PatchParams::default(), &patch)
            .await
            .expect("it is labelled");
    }

    /// Makes a pod that sleeps and has a volume of these attributes at /config.
    pub async fn pod(&self, attributes: &Value) -> Pod {
        Pod::create(&self.client, &self.manifest(attributes)).await
    }

    /// The manifest of such a pod, with room for what it writes at /out.
    #[allow(clippy::unused_self, reason = "it is the scene's pod")]
    pub fn manifest(&self, attributes: &Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name("pod"), "labels": {"app": "case"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "app",
                    "image": APP,
                    "imagePullPolicy": "Never",
                    "command": ["sleep", "1000000"],
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/config"},
                        {"name": "out", "mountPath": "/out"},
                    ],
                }],
                "volumes": [
                    {"name": "config", "csi": {"driver": "csi.livemount.dev", "volumeAttributes": attributes}},
                    {"name": "out", "emptyDir": {}},
                ],
            },
        })
    }
}

/// What a command writes in a pod that no case has made itself.
pub async fn exec(
    pods: &Api<k8s_openapi::api::core::v1::Pod>,
    pod: &str,
    command: &[&str],
) -> Result<String, String> {
    let mut process = pods
        .exec(pod, command.to_vec(), &AttachParams::default())
        .await
        .map_err(|error| error.to_string())?;
    let mut said = String::new();
    let mut stdout = process.stdout().expect("it was asked for");
    tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut said)
        .await
        .map_err(|error| error.to_string())?;
    Ok(said)
}

/// A name that no other case has.
pub fn name(word: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("{word}-{}", LAST.fetch_add(1, Ordering::Relaxed))
}

/// Waits until a script in the pod writes this, without the white space at both ends.
pub async fn says(pod: &Pod, script: &str, expected: &str) {
    until(&format!("{script:?} says {expected:?}"), async || {
        let Output {
            status,
            stdout,
            stderr,
        } = pod.exec(&["sh", "-c", script]).await;
        if stdout.trim() == expected {
            return Ok(());
        }
        Err(format!("{status}: {stdout}{stderr}"))
    })
    .await;
}

/// The manifests of `kubectl apply -k deploy/secrets`, which are those of deploy/ and one more. The
/// kustomizations add nothing of their own; tests/repository/deploy.rs looks after that.
fn deployed() -> Vec<PathBuf> {
    [
        "base/namespace.yaml",
        "base/serviceaccount.yaml",
        "base/rbac.yaml",
        "secrets/rbac.yaml",
        "base/csidriver.yaml",
        "base/keeper.yaml",
        "base/daemonset.yaml",
    ]
    .map(|file| deploy().join(file))
    .into()
}

/// The folder of all manifests.
pub fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// The program without what a debugger wants, a tenth of its size.
fn stripped(program: &Path) -> PathBuf {
    let stripped = folder().join("livemount");
    let status = Command::new("strip")
        .arg("-o")
        .args([&stripped, program])
        .status();
    assert!(status.expect("binutils are here").success(), "strip failed");
    stripped
}
