//! What a container sees of a volume.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use livemount_cluster::{Pod, until};
use serde_json::json;

use super::scene::{Scene, name, says};

pub async fn content_and_modes(scene: &mut Scene) {
    let map = name("map");
    let data = json!({"a.conf": "one", ".hidden": "h", "empty": ""});
    scene.config_map(&map, data).await;
    let pod = scene.pod(&json!({"configMap": map})).await;
    pod.ready().await;
    assert_eq!(pod.sh("ls -A /config").await, ".hidden\na.conf\nempty\n");
    assert_eq!(pod.sh("cat /config/a.conf").await, "one");
    assert_eq!(
        pod.sh("stat -c '%a %u:%g %s' /config/a.conf; stat -c '%a %u:%g' /config")
            .await,
        "644 0:0 3\n777 0:0\n"
    );
    let written = pod.exec(&["sh", "-c", "echo x > /config/a.conf"]).await;
    assert_ne!(written.status, 0);
    assert!(written.stderr.contains("Read-only"), "{written:?}");
    pod.end().await;
}

pub async fn items_folders_and_binary(scene: &mut Scene) {
    let map = name("map");
    // de ca fe ba d0 fe ff, as the conformance test of the in-tree volume has it.
    let more = json!({"data": {"a": "one"}, "binaryData": {"b": "3sr+utD+/w=="}});
    scene.object("ConfigMap", &map, more).await;
    let volume_source = format!(
        "name: {map}\ndefaultMode: 0440\nitems:\n- {{key: a, path: conf/d/a.conf}}\n- {{key: b, path: b, mode: 0400}}\n"
    );
    let pod = scene.pod(&json!({"configMap": volume_source})).await;
    pod.ready().await;
    assert_eq!(
        pod.sh("cd /config && find . | sort").await,
        ".\n./b\n./conf\n./conf/d\n./conf/d/a.conf\n"
    );
    assert_eq!(
        pod.sh("cd /config && stat -c %a conf conf/d/a.conf b")
            .await,
        "755\n440\n400\n"
    );
    assert_eq!(
        pod.sh("od -An -tx1 /config/b").await.trim(),
        "de ca fe ba d0 fe ff"
    );
    pod.end().await;
}

/// Watches files in the container, and returns when the watch is there.
async fn watch(pod: &Pod, paths: &str) {
    pod.sh(&format!(
        "inotifywait -m --format '%w %e' -o /out/events {paths} >/out/log 2>&1 &"
    ))
    .await;
    until("the watch is there", async || {
        let log = pod.sh("cat /out/log").await;
        log.contains("Watches established").then_some(()).ok_or(log)
    })
    .await;
}

pub async fn an_update_is_three_events(scene: &mut Scene) {
    let map = name("map");
    scene
        .config_map(&map, json!({"a": "one", "b": "same"}))
        .await;
    let pod = scene.pod(&json!({"configMap": map})).await;
    pod.ready().await;
    let inode = pod.sh("stat -c %i /config/a").await;
    watch(&pod, "/config/a /config/b").await;
    scene
        .config_map(&map, json!({"a": "two", "b": "same"}))
        .await;
    let three = "/config/a OPEN\n/config/a MODIFY\n/config/a CLOSE_WRITE,CLOSE";
    says(&pod, "cat /out/events", three).await;
    assert_eq!(pod.sh("cat /config/a").await, "two");
    assert_eq!(pod.sh("stat -c %i /config/a").await, inode);
    // The read above is heard as well; nothing else came with the update.
    let events = pod.sh("grep -c MODIFY /out/events").await;
    assert_eq!(events.trim(), "1");
    pod.end().await;
}

pub async fn a_subpath_stays_live(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let mut manifest = scene.manifest(&json!({"configMap": map}));
    manifest["spec"]["containers"][0]["volumeMounts"][0] =
        json!({"name": "config", "mountPath": "/etc/a.conf", "subPath": "a"});
    let pod = Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    watch(&pod, "/etc/a.conf").await;
    for value in ["two", "three"] {
        scene.config_map(&map, json!({"a": value})).await;
        says(&pod, "cat /etc/a.conf", value).await;
    }
    says(&pod, "grep -c MODIFY /out/events", "2").await;
    pod.end().await;
}

pub async fn projected_of_all_three(scene: &mut Scene) {
    let (map, secret) = (name("map"), name("secret"));
    scene.config_map(&map, json!({"a": "one"})).await;
    let more = json!({"stringData": {"password": "hidden"}});
    scene.object("Secret", &secret, more).await;
    let volume_source = format!(
        "defaultMode: 0444
sources:
- configMap: {{name: {map}}}
- secret: {{name: {secret}, items: [{{key: password, path: db/password, mode: 0400}}]}}
- downwardAPI:
    items:
    - {{path: pod/name, fieldRef: {{fieldPath: metadata.name}}}}
    - {{path: pod/app, fieldRef: {{fieldPath: \"metadata.labels['app']\"}}}}
    - {{path: pod/cpu, resourceFieldRef: {{containerName: app, resource: limits.cpu, divisor: 1m}}}}
    - {{path: pod/memory, resourceFieldRef: {{containerName: app, resource: limits.memory, divisor: 1Ki}}}}
"
    );
    let mut manifest = scene.manifest(&json!({"projected": volume_source}));
    manifest["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "250m"}});
    let pod = Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    let all = pod
        .sh("cd /config && for f in $(find . -type f | sort); do echo $f $(stat -c %a $f) $(cat $f); done")
        .await;
    // A limit that nobody set is what the node can allocate, which it tells in whole Ki.
    let nodes: Api<Node> = Api::all(scene.client.clone());
    let node = nodes.get(scene.node.name()).await.expect("the node");
    let allocatable = node.status.and_then(|status| status.allocatable);
    let memory = allocatable.expect("what it can allocate")["memory"]
        .0
        .clone();
    let memory = memory.strip_suffix("Ki").expect("whole Ki").to_owned();
    let expected = format!(
        "./a 444 one\n./db/password 400 hidden\n./pod/app 444 case\n./pod/cpu 444 250\n./pod/memory 444 {memory}\n./pod/name 444 {}\n",
        pod.name()
    );
    assert_eq!(all, expected);
    scene.label(&pod, "app", json!("another")).await;
    says(&pod, "cat /config/pod/app", "another").await;
    scene.config_map(&map, json!({"a": "two"})).await;
    says(&pod, "cat /config/a", "two").await;
    pod.end().await;
}

pub async fn a_script_runs(scene: &mut Scene) {
    let map = name("map");
    let data = json!({"run.sh": "#!/bin/sh\necho ran $1\n"});
    scene.config_map(&map, data).await;
    let volume_source = format!("name: {map}\ndefaultMode: 0755\n");
    let pod = scene.pod(&json!({"configMap": volume_source})).await;
    pod.ready().await;
    assert_eq!(pod.sh("/config/run.sh well").await, "ran well\n");
    pod.end().await;
}

pub async fn another_volume_inside(scene: &mut Scene) {
    let (map, inner) = (name("map"), name("map"));
    scene.config_map(&map, json!({"a": "one"})).await;
    scene.config_map(&inner, json!({"b": "inner"})).await;
    let attributes = json!({"configMap": map, "mountpoints": "extra,deep/er"});
    let mut manifest = scene.manifest(&attributes);
    let spec = &mut manifest["spec"];
    let volumes = spec["volumes"].as_array_mut().expect("a list");
    volumes.push(json!({"name": "inner", "configMap": {"name": inner}}));
    let mounts = spec["containers"][0]["volumeMounts"].as_array_mut();
    let mounts = mounts.expect("a list");
    mounts.push(json!({"name": "inner", "mountPath": "/config/extra"}));
    mounts.push(json!({"name": "out", "mountPath": "/config/deep/er"}));
    let pod = Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    assert_eq!(pod.sh("cat /config/extra/b").await, "inner");
    assert_eq!(
        pod.sh("echo w > /config/deep/er/x; cat /out/x").await,
        "w\n"
    );
    scene.config_map(&map, json!({"a": "two"})).await;
    says(&pod, "cat /config/a", "two").await;
    pod.end().await;
}
