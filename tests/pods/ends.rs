//! How pods and the plugin end. The last cases: afterwards the plugin is another one.

use livemount_cluster::until;
use serde_json::json;

use super::scene::{Scene, name};

pub async fn with_files_open(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let mut manifest = scene.manifest(&json!({"configMap": map}));
    // It holds the file, the folder and a working folder, and does not hear SIGTERM.
    manifest["spec"]["containers"][0]["command"] = json!([
        "sh",
        "-c",
        "trap '' TERM; cd /config; exec 3< a; touch /out/open; while :; do sleep 1; done"
    ]);
    let pod = livemount_cluster::Pod::create(&scene.client, &manifest).await;
    pod.ready().await;
    let folder = scene.node.root().join("pods").join(pod.uid());
    assert!(mounted(&folder), "it is mounted below {}", folder.display());
    pod.end().await;
    assert!(!mounted(&folder));
}

/// Whether one of our filesystems is mounted below a folder. Asks no filesystem anything.
fn mounted(folder: &std::path::Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
    let folder = folder.to_str().expect("a text");
    mounts
        .lines()
        .any(|line| line.contains("fuse.livemount") && line.contains(folder))
}

pub async fn plugin_killed(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let pod = scene.pod(&json!({"configMap": map})).await;
    let stays = scene.pod(&json!({"configMap": map})).await;
    pod.ready().await;
    stays.ready().await;
    let plugin = scene.plugin().await;
    let before = restarts(&plugin);
    for process in daemons() {
        let pid = rustix::process::Pid::from_raw(process).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is killed");
    }
    pod.end().await;
    until("the plugin was started again", async || {
        let now = restarts(&scene.plugin().await);
        (now > before)
            .then_some(())
            .ok_or(format!("{now} restarts"))
    })
    .await;
    scene.plugin_ready().await;
    // Who lived on its mounts is told to be made anew, and can be.
    stays.event("MountLost").await;
    stays.end().await;
    let anew = scene.pod(&json!({"configMap": map})).await;
    anew.ready().await;
    assert_eq!(anew.sh("cat /config/a").await, "one");
    anew.end().await;
}

fn restarts(pod: &k8s_openapi::api::core::v1::Pod) -> i32 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    containers.map_or(0, |containers| {
        containers.iter().map(|c| c.restart_count).sum()
    })
}

/// The plugin's processes, its hand too: all that run in this PID namespace under its command line.
fn daemons() -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("the processes");
    let mut daemons = Vec::new();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if command.starts_with(b"/usr/local/bin/livemount\0node\0") {
            daemons.push(pid);
        }
    }
    assert!(!daemons.is_empty(), "the plugin runs here");
    daemons
}
