//! `livemount mount kube:NAMESPACE` on a plain host: the same source, without a kubelet.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use livemount_cluster::{ADMIN, Component, until};

use crate::scene::{Room, plane, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_plain_host_mounts_an_object_of_a_cluster", mounted),
        trial("a_plain_host_names_what_it_wants_of_a_cluster", named),
    ]
}

/// `livemount mount` with this kubeconfig, as a user has it in the environment.
fn livemount(name: &str, kubeconfig: &Path, arguments: &[&str]) -> Component {
    let mut mount = Component::new(name, PathBuf::from("/usr/bin/env"))
        .arg(format!("KUBECONFIG={}", kubeconfig.display()))
        .arg(env!("CARGO_BIN_EXE_livemount"))
        .arg("mount");
    mount.args(arguments.iter().copied());
    mount
}

async fn mounted() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "plain").await;
    let kubeconfig = plane.api.kubeconfig(ADMIN);
    let mountpoint = Path::new("/run/plain");
    let arguments = ["--configmap", "app", "kube:plain", "/run/plain"];
    let mut mount = livemount("mount", &kubeconfig, &arguments);
    mount.start();
    // It is waited for, and said so.
    until("it says what it waits for", async || {
        mount.check();
        let log = fs::read_to_string(mount.log()).unwrap_or_default();
        let waits = "waiting for ConfigMap plain/app in kube:plain";
        log.contains(waits).then_some(()).ok_or(log)
    })
    .await;
    for value in ["one", "two"] {
        room.put("app", value).await;
        until("the file is the object's", async || {
            mount.check();
            let file = fs::read_to_string(mountpoint.join("k"));
            let text = file.map_err(|error| error.to_string())?;
            (text == value).then_some(()).ok_or(text)
        })
        .await;
    }
    mount.terminate();
    assert!(!mountpoint.exists());
}

async fn named() {
    let kubeconfig = plane().await.api.kubeconfig(ADMIN);
    for (arguments, sentence) in [
        (
            ["kube:plain", "/run/unnamed"],
            "a cluster holds many objects; choose with --configmap, --secret or --volume",
        ),
        (
            ["kube:Not/One", "/run/unnamed"],
            "kube:Not/One: not a legal name: it takes a-z",
        ),
    ] {
        let mut mount = livemount("unnamed", &kubeconfig, &arguments);
        mount.start();
        until("it has ended with a sentence", async || {
            let log = fs::read_to_string(mount.log()).unwrap_or_default();
            let ended = !mount.is_running() && log.contains(sentence);
            ended.then_some(()).ok_or(log)
        })
        .await;
    }
}
