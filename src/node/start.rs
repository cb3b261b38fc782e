//! From the options to the running plugin: what has to be there before a second thread is.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::Options;
use super::listen::ListenError;
use super::plugin::Plugin;
use crate::daemon::{self, Daemon, DaemonError};
use crate::observe::Metrics;
use crate::source::kube::KubeError;

/// How many threads read from sockets; volumes have their own.
const THREADS: usize = 2;

/// Why `livemount node` ended with an error.
#[derive(Debug, Error)]
pub enum StartError {
    /// The API server cannot be reached as things are set up.
    #[error(transparent)]
    Cluster(#[from] KubeError),
    /// What every daemon needs could not be started.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A folder is not what it has to be.
    #[error("{what} {}: {source}", .path.display())]
    Folder {
        /// What was to be done.
        what: &'static str,
        /// With which path.
        path: PathBuf,
        /// The machine's answer.
        source: io::Error,
    },
    /// The kubelet cannot be answered.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address for health and metrics cannot be used.
    #[error("--http {address}: {source}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// The machine's answer.
        source: io::Error,
    },
    /// The machine refused something basic.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The machine's answer.
        source: io::Error,
    },
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// Serves until a signal or an error.
///
/// # Errors
///
/// What the plugin needs is not there, or is there no longer.
pub fn run(options: Options) -> Result<(), StartError> {
    daemon::limits();
    let pods = options.pods();
    let own = folder(&options.csi_socket, &pods)?;
    let metrics = Arc::new(Metrics::new());
    let daemon = Daemon::start(daemon::Options {
        roots: vec![own, pods],
        heartbeat: options.heartbeat,
        selinux_context: options.selinux_context.clone(),
        metrics: Some(Arc::clone(&metrics)),
        leave_dead: true,
        keeper: options.keeper.clone(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let plugin = Plugin {
        options,
        metrics,
        daemon,
        taken_over: 0,
    };
    let served = runtime.block_on(plugin.serve());
    // A mount that somebody holds up delays nobody's end; the hand takes everything away.
    runtime.shutdown_background();
    served
}

/// The plugin's own folder, where its socket is and where it tries out mounts.
fn folder(socket: &Path, pods: &Path) -> Result<PathBuf, StartError> {
    let own = socket.parent().unwrap_or_else(|| Path::new("/")).to_owned();
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Folder { what, path, source }
    };
    std::fs::create_dir_all(&own).map_err(failed("make the folder", &own))?;
    // A kubelet that has never run a pod has not made it yet.
    std::fs::create_dir_all(pods).map_err(failed("make the kubelet's folder", pods))?;
    Ok(own)
}
