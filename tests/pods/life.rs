//! How volumes follow their objects, their containers and the kubelet.

use std::time::{Duration, Instant};

use kube::Api;
use livemount_cluster::{Pod, until};
use serde_json::json;

use super::scene::{Scene, exec, name, says};

pub async fn optional_objects(scene: &mut Scene) {
    let map = name("map");
    let volume_source = format!("name: {map}\noptional: true\n");
    let pod = scene.pod(&json!({"configMap": volume_source})).await;
    pod.ready().await;
    assert_eq!(pod.sh("ls -A /config").await, "");
    for round in ["one", "two"] {
        scene.config_map(&map, json!({"a": round})).await;
        says(&pod, "cat /config/a", round).await;
        scene.delete(&map).await;
        says(&pod, "ls -A /config", "").await;
    }
    // One that is not optional stays as it was.
    let kept = name("map");
    scene.config_map(&kept, json!({"a": "kept"})).await;
    let other = scene.pod(&json!({"configMap": kept})).await;
    other.ready().await;
    scene.delete(&kept).await;
    other.event("VersionRefused").await;
    assert_eq!(other.sh("cat /config/a").await, "kept");
    scene.config_map(&kept, json!({"a": "anew"})).await;
    says(&other, "cat /config/a", "anew").await;
    other.event("VersionRecovered").await;
    pod.end().await;
    other.end().await;
}

pub async fn a_missing_object(scene: &mut Scene) {
    let map = name("map");
    let pod = scene.pod(&json!({"configMap": map})).await;
    let event = pod.event("ObjectMissing").await;
    assert!(
        event.contains(&format!("ConfigMap default/{map} does not exist")),
        "{event}"
    );
    scene.config_map(&map, json!({"a": "one"})).await;
    let made = Instant::now();
    pod.ready().await;
    // Two seconds are promised; ten times that is never luck.
    assert!(
        made.elapsed() < Duration::from_secs(20),
        "{:?}",
        made.elapsed()
    );
    assert_eq!(pod.sh("cat /config/a").await, "one");
    pod.end().await;
    // One that waits is let go at once, although the kubelet's call is under way.
    let waits = scene.pod(&json!({"configMap": name("never")})).await;
    waits.event("ObjectMissing").await;
    let told = Instant::now();
    waits.end().await;
    assert!(
        told.elapsed() < Duration::from_mins(1),
        "{:?}: as long as the call may wait",
        told.elapsed()
    );
}

pub async fn two_containers_and_an_init(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let mut manifest = scene.manifest(&json!({"configMap": map}));
    let spec = &mut manifest["spec"];
    let mut second = spec["containers"][0].clone();
    second["name"] = json!("second");
    let mut init = second.clone();
    init["name"] = json!("init");
    init["command"] = json!(["sh", "-c", "cp /config/a /out/seen"]);
    spec["containers"]
        .as_array_mut()
        .expect("a list")
        .push(second);
    spec["initContainers"] = json!([init]);
    let pod = Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    let seen = pod.exec_in("second", &["cat", "/out/seen"]).await;
    assert_eq!(seen.stdout, "one");
    scene.config_map(&map, json!({"a": "two"})).await;
    for container in ["app", "second"] {
        until("each container sees the update", async || {
            let read = pod.exec_in(container, &["cat", "/config/a"]).await;
            (read.stdout == "two").then_some(()).ok_or(read.stdout)
        })
        .await;
    }
    pod.end().await;
}

pub fn restarts(pod: &k8s_openapi::api::core::v1::Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    containers
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .sum()
}

pub async fn a_container_restarts(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let mut manifest = scene.manifest(&json!({"configMap": map}));
    let app = &mut manifest["spec"]["containers"][0];
    app["command"] = json!([
        "sh",
        "-c",
        "until [ -e /out/stop ]; do sleep 0.1; done; rm /out/stop"
    ]);
    let mounts = app["volumeMounts"].as_array_mut().expect("a list");
    mounts.push(json!({"name": "config", "mountPath": "/etc/a.conf", "subPath": "a"}));
    let pod = Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    scene.config_map(&map, json!({"a": "two"})).await;
    says(&pod, "cat /config/a", "two").await;
    pod.sh("touch /out/stop").await;
    pod.until("has restarted", |pod| restarts(pod) == 1).await;
    pod.ready().await;
    assert_eq!(pod.sh("cat /config/a /etc/a.conf").await, "twotwo");
    scene.config_map(&map, json!({"a": "three"})).await;
    says(&pod, "cat /config/a /etc/a.conf", "threethree").await;
    pod.end().await;
}

pub async fn the_kubelet_restarts(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let pod = scene.pod(&json!({"configMap": map})).await;
    pod.ready().await;
    let inode = pod.sh("stat -c %i /config/a").await;
    scene.node.restart_kubelet().await;
    scene.plugin_ready().await;
    scene.config_map(&map, json!({"a": "two"})).await;
    says(&pod, "cat /config/a", "two").await;
    assert_eq!(pod.sh("stat -c %i /config/a").await, inode);
    assert!(pod.get().await.is_some_and(|pod| restarts(&pod) == 0));
    // A pod that is new to it, through the plugin that it found again.
    let another = scene.pod(&json!({"configMap": map})).await;
    another.ready().await;
    another.end().await;
    pod.end().await;
}

pub async fn fifty_pods(scene: &mut Scene) {
    const PODS: usize = 50;
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let mut pods = Vec::new();
    for _ in 0..PODS {
        let mut manifest = scene.manifest(&json!({"configMap": map}));
        // Fifty that run at once are too much for a small machine; each ends when it has read.
        manifest["spec"]["restartPolicy"] = json!("Never");
        manifest["spec"]["containers"][0]["command"] =
            json!(["sh", "-c", "[ \"$(cat /config/a)\" = one ]"]);
        pods.push(Pod::create(&scene.client, &manifest).await);
    }
    for pod in &pods {
        pod.succeeded().await;
    }
    for pod in &pods {
        pod.delete(1).await;
    }
    for pod in &pods {
        pod.gone().await;
    }
}

pub async fn the_status_of_a_pod(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let pod = scene.pod(&json!({"configMap": map})).await;
    pod.ready().await;
    pod.sh("cat /config/a").await;
    let plugin = scene.plugin().await.metadata.name.expect("a name");
    let pods: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(scene.client.clone(), "livemount");
    let maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
        Api::namespaced(scene.client.clone(), "default");
    let version = maps.get(&map).await.expect("it is there").metadata;
    let version = version.resource_version.expect("a version");
    until("the status tells what the pod has read", async || {
        let of = format!("default/{}", pod.name());
        let command = ["/usr/local/bin/livemount", "status", "--pod", &of];
        let said = exec(&pods, &plugin, &command).await?;
        let told = [
            format!("{of}/config at "),
            format!("ConfigMap default/{map}@{version}"),
            "received ".into(),
            "first opened ".into(),
        ];
        if told.iter().all(|words| said.contains(words.as_str())) {
            return Ok(());
        }
        Err(said)
    })
    .await;
    pod.end().await;
}
