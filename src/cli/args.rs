//! What can be said on the command line. Data alone: `mount` meets the machine with it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use livemount_engine::object::Kind;

use super::log::Log;
use super::serving::ServingArgs;
use crate::caretake;
use crate::daemon::KeptBy;
use crate::mount::{self, SourceArg};
use crate::publish::{Compat, Settings};
use crate::yaml;

/// Configuration as live files: `ConfigMaps` and Secrets on a filesystem that changes in place.
#[derive(Debug, Parser)]
#[command(
    name = "livemount",
    version,
    about = "Configuration as live files: ConfigMaps and Secrets on a filesystem that changes in place",
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve ConfigMaps and Secrets of a manifest file or folder at a mountpoint, until stopped
    #[command(after_help = MOUNT_EXAMPLES)]
    Mount(Mount),
    /// Serve pods' volumes as a CSI node plugin, one process on each node of a cluster
    Node(Box<super::node::Node>),
    /// Say what is served on this machine, which version is current, and when which was read
    Status(Status),
    /// End the connection of one volume whose users hang: they get an error. The last resort
    Abort(Abort),
    /// End a mount that a keeper holds, whether or not a daemon serves it
    Unmount(Unmount),
    /// Serve what a daemon has left, as it is, until a daemon comes; started by the keeper
    #[command(hide = true)]
    Caretake(Caretake),
    /// Hold what a daemon serves while none runs, so that restarts and upgrades go unnoticed
    Keep(super::keep::Keep),
    /// Touch mounts for daemons that come and go: the one process that needs privileges
    Hand(Hand),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Status {
    /// How it is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Only what this pod's volumes show
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = pod)]
    pub(super) pod: Option<String>,
}

fn pod(text: &str) -> Result<String, String> {
    let sound = text
        .split_once('/')
        .is_some_and(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
    sound
        .then(|| text.to_owned())
        .ok_or_else(|| "write NAMESPACE/NAME".to_owned())
}

const MOUNT_EXAMPLES: &str = "\
Examples:
  livemount mount app.yaml /tmp/app
  livemount mount --secret db-password all.yaml /run/secrets/db
  livemount mount --volume volume.yaml manifests/ /etc/app
  livemount mount --configmap app kube:default /etc/app

A volume is written as in a pod spec:
  projected:
    sources:
    - configMap: {name: app, items: [{key: app.conf, path: conf/app.conf, mode: 0400}]}
    - secret: {name: db, optional: true}

Edit the manifest with any editor: each save becomes one update of the files.
Watch it:  inotifywait -m /tmp/app/app.properties";

/// The largest group that a pod may have (`IsValidGroupID`, apimachinery).
const MAX_GROUP: i64 = i32::MAX as i64;

fn namespace(text: &str) -> Result<String, String> {
    match yaml::name::label(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(why) => Err(format!("not a legal name: {why}")),
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Mount {
    /// Manifest file, YAML or JSON, with ConfigMaps and Secrets; or a folder of such files; or
    /// kube:NAMESPACE, for the cluster that the kubeconfig names
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// Folder to mount on; made if it is missing and taken away at the end, must be empty otherwise
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,
    /// Serve this ConfigMap, where SOURCE holds more than one object
    #[arg(long, value_name = "NAME", conflicts_with = "secret")]
    configmap: Option<String>,
    /// Serve this Secret, where SOURCE holds more than one object
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// Serve the volume that this file describes in the words of a pod spec: configMap, secret or
    /// projected, with items, modes and optional; read once
    #[arg(long, value_name = "FILE", conflicts_with_all = ["configmap", "secret"])]
    volume: Option<PathBuf>,
    /// Namespace of the objects that are served, and of those in SOURCE that name none
    #[arg(long, value_name = "NS", default_value = "default", value_parser = namespace)]
    namespace: String,
    /// Group that owns every file and may read it, as a pod's fsGroup
    #[arg(long, value_name = "GID", value_parser = clap::value_parser!(u32).range(..=MAX_GROUP))]
    fs_group: Option<u32>,
    /// Mount although MOUNTPOINT is not empty; what it holds is hidden meanwhile
    #[arg(long)]
    over: bool,
    #[command(flatten)]
    serving: ServingArgs,
    /// For programs that wait for `..data` alone (configmap-reload, Linkerd, Envoy watched_directory):
    /// each update ends with one MOVED_TO of that name
    #[arg(long, value_name = "WHAT", value_enum)]
    compat: Option<CompatArg>,
    #[command(flatten)]
    pub(super) log: Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompatArg {
    Dotdata,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Unmount {
    /// Folder of the keeper
    #[arg(long, value_name = "DIR", env = "LIVEMOUNT_KEEPER")]
    pub(super) keeper: PathBuf,
    /// The mountpoint; where it is not given, whatever the keeper holds
    #[arg(value_name = "MOUNTPOINT")]
    pub(super) mountpoint: Option<PathBuf>,
    #[command(flatten)]
    pub(super) log: Log,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Abort {
    /// The volume's name, as `livemount status` has it, or its target
    #[arg(value_name = "VOLUME")]
    pub(super) volume: String,
    #[command(flatten)]
    pub(super) log: Log,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Caretake {
    /// Folder of the keeper
    #[arg(long, value_name = "DIR", env = "LIVEMOUNT_KEEPER")]
    keeper: PathBuf,
    /// After how many milliseconds without a sign of life the hand is given up
    #[arg(long, value_name = "MS", default_value_t = 10_000, hide = true, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    heartbeat: u64,
    #[command(flatten)]
    pub(super) log: Log,
}

impl From<Caretake> for caretake::Options {
    fn from(args: Caretake) -> Self {
        Self {
            keeper: KeptBy::Folder(args.keeper),
            heartbeat: Duration::from_millis(args.heartbeat),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Hand {
    /// Folder of the socket hand.sock, on which daemons of the same user are served, one at a time, the
    /// newest first; made if its parent is there. What they mounted stays when they end. Without it the
    /// hand is the child of the daemon that its standard input leads to, and ends with it
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Folder beneath which may be mounted, and no other; may be given several times
    #[arg(long = "root", value_name = "DIR", required = true, value_parser = absolute())]
    roots: Vec<PathBuf>,
    /// After how many milliseconds without a sign of life a daemon's connection is given up; a daemon
    /// whose child this is, is then killed
    #[arg(long, value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    heartbeat: u64,
    /// Clone as kernels before 6.15 need it, whatever this kernel can do
    #[arg(long, hide = true)]
    clone_attached: bool,
    /// Leave dead mounts at their targets, so that no container starts on an empty folder; the next publish
    /// takes them away
    #[arg(long)]
    leave_dead: bool,
    /// The SELinux context of every file; what the kernel takes for FUSE where none is given
    #[arg(long, value_name = "CONTEXT", env = "LIVEMOUNT_SELINUX_CONTEXT")]
    selinux_context: Option<String>,
    #[command(flatten)]
    pub(super) log: Log,
}

fn absolute() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if path.is_absolute() {
            Ok(path)
        } else {
            Err("not an absolute path")
        }
    })
}

impl From<Mount> for mount::Options {
    fn from(args: Mount) -> Self {
        let select = match (args.configmap, args.secret) {
            (Some(name), _) => Some((Kind::ConfigMap, name)),
            (None, Some(name)) => Some((Kind::Secret, name)),
            (None, None) => None,
        };
        let (source, namespace) = match args.source.to_str().and_then(|s| s.strip_prefix("kube:")) {
            // What is no name is told where it is used (`mount::select`).
            Some("") => (SourceArg::Cluster, args.namespace),
            Some(namespace) => (SourceArg::Cluster, namespace.to_owned()),
            None => (SourceArg::Manifests(args.source), args.namespace),
        };
        Self {
            source,
            select,
            volume: args.volume,
            namespace,
            fs_group: args.fs_group,
            mountpoint: args.mountpoint,
            over: args.over,
            settings: Settings {
                compat: match args.compat {
                    Some(CompatArg::Dotdata) => Compat::Dotdata,
                    None => Compat::None,
                },
                ..args.serving.settings()
            },
            heartbeat: args.serving.heartbeat(),
            keeper: args.serving.keeper.kept_by(),
        }
    }
}

impl From<Hand> for livemount_hand::process::HandArgs {
    fn from(args: Hand) -> Self {
        Self {
            dir: args.dir,
            roots: args.roots,
            heartbeat: Duration::from_millis(args.heartbeat),
            clone_attached: args.clone_attached,
            leave_dead: args.leave_dead,
            selinux_context: args.selinux_context,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
