//! The flags of `livemount node`, nearly each also a variable of the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::log::Log;
use super::serving::ServingArgs;
use crate::node;
use crate::source::kube as cluster;

/// A name that csi-sanity and the kubelet accept (CSI spec, GetPluginInfo): it begins and ends with a
/// letter, and has at most 63 characters.
fn driver_name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let ends = [text.chars().next(), text.chars().last()];
    let sound = (1..=63).contains(&text.len())
        && text.chars().all(legal)
        && ends.iter().flatten().all(char::is_ascii_alphabetic);
    sound
        .then(|| text.to_owned())
        .ok_or_else(|| "letters, digits, '-' and '.', at most 63, a letter at both ends".to_owned())
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    path.is_absolute()
        .then_some(path)
        .ok_or_else(|| "not an absolute path".to_owned())
}

fn socket(text: &str) -> Result<PathBuf, String> {
    let path = absolute(text)?;
    // The CSI specification wants its endpoints to end like this.
    if path
        .extension()
        .is_some_and(|extension| extension == "sock")
    {
        Ok(path)
    } else {
        Err("a socket's name ends with .sock".to_owned())
    }
}

/// What a node says of flags that one machine has too: its volumes are many.
const DRAIN: &str = "The most milliseconds that an update waits for programs that have just opened a file \
                     and not yet read it; a volume may say another";
const PINNED_VERSIONS: &str = "The most older versions of a volume that open files may keep; beyond it the \
                               oldest reads ESTALE";

// On a node nearly every flag is a variable of the environment too.
#[derive(Debug, ClapArgs)]
#[command(
    mut_arg("drain", |drain| drain.env("LIVEMOUNT_DRAIN").help(DRAIN)),
    mut_arg("pinned_versions", |versions| versions.help(PINNED_VERSIONS))
)]
pub(super) struct Node {
    /// Name of this node in the cluster
    #[arg(long = "node-name", value_name = "NAME", env = "LIVEMOUNT_NODE_NAME")]
    name: String,
    /// Name of the CSI driver, as pods and the CSIDriver object have it
    #[arg(long, value_name = "NAME", env = "LIVEMOUNT_DRIVER_NAME", default_value = "csi.livemount.dev", value_parser = driver_name)]
    driver_name: String,
    /// Where the kubelet is answered; its folder also takes the plugin's own test mount
    #[arg(long, value_name = "PATH", env = "LIVEMOUNT_CSI_SOCKET", default_value = "/csi/csi.sock", value_parser = socket)]
    csi_socket: PathBuf,
    /// The same socket's path as the kubelet sees it, where that is another one
    #[arg(long, value_name = "PATH", env = "LIVEMOUNT_CSI_SOCKET_ON_HOST", value_parser = socket)]
    csi_socket_on_host: Option<PathBuf>,
    /// The kubelet's plugins_registry, where this plugin registers itself
    #[arg(long, value_name = "DIR", env = "LIVEMOUNT_REGISTRATION_DIR", default_value = "/registration", value_parser = absolute)]
    registration_dir: PathBuf,
    /// The kubelet's root folder, at the same path as on the host; volumes are mounted in its pods/
    #[arg(long, value_name = "DIR", env = "LIVEMOUNT_KUBELET_DIR", default_value = "/var/lib/kubelet", value_parser = absolute)]
    kubelet_dir: PathBuf,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "LIVEMOUNT_HTTP",
        default_value = "[::]:9810"
    )]
    http: SocketAddr,
    /// Talk to the API server as this file says; without it as a pod does
    #[arg(long, value_name = "FILE", env = "LIVEMOUNT_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// How many seconds a publish waits for objects that are missing, before it answers why. The
    /// kubelet gives a call 120 seconds
    #[arg(long, value_name = "SECONDS", env = "LIVEMOUNT_PUBLISH_WAIT", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=115))]
    publish_wait: u64,
    #[command(flatten)]
    serving: ServingArgs,
    /// Serve Secrets although this process's memory could be written to a swap device
    #[arg(long, env = "LIVEMOUNT_ALLOW_SWAP")]
    allow_swap: bool,
    /// SELinux context of every file, such as system_u:object_r:container_file_t:s0
    #[arg(long, value_name = "CONTEXT", env = "LIVEMOUNT_SELINUX_CONTEXT")]
    selinux_context: Option<String>,
    #[command(flatten)]
    pub(super) log: Log,
}

impl From<Node> for node::Options {
    fn from(args: Node) -> Self {
        Self {
            node_name: args.name,
            driver_name: args.driver_name,
            csi_socket_on_host: args
                .csi_socket_on_host
                .unwrap_or_else(|| args.csi_socket.clone()),
            csi_socket: args.csi_socket,
            registration_dir: args.registration_dir,
            kubelet_dir: args.kubelet_dir,
            http: args.http,
            cluster: cluster::Options {
                kubeconfig: args.kubeconfig,
                ..cluster::Options::default()
            },
            publish_wait: Duration::from_secs(args.publish_wait),
            settings: args.serving.settings(),
            allow_swap: args.allow_swap,
            selinux_context: args.selinux_context,
            heartbeat: args.serving.heartbeat(),
            keeper: args.serving.keeper.kept_by(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_driver_name_or_socket_is_refused() {
        assert!(driver_name("csi.livemount.dev").is_ok());
        for bad in ["", "1a", "a1", "a b", "-a", "a_b", &"a".repeat(64)] {
            assert!(driver_name(bad).is_err(), "{bad}");
        }
        assert!(socket("/csi/csi.sock").is_ok());
        assert!(socket("csi.sock").is_err() && socket("/csi/csi").is_err());
    }
}
