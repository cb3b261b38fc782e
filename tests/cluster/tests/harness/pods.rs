//! Pods on the node: what they see, and what becomes of them.

use std::path::Path;
use std::time::Instant;

use kube::Client;
use livemount_cluster::{ControlPlane, Image, Node, Pod, apply, folder};
use serde_json::{Value, json};

pub async fn body() {
    println!("{}", folder().display());
    let started = Instant::now();
    let plane = ControlPlane::start().await;
    println!("control plane: {:?}", started.elapsed());
    let started = Instant::now();
    let mut node = Node::start(&plane).await;
    println!("node: {:?}", started.elapsed());
    node.load(&Image::new("livemount.test/tool:1").system("inotifywait"));
    let client = plane.client();
    objects(&client).await;

    let started = Instant::now();
    let pod = Pod::create(&client, &manifest("first")).await;
    pod.ready().await;
    println!("pod: {:?}", started.elapsed());
    inside(&pod).await;
    memory();

    let kubelet = node.kubelet().pid();
    node.restart_kubelet().await;
    assert_ne!(node.kubelet().pid(), kubelet);
    node.restart_containerd().await;
    assert_eq!(pod.sh("cat /colours/sky").await, "blue");
    assert!(node.root().join("pods").join(pod.uid()).exists());
    let started = Instant::now();
    pod.end().await;
    println!("pod's end: {:?}", started.elapsed());
    others(&node, &client).await;

    let last = Pod::create(&client, &manifest("last")).await;
    last.ready().await;
    assert!(!containers().is_empty(), "the pod has processes");
    drop(node);
    assert_eq!(containers(), [""; 0], "left in the pods' cgroups");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts are told");
    assert!(!mounts.contains("/pods/"), "{mounts}");
    assert!(!mounts.contains("/rootfs"), "{mounts}");
    // The same plane can have another node, which finds the pod that the first one left.
    let _node = Node::start(&plane).await;
    last.ready().await;
}

/// One pod that runs until the run is killed.
pub async fn one() {
    println!("{}", folder().display());
    let plane = ControlPlane::start().await;
    let node = Node::start(&plane).await;
    node.load(&Image::new("livemount.test/tool:1").system("inotifywait"));
    objects(&plane.client()).await;
    Pod::create(&plane.client(), &manifest("first"))
        .await
        .ready()
        .await;
    println!("running");
    std::future::pending::<()>().await;
}

async fn objects(client: &Client) {
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "colours"},
        "data": {"sky": "blue"},
    });
    apply(client, &map).await;
}

fn manifest(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [{
                "name": "main",
                "image": "livemount.test/tool:1",
                "command": ["sleep", "infinity"],
                "securityContext": {"privileged": true},
                "volumeMounts": [
                    {"name": "colours", "mountPath": "/colours"},
                    {"name": "kubelet", "mountPath": "/kubelet", "mountPropagation": "Bidirectional"},
                ],
            }],
            "volumes": [
                {"name": "colours", "configMap": {"name": "colours"}},
                {"name": "kubelet", "hostPath": {"path": "/var/lib/kubelet"}},
            ],
        },
    })
}

/// What a container has: its volumes, the image's programs, the API server, and mounts that the
/// node sees as well.
async fn inside(pod: &Pod) {
    let output = pod
        .exec(&["sh", "-c", "cat /colours/sky; echo no >&2; exit 3"])
        .await;
    assert_eq!(
        (output.status, &*output.stdout, &*output.stderr),
        (3, "blue", "no\n")
    );
    let help = pod.exec_in("main", &["inotifywait", "--help"]).await;
    assert!(help.stdout.starts_with("inotifywait"), "{help:?}");
    // Where in-cluster configuration looks for the API server.
    pod.sh("nc -w 60 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT -e true")
        .await;
    pod.sh(
        "mkdir /kubelet/shared && mount -t tmpfs shared /kubelet/shared && touch /kubelet/shared/x",
    )
    .await;
    assert!(
        Path::new("/var/lib/kubelet/shared/x").exists(),
        "the node sees it"
    );
    pod.sh("umount /kubelet/shared && rmdir /kubelet/shared")
        .await;
}

/// Pods that end by themselves, that cannot start, and of another namespace.
async fn others(node: &Node, client: &Client) {
    node.namespace("other").await;
    let mut manifest = manifest("short");
    manifest["metadata"]["namespace"] = json!("other");
    manifest["spec"]["restartPolicy"] = json!("Never");
    manifest["spec"]["containers"][0]["command"] = json!(["sh", "-c", "echo said; exit 4"]);
    let waiting = Pod::create(client, &manifest).await;
    let event = waiting.event("colours").await;
    assert!(event.starts_with("FailedMount"), "{event}");
    waiting.end().await;
    manifest["spec"]["volumes"][0] = json!({"name": "colours", "emptyDir": {}});
    let short = Pod::create(client, &manifest).await;
    assert_eq!(short.over().await, "Failed");
    assert_eq!(short.logs(None).await, "said\n");
    short.end().await;
}

/// The cgroups of all processes that are in a pod's.
fn containers() -> Vec<String> {
    std::fs::read_dir("/proc")
        .expect("it is there")
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cgroup")).ok())
        .filter(|cgroups| cgroups.contains("/kubepods/"))
        .collect()
}

/// What the cluster's parts take, as the kernel counts it.
fn memory() {
    for entry in std::fs::read_dir("/proc").expect("it is there").flatten() {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let name = field("Name:");
        if name.starts_with("kube") || name == "etcd" || name.starts_with("containerd") {
            println!("{name}: {}", field("VmRSS:"));
        }
    }
}
