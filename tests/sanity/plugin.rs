//! `livemount node` as its DaemonSet starts it, and the kubelet's side of its registration.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use livemount_cluster::{Component, until};
use livemount_csi::registration::registration_client::RegistrationClient;
use livemount_csi::registration::{InfoRequest, RegistrationStatus};
use livemount_csi::v1::ProbeRequest;
use livemount_csi::v1::identity_client::IdentityClient;
use tonic::transport::{Channel, Endpoint};

/// The kubelet's root; `enter` has made it an empty folder of this test's own.
pub const KUBELET: &str = "/var/lib/kubelet";
/// An address in the test's own network.
const HTTP: &str = "127.0.0.1:9810";

/// The plugin, until it is dropped.
pub struct Plugin {
    component: Component,
    socket: PathBuf,
    registration: PathBuf,
}

impl Plugin {
    /// Starts it and waits until it says that it is ready for the kubelet.
    pub async fn start(kubeconfig: &Path) -> Self {
        let kubelet = Path::new(KUBELET);
        let registry = kubelet.join("plugins_registry");
        fs::create_dir_all(&registry).expect("the kubelet's folder can be written to");
        let socket = kubelet.join("plugins/csi.livemount.dev/csi.sock");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_livemount"));
        let mut component = Component::new("livemount", program)
            .arg("node")
            .arg("--node-name=n1")
            .arg(format!("--csi-socket={}", socket.display()))
            .arg(format!("--registration-dir={}", registry.display()))
            .arg(format!("--kubelet-dir={KUBELET}"))
            .arg(format!("--http={HTTP}"))
            .arg(format!("--kubeconfig={}", kubeconfig.display()));
        component.start();
        until("the plugin is ready", async || {
            component.check();
            let channel = channel(&socket).await?;
            let probe = IdentityClient::new(channel).probe(ProbeRequest {}).await;
            match probe.map(|probe| probe.into_inner().ready) {
                Ok(Some(true)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        Self {
            component,
            socket,
            registration: registry.join("livemount@csi.livemount.dev-reg.sock"),
        }
    }

    /// The CSI's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The daemon's process.
    #[allow(dead_code, reason = "the benchmark's alone")]
    pub fn pid(&self) -> u32 {
        self.component.pid()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.component.log()).unwrap_or_default()
    }

    /// Does what a kubelet does with a socket in its registry; the plugin is ready for good only then.
    pub async fn register(&self) {
        assert_eq!(readyz(), 503, "no kubelet has said anything yet");
        let channel = channel(&self.registration).await.expect("it listens");
        let mut plugin = RegistrationClient::new(channel);
        let info = plugin.get_info(InfoRequest {}).await.expect("an answer");
        let info = info.into_inner();
        assert_eq!(info.r#type, "CSIPlugin");
        assert_eq!(info.name, "csi.livemount.dev");
        assert_eq!(Path::new(&info.endpoint), self.socket);
        for (plugin_registered, status) in [(false, 503), (true, 200)] {
            let error = if plugin_registered { "" } else { "on purpose" };
            let word = RegistrationStatus {
                plugin_registered,
                error: error.into(),
            };
            let heard = plugin.notify_registration_status(word).await;
            heard.expect("an answer");
            assert_eq!(readyz(), status, "{}", self.log());
        }
    }

    /// Ends it as its pod's end does, after which nothing of it is left.
    pub fn end(&mut self) {
        self.component.terminate();
        for socket in [&self.socket, &self.registration] {
            assert!(!socket.exists(), "{} is still there", socket.display());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts can be listed");
        let below = format!(" {KUBELET}/");
        let left: Vec<&str> = mounts
            .lines()
            .filter(|mount| mount.contains(&below))
            .collect();
        assert!(left.is_empty(), "{left:#?}");
    }
}

/// A connection to a socket.
pub async fn channel(socket: &Path) -> Result<Channel, String> {
    Endpoint::from_shared(format!("unix://{}", socket.display()))
        .map_err(|error| error.to_string())?
        .connect()
        .await
        .map_err(|error| format!("{}: {error}", socket.display()))
}

/// The status of the plugin's answer to `/readyz`.
fn readyz() -> u16 {
    let mut stream = TcpStream::connect(HTTP).expect("the plugin listens");
    let ask = format!("GET /readyz HTTP/1.1\r\nHost: {HTTP}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.unwrap_or_else(|| panic!("no HTTP: {answer}"))
}
