//! Who may read what.

use kube::Api;
use kube::api::{LogParams, Patch, PatchParams};
use livemount_cluster::{Pod, apply};
use serde_json::{Value, json};

use super::scene::{Scene, name, says};

pub async fn not_root_with_fs_group(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let volume_source = format!("name: {map}\ndefaultMode: 0400\n");
    let mut manifest = scene.manifest(&json!({"configMap": volume_source}));
    manifest["spec"]["securityContext"] =
        json!({"runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000});
    manifest["spec"]["containers"][0]["securityContext"] = json!({
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
    });
    let pod = Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    assert_eq!(
        pod.sh("id -u; stat -c '%a %u:%g' /config /config/a; cat /config/a")
            .await,
        "1000\n2777 0:2000\n440 0:2000\none"
    );
    scene.config_map(&map, json!({"a": "two"})).await;
    says(&pod, "cat /config/a", "two").await;
    pod.end().await;
}

pub async fn a_secret(scene: &mut Scene) {
    let secret = name("secret");
    let value = |value: &str| json!({"stringData": {"password": value}});
    scene.object("Secret", &secret, value("hunter-one")).await;
    let volume_source = format!("secretName: {secret}\ndefaultMode: 0400\n");
    let pod = scene.pod(&json!({"secret": volume_source})).await;
    pod.ready().await;
    assert_eq!(pod.sh("cat /config/password").await, "hunter-one");
    assert_eq!(pod.sh("stat -c %a /config/password").await, "400\n");
    scene.object("Secret", &secret, value("hunter-two")).await;
    says(&pod, "cat /config/password", "hunter-two").await;
    // Neither the plugin's log nor an event nor a metric tells it.
    let plugin = scene.plugin().await.metadata.name.expect("a name");
    let pods: Api<k8s_openapi::api::core::v1::Pod> =
        Api::namespaced(scene.client.clone(), "livemount");
    let log = pods
        .logs(&plugin, &LogParams::default())
        .await
        .expect("a log");
    let told = format!("{log} {:?}", pod.events().await);
    assert!(told.contains(&secret) && !told.contains("hunter"), "{told}");
    pod.end().await;
}

/// The name of a ConfigMap in a namespace that is not the pods'.
async fn theirs(scene: &Scene) -> String {
    scene.node.namespace("other").await;
    let map = name("map");
    apply(
        &scene.client,
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map, "namespace": "other"}, "data": {"a": "theirs"}}),
    )
    .await;
    map
}

pub async fn another_namespace(scene: &mut Scene) {
    let map = theirs(scene).await;
    // What the kubelet says of the pod wins over what the pod says of itself.
    let attributes = json!({"configMap": map, "csi.storage.k8s.io/pod.namespace": "other"});
    let pod = scene.pod(&attributes).await;
    let event = pod.event("ObjectMissing").await;
    assert!(
        event.contains(&format!("ConfigMap default/{map}")),
        "{event}"
    );
    // Nor does a path lead there.
    let volume_source = format!("name: ../other/{map}\n");
    let forged = scene.pod(&json!({"configMap": volume_source})).await;
    forged.event("FailedMount").await;
    for pod in [pod, forged] {
        assert!(pod.get().await.is_some_and(|pod| pending(&pod)));
        pod.end().await;
    }
}

fn pending(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Pending")
}

async fn set_pod_info(scene: &Scene, given: bool) {
    let drivers: Api<k8s_openapi::api::storage::v1::CSIDriver> = Api::all(scene.client.clone());
    let patch: Value = json!({"spec": {"podInfoOnMount": given}});
    drivers
        .patch(
            "csi.livemount.dev",
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
        .expect("it is patched");
}

pub async fn without_pod_info(scene: &mut Scene) {
    let map = theirs(scene).await;
    set_pod_info(scene, false).await;
    // The kubelet learns of it by its own watch; until then a pod of another case would be refused.
    let plain = scene.pod(&json!({"configMap": map})).await;
    let refused = plain.event("podInfoOnMount").await;
    assert!(refused.starts_with("FailedMount"), "{refused}");
    let forged = scene
        .pod(&json!({
            "configMap": map,
            "csi.storage.k8s.io/pod.name": "x",
            "csi.storage.k8s.io/pod.namespace": "other",
            "csi.storage.k8s.io/pod.uid": "00000000-0000-0000-0000-000000000000",
            "csi.storage.k8s.io/serviceAccount.name": "default",
            "csi.storage.k8s.io/ephemeral": "true",
        }))
        .await;
    let refused = forged.event("FailedMount").await;
    assert!(refused.contains("InvalidArgument"), "{refused}");
    for pod in [plain, forged] {
        assert!(pod.get().await.is_some_and(|pod| pending(&pod)));
        pod.end().await;
    }
    set_pod_info(scene, true).await;
    // And again: a pod of one's own is published as soon as the kubelet has heard of it.
    let own = name("map");
    scene.config_map(&own, json!({"a": "ours"})).await;
    let pod = scene.pod(&json!({"configMap": own})).await;
    pod.ready().await;
    assert_eq!(pod.sh("cat /config/a").await, "ours");
    pod.end().await;
}
