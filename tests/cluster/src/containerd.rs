//! containerd, which runs the node's containers, and the network that it gives them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::component::Component;
use crate::machine;
use crate::programs::system;
use crate::wait::until;

/// The image of the container that holds a pod's namespaces.
pub(crate) const PAUSE: &str = "livemount.test/pause:1";

/// One containerd with folders and a socket of its own.
#[derive(Debug)]
pub(crate) struct Containerd {
    pub(crate) process: Component,
    socket: PathBuf,
}

impl Containerd {
    pub(crate) async fn start(state: &Path) -> Containerd {
        let folder = state.join("containerd");
        fs::create_dir_all(&folder).expect("the run's folder can be written to");
        let networks = folder.join("net.d");
        fs::create_dir_all(&networks).expect("the run's folder can be written to");
        let network = json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [{
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": machine::PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }],
        });
        fs::write(networks.join("pods.conflist"), network.to_string()).expect("a configuration");
        let config = folder.join("config.toml");
        fs::write(&config, configuration(&folder)).expect("a configuration");
        let mut process = Component::new("containerd", system("containerd"));
        process.args(["--config".to_owned(), config.display().to_string()]);
        let mut containerd = Containerd {
            process,
            socket: folder.join("containerd.sock"),
        };
        containerd.run().await;
        containerd
    }

    /// Starts it, if it does not run, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        if !self.process.is_running() {
            self.process.start();
        }
        until("containerd answers", async || {
            self.process.check();
            self.ctr(&["version"])
        })
        .await;
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Takes in the images of an OCI archive.
    pub(crate) fn import(&self, archive: &Path) {
        let archive = archive.display().to_string();
        self.ctr(&["images", "import", &archive])
            .expect("containerd takes the image");
    }

    /// Runs containerd's own client, among Kubernetes' objects.
    fn ctr(&self, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new(system("ctr"))
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", "k8s.io"])
            .args(arguments)
            .output()
            .map_err(|error| format!("ctr: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

/// A container's score for the kernel's out-of-memory killer is only lowered as far as this machine
/// allows, and AppArmor is left alone: neither is there in every container that tests run in.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    let cni = system("ptp");
    let cni = cni.parent().expect("a program is in a folder").display();
    format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{folder}/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#
    )
}
