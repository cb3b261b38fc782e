//! What `livemount node` was asked to do: data, settled by the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::daemon::KeptBy;
use crate::publish::Settings;
use crate::source::kube as cluster;

/// What `livemount node` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name in the cluster.
    pub node_name: String,
    /// The driver's name.
    pub driver_name: String,
    /// Where the kubelet is answered.
    pub csi_socket: PathBuf,
    /// The same socket as the kubelet sees it.
    pub csi_socket_on_host: PathBuf,
    /// The kubelet's folder for plugins that register themselves.
    pub registration_dir: PathBuf,
    /// The kubelet's root folder.
    pub kubelet_dir: PathBuf,
    /// Where health and metrics are served.
    pub http: SocketAddr,
    /// How to reach the API server.
    pub cluster: cluster::Options,
    /// How long a publish waits for what is missing.
    pub publish_wait: Duration,
    /// How commits behave where a volume says nothing else.
    pub settings: Settings,
    /// Whether Secrets are served although memory could be swapped.
    pub allow_swap: bool,
    /// The SELinux context of every file.
    pub selinux_context: Option<String>,
    /// After how long without a sign of life the hand takes this process for dead.
    pub heartbeat: Duration,
    /// Who keeps the volumes for a successor of this process.
    pub keeper: Option<KeptBy>,
}

impl Options {
    /// Where the kubelet has its pods' volumes.
    pub(super) fn pods(&self) -> PathBuf {
        self.kubelet_dir.join("pods")
    }
}
