//! Restarts, upgrades and crashes of the plugin and of its keeper, beneath pods that read and watch.

use livemount_cluster::until;
use serde_json::json;

use super::processes;
use super::rollout::{FIRST, NOWHERE, Part, SECOND};
use super::scene::{Scene, name, says};
use super::witness::Witness;

const NO_IMAGE: &[&str] = &["ErrImagePull", "ImagePullBackOff"];
const CRASH: &[&str] = &["CrashLoopBackOff"];

pub async fn the_plugin_goes(scene: &mut Scene) {
    let mut witness = Witness::start(scene).await;
    scene.replace_pod(Part::Node).await;
    witness.change(scene).await;
    witness.sees().await;
    let killed = processes::one("node");
    processes::kill(&[killed]);
    witness.change(scene).await;
    witness.sees().await;
    assert_ne!(processes::one("node"), killed);
    witness.end("the plugin deleted, then killed").await;
}

pub async fn without_privileges(scene: &mut Scene) {
    // All that the other cases do is done by these.
    for command in ["node", "keep"] {
        let pid = processes::one(command);
        for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
            let held = processes::status(pid, set);
            assert!(held.chars().all(|c| c == '0'), "{command}: {set} {held}");
        }
        assert_eq!(processes::status(pid, "NoNewPrivs"), "1", "{command}");
        // A filter of system calls.
        assert_eq!(processes::status(pid, "Seccomp"), "2", "{command}");
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo"));
        let mounts = mounts.expect("it runs");
        let shared: Vec<_> = mounts
            .lines()
            .filter(|line| line.contains(" shared:"))
            .collect();
        assert!(shared.is_empty(), "{command}: {shared:?}");
        let root = mounts
            .lines()
            .find(|line| line.split(' ').nth(4) == Some("/"));
        let options = root.and_then(|root| root.split(' ').nth(5));
        assert!(
            options.is_some_and(|options| options.split(',').any(|option| option == "ro")),
            "{command}: {root:?}"
        );
    }
    assert_ne!(
        processes::status(processes::one("hand"), "CapEff"),
        "0000000000000000",
        "the test sees capabilities"
    );
    scene.plugin_ready().await;
}

pub async fn images_that_do_not_start(scene: &mut Scene) {
    let crashes = scene.crashing_image();
    let mut witness = Witness::start(scene).await;
    for (image, reasons) in [(crashes, CRASH), (NOWHERE, NO_IMAGE)] {
        scene.set_image(Part::Node, image).await;
        scene.fails_to_start(Part::Node, image, reasons).await;
        // Nobody could read anything now if it were not for the caretaker.
        let caretaker = processes::one("caretake");
        witness.change(scene).await;
        witness.reads_on().await;
        assert_eq!(processes::one("caretake"), caretaker);
        scene.set_image(Part::Node, FIRST).await;
        witness.sees().await;
        scene.rolled_out(Part::Node, FIRST).await;
    }
    witness.end("images that crash and are not there").await;
}

pub async fn the_keeper_goes(scene: &mut Scene) {
    let mut witness = Witness::start(scene).await;
    scene.replace_pod(Part::Keeper).await;
    witness.change(scene).await;
    witness.sees().await;
    // What the plugin served is with the new one.
    scene.replace_pod(Part::Node).await;
    witness.change(scene).await;
    witness.sees().await;
    // With no keeper at all the plugin alone has it, and stays although it is told to end. What happens
    // meanwhile is brought when there is a hand again.
    scene.delete_set(Part::Keeper).await;
    let plugin = processes::one("node");
    scene.tell_to_end(Part::Node).await;
    scene
        .log_has(Part::Node, "nobody else has the mounts")
        .await;
    witness.change(scene).await;
    witness.reads_on().await;
    assert_eq!(processes::one("node"), plugin);
    scene.set_image(Part::Keeper, FIRST).await;
    scene.rolled_out(Part::Keeper, FIRST).await;
    scene.rolled_out(Part::Node, FIRST).await;
    assert_ne!(processes::one("node"), plugin);
    witness.change(scene).await;
    witness.sees().await;
    witness
        .end("the keeper deleted, then the plugin, then the keeper for good")
        .await;
}

pub async fn both_are_changed(scene: &mut Scene) {
    let mut witness = Witness::start(scene).await;
    scene.set_images(SECOND).await;
    scene.node.restart_kubelet().await;
    witness.change(scene).await;
    for part in [Part::Keeper, Part::Node] {
        scene.rolled_out(part, SECOND).await;
    }
    witness.sees().await;
    // A mistake in the name of the image is one in both.
    scene.set_images(NOWHERE).await;
    for part in [Part::Keeper, Part::Node] {
        scene.fails_to_start(part, NOWHERE, NO_IMAGE).await;
    }
    witness.change(scene).await;
    witness.reads_on().await;
    scene.set_images(FIRST).await;
    for part in [Part::Keeper, Part::Node] {
        scene.rolled_out(part, FIRST).await;
    }
    witness.sees().await;
    witness.end("both changed in one apply").await;
}

pub async fn a_pod_goes_meanwhile(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let pod = scene.pod(&json!({"configMap": map})).await;
    pod.ready().await;
    scene.set_image(Part::Node, NOWHERE).await;
    scene.fails_to_start(Part::Node, NOWHERE, NO_IMAGE).await;
    assert_eq!(pod.sh("cat /config/a").await, "one");
    pod.delete(1).await;
    scene.set_image(Part::Node, FIRST).await;
    pod.gone().await;
    scene.rolled_out(Part::Node, FIRST).await;
}

pub async fn a_target_is_healed(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let mut manifest = scene.manifest(&json!({"configMap": map}));
    manifest["spec"]["containers"][0]["command"] = json!([
        "sh",
        "-c",
        "until [ -e /out/stop ]; do sleep 0.1; done; rm /out/stop"
    ]);
    let pod = livemount_cluster::Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    let target = scene.node.root().join("pods").join(pod.uid());
    let target = target.join("volumes/kubernetes.io~csi/config/mount");
    let flags = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(&target, flags).expect("it is mounted");
    // The kubelet asks again in its own time, a minute and more, and at once for a pod that was changed.
    scene.label(&pod, "touched", json!("once")).await;
    until("the target shows the volume again", async || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let there = mounts.contains(target.to_str().expect("a text"));
        there.then_some(()).ok_or(String::new())
    })
    .await;
    // A container that starts now gets what is there, and that is live.
    // The command may end with its container.
    let _ended = pod.exec(&["touch", "/out/stop"]).await;
    pod.until("has restarted", |pod| super::life::restarts(pod) == 1)
        .await;
    pod.ready().await;
    assert_eq!(pod.sh("cat /config/a").await, "one");
    scene.config_map(&map, json!({"a": "two"})).await;
    says(&pod, "cat /config/a", "two").await;
    pod.end().await;
}
