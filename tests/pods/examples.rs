//! The examples, applied as written; what their headings promise is looked at.

use std::path::Path;

use kube::Api;
use kube::api::{ListParams, LogParams, Patch, PatchParams};
use livemount_cluster::{apply_yaml, until};
use serde_json::{Value, json};

use super::scene::{Scene, exec};

type Pods = Api<k8s_openapi::api::core::v1::Pod>;

async fn applied(scene: &Scene, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(file);
    let text = std::fs::read_to_string(path).expect("an example");
    apply_yaml(&scene.client, &text).await;
}

async fn patch(scene: &Scene, kind: &str, name: &str, patch: Value) {
    let patch = Patch::Merge(patch);
    let params = PatchParams::default();
    if kind == "Secret" {
        let api: Api<k8s_openapi::api::core::v1::Secret> =
            Api::namespaced(scene.client.clone(), "default");
        api.patch(name, &params, &patch).await.expect("a patch");
    } else {
        let api: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(scene.client.clone(), "default");
        api.patch(name, &params, &patch).await.expect("a patch");
    }
}

async fn log_has(pods: &Pods, pod: &str, words: &str) {
    until(&format!("the log of {pod} has {words:?}"), async || {
        let log = pods
            .logs(pod, &LogParams::default())
            .await
            .map_err(|error| error.to_string())?;
        log.contains(words).then_some(()).ok_or(log)
    })
    .await;
}

async fn says(pods: &Pods, pod: &str, command: &[&str], expected: &str) {
    until(
        &format!("{pod}: {command:?} says {expected:?}"),
        async || {
            let said = exec(pods, pod, command).await?;
            said.contains(expected).then_some(()).ok_or(said)
        },
    )
    .await;
}

/// The five lines that the README gives, in a pod.
pub async fn of_the_readme(scene: &mut Scene) {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("a README");
    let lines = readme
        .lines()
        .skip_while(|line| *line != "      volumes:")
        .take_while(|line| !line.is_empty());
    // Four blanks make it code, the others are the pod's own.
    let volumes: Vec<&str> = lines.map(|line| &line[4..]).collect();
    assert_eq!(volumes.len(), 6, "{volumes:?}");
    scene.config_map("app", json!({"a": "as written"})).await;
    let pod = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: live-readme
  namespace: default
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: busybox:1.37
    imagePullPolicy: IfNotPresent
    command: [sleep, \"1000000\"]
    volumeMounts:
    - name: config
      mountPath: /etc/app
{}
",
        volumes.join("\n")
    );
    apply_yaml(&scene.client, &pod).await;
    let pods: Pods = Api::namespaced(scene.client.clone(), "default");
    says(&pods, "live-readme", &["cat", "/etc/app/a"], "as written").await;
    pods.delete("live-readme", &kube::api::DeleteParams::default())
        .await
        .expect("it is deleted");
}

pub async fn as_written(scene: &mut Scene) {
    let pods: Pods = Api::namespaced(scene.client.clone(), "default");
    for file in ["pod", "subpath", "projected", "secret", "fsgroup"] {
        applied(scene, &format!("{file}.yaml")).await;
    }

    log_has(&pods, "live-demo", "starts with workers=4").await;
    let watches = ["sh", "-c", "ls -l /proc/[0-9]*/fd"];
    says(&pods, "live-demo", &watches, "inotify").await;
    let data = json!({"data": {"app.properties": "workers=8\n"}});
    patch(scene, "ConfigMap", "live-demo", data).await;
    log_has(&pods, "live-demo", "c /etc/app/app.properties: workers=8\n").await;
    log_has(&pods, "live-demo", "w /etc/app/app.properties: workers=8\n").await;

    says(&pods, "live-subpath", &watches, "inotify").await;
    let data = json!({"data": {"motd": "new\n"}});
    patch(scene, "ConfigMap", "live-subpath", data).await;
    log_has(&pods, "live-subpath", "c /etc/motd: new\n").await;

    let list = ["find", "/etc/app", "-type", "f"];
    says(&pods, "live-projected", &list, "/etc/app/pod/labels").await;
    let data = json!({"extra.conf": "found"});
    scene.config_map("live-projected-extra", data).await;
    says(
        &pods,
        "live-projected",
        &["cat", "/etc/app/extra.conf"],
        "found",
    )
    .await;
    let labels = Patch::Merge(json!({"metadata": {"labels": {"tier": "gold"}}}));
    let params = PatchParams::default();
    pods.patch("live-projected", &params, &labels)
        .await
        .expect("a label");
    let shown = ["cat", "/etc/app/pod/labels"];
    says(&pods, "live-projected", &shown, "tier=\"gold\"").await;

    let password = ["cat", "/run/secrets/db/password"];
    says(&pods, "live-secret", &password, "correct-horse").await;
    let data = json!({"stringData": {"password": "changed"}});
    patch(scene, "Secret", "live-secret", data).await;
    says(&pods, "live-secret", &password, "changed").await;

    let files = ["ls", "-ln", "/etc/app"];
    says(
        &pods,
        "live-fsgroup",
        &files,
        "-r--r-----    1 0        2000",
    )
    .await;

    for pod in ["demo", "subpath", "projected", "secret", "fsgroup"] {
        let deleted = pods
            .delete(&format!("live-{pod}"), &kube::api::DeleteParams::default())
            .await;
        deleted.expect("it is deleted");
    }
    until("the examples are gone", async || {
        let left = pods
            .list(&ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let names: Vec<_> = left
            .iter()
            .filter_map(|pod| pod.metadata.name.as_deref())
            .collect();
        let ours: Vec<_> = names
            .iter()
            .filter(|name| name.starts_with("live-"))
            .collect();
        ours.is_empty().then_some(()).ok_or(format!("{ours:?}"))
    })
    .await;
}
