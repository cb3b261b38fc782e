//! How pods and the plugin end. The last cases: afterwards the plugin is another one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use livemount_cluster::{Pod, until};
use serde_json::json;

use super::processes;
use super::scene::{Scene, name, says};

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
    let pod = Pod::create(&scene.client, &manifest).await;
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

/// Keeper, hand, caretaker and plugin at once: the volumes are lost, and nothing else.
pub async fn all_are_killed(scene: &mut Scene) {
    let map = name("map");
    scene.config_map(&map, json!({"a": "one"})).await;
    let goes = scene.pod(&json!({"configMap": map})).await;
    let stays = scene.pod(&json!({"configMap": map})).await;
    let restarts = restarting(scene, &map).await;
    for pod in [&goes, &stays, &restarts] {
        pod.ready().await;
    }
    let target = target(scene, &restarts);
    let guard = Guard::over(target.clone());
    let all = ["keep", "hand", "caretake", "node"];
    let killed: Vec<i32> = all.into_iter().flat_map(processes::of).collect();
    assert_eq!(killed.len(), 3, "nobody serves beside the plugin");
    processes::kill(&killed);
    // Whether it ends now or later, it must not start with nothing.
    // The command may end with its container.
    let _ended = restarts.exec(&["touch", "/out/stop"]).await;
    goes.end().await;
    until("each of them was started again", async || {
        let anew =
            |command: &&str| matches!(processes::of(command)[..], [pid] if !killed.contains(&pid));
        let back = ["keep", "hand", "node"].iter().all(anew);
        back.then_some(()).ok_or(String::new())
    })
    .await;
    scene.plugin_ready().await;
    // Who lives on is told to be made anew, and can be.
    stays.event("MountLost").await;
    let dead = stays.exec(&["cat", "/config/a"]).await;
    assert_ne!(dead.status, 0, "{dead:?}");
    stays.end().await;
    // The kubelet has it published again, and the container finds that.
    restarts
        .until("has restarted", |pod| super::life::restarts(pod) > 0)
        .await;
    restarts.ready().await;
    scene.config_map(&map, json!({"a": "two"})).await;
    says(&restarts, "cat /config/a", "two").await;
    assert_eq!(restarts.sh("sort -u /out/started").await, "a\n");
    guard.end();
    restarts.end().await;
    let anew = scene.pod(&json!({"configMap": map})).await;
    anew.ready().await;
    assert_eq!(anew.sh("cat /config/a").await, "two");
    anew.end().await;
    none_hangs();
}

/// A pod whose container ends when it is told to, or cannot read its files, and writes down at each start
/// which it found. Until a hand is back one may start with a dead mount, and has an error for it.
async fn restarting(scene: &Scene, map: &str) -> Pod {
    let mut manifest = scene.manifest(&json!({"configMap": map}));
    manifest["spec"]["containers"][0]["command"] = json!([
        "sh",
        "-c",
        "files=$(ls /config) || exit 1
        echo $files >> /out/started
        until [ -e /out/stop ]; do sleep 0.1; done; rm /out/stop"
    ]);
    Pod::create(&scene.client, &manifest).await
}

fn target(scene: &Scene, pod: &Pod) -> PathBuf {
    let folder = scene.node.root().join("pods").join(pod.uid());
    folder.join("volumes/kubernetes.io~csi/config/mount")
}

/// Looks all the time that something is mounted at a target, dead or alive: whoever starts a container while
/// nothing is gives it an empty folder.
struct Guard {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u32>,
}

impl Guard {
    fn over(target: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut bare = 0;
            while !stopped.load(Ordering::Relaxed) {
                bare += u32::from(!mounted(&target));
                std::thread::sleep(Duration::from_millis(2));
            }
            bare
        });
        Self { stop, thread }
    }

    /// Putting a fresh mount in the place of a dead one takes microseconds, which may be seen once.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let bare = self.thread.join().expect("no panic");
        assert!(bare <= 1, "nothing was mounted at {bare} looks");
    }
}

/// No process of ours, and none that reads, is left waiting in the kernel.
fn none_hangs() {
    for process in std::fs::read_dir("/proc").expect("the processes").flatten() {
        let Ok(status) = std::fs::read_to_string(process.path().join("status")) else {
            continue;
        };
        let stat = std::fs::read_to_string(process.path().join("wchan")).unwrap_or_default();
        assert!(
            !(status.contains("State:\tD") && stat.contains("fuse")),
            "{status}{stat}"
        );
    }
}
