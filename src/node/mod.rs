//! `livemount node`: a CSI node plugin. Pods' volumes come in as gRPC calls, their objects from the
//! API server; engine, publisher, hand and filesystem are those of `livemount mount`.
//!
//! Brings the rooms together and owns none of their decisions. The loop is in `serve`.

mod allocatable;
mod attributes;
pub mod error;
mod grpc;
mod identity;
mod listen;
mod node_service;
mod orphaned_volumes;
pub mod publish_request;
mod registration;
mod serve;
mod slot;
mod swap_space;
mod terminating_pods;
pub mod volumes;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::engine::Engine;
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_hand::{ClientOptions, Hand, HandError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon;
use crate::observe::{self, Facts, Metrics, PodEvents};
use crate::publish::{self, PublishError, Publisher, Settings};
use crate::source::kube::{self as cluster, Cluster, KubeError, Reason};
use crate::status;
use attributes::Rules;
use identity::Identity;
use listen::{ListenError, Services, Sockets};
use node_service::NodeService;
use observe::http::Heartbeat;
use registration::{Registered, Registration};
use serve::{Parts, Serve};

pub use error::NodeError;
pub use publish_request::{PodRef, PublishRequest, Stats};
pub use volumes::Volumes;

/// How many threads read from sockets; volumes have their own.
const THREADS: usize = 2;
/// How soon a first mount that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// After how long without a turn the event loop is taken for stuck.
const TURN: Duration = Duration::from_secs(30);

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
}

impl Options {
    /// Where the kubelet has its pods' volumes.
    fn pods(&self) -> PathBuf {
        self.kubelet_dir.join("pods")
    }
}

/// Why `livemount node` ended with an error.
#[derive(Debug, Error)]
pub enum StartError {
    /// The API server cannot be reached as things are set up.
    #[error(transparent)]
    Cluster(#[from] KubeError),
    /// The hand could not be started or could not do its part.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The publisher could not be started.
    #[error(transparent)]
    Publish(#[from] PublishError),
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

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// Serves until a signal or an error.
pub fn run(options: Options) -> Result<(), StartError> {
    daemon::limits();
    let pods = options.pods();
    let own = folder(&options.csi_socket, &pods)?;
    // The hand is forked off before this process has a second thread.
    let hand = Hand::start(ClientOptions {
        // This very program, also after an upgrade has replaced its file.
        program: "/proc/self/exe".into(),
        args: vec!["hand".into()],
        roots: vec![own, pods],
        heartbeat: options.heartbeat,
        selinux_context: options.selinux_context.clone(),
    })?;
    let metrics = Arc::new(Metrics::new());
    let (facts, _ended) = daemon::observe_apart(Some(Arc::clone(&metrics)))
        .map_err(system("start the log's thread"))?;
    let key = daemon::hash_key().map_err(system("read random bytes"))?;
    let publisher = Publisher::new(hand.clone(), key, facts.clone())?;
    // Without it the files are served all the same.
    let _status = status::Server::start(publisher.clone())
        .inspect_err(|error| warn!("{error}"))
        .ok();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let node = Node {
        options,
        hand,
        metrics,
        facts,
        key,
        publisher,
    };
    let served = runtime.block_on(node.serve());
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

/// All that was started before the event loop.
struct Node {
    options: Options,
    hand: Hand,
    metrics: Arc<Metrics>,
    facts: Facts,
    key: HashKey,
    publisher: Publisher,
}

impl Node {
    async fn serve(self) -> Result<(), StartError> {
        let options = &self.options;
        let mut stop = signal(SignalKind::terminate()).map_err(system("listen for signals"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(system("listen for signals"))?;
        // Before the first publish, or a volume that is well would be taken for lost.
        let lost = orphaned_volumes::find(&options.pods(), &options.driver_name);
        let cluster = Cluster::connect(&options.cluster).await?;
        let events = PodEvents::start(
            cluster.client(),
            &options.driver_name,
            &options.node_name,
            Arc::clone(&self.metrics),
        );
        let node = options.node_name.clone();
        tokio::spawn(orphaned_volumes::tell(
            lost,
            cluster.client(),
            node,
            events.clone(),
        ));
        let (volumes, asked) =
            Volumes::new(self.hand.clone(), options.publish_wait, options.allow_swap);
        let registered = Registered::default();
        let heartbeat = Heartbeat::new(TURN);
        self.tell_http(&volumes, &registered, &heartbeat).await?;
        allocatable::learn(&cluster, &options.node_name).await;
        let (source, heard) = cluster.source();
        self.measure(&source, &volumes);
        let parts = Parts {
            engine: Engine::new(self.key),
            source,
            publisher: self.publisher.clone(),
            hand: self.hand.clone(),
            facts: self.facts.clone(),
            events,
            volumes: volumes.clone(),
            heartbeat,
            client: cluster.client(),
            node: options.node_name.clone(),
        };
        let serving = tokio::spawn(Serve::run(parts, asked, heard));
        let ending = CancellationToken::new();
        let answering = self.answer(&volumes, registered, ending.clone());
        tokio::pin!(answering);
        tokio::select! {
            _ = stop.recv() => info!("SIGTERM: the plugin ends, and with it its mounts"),
            _ = interrupt.recv() => info!("SIGINT: the plugin ends, and with it its mounts"),
            _ = serving => warn!("the event loop has ended"),
            answered = &mut answering => return answered,
        }
        ending.cancel();
        answering.await
    }

    /// Serves health and metrics, from the start on.
    async fn tell_http(
        &self,
        volumes: &Volumes,
        registered: &Registered,
        heartbeat: &Heartbeat,
    ) -> Result<(), StartError> {
        let address = self.options.http;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| StartError::Http { address, source })?;
        let heartbeat = heartbeat.clone();
        let (volumes, registered) = (volumes.clone(), registered.clone());
        tokio::spawn(observe::http::serve(
            listener,
            Arc::clone(&self.metrics),
            move || heartbeat.check(),
            move || volumes.ready().and_then(|()| registered.ready()),
        ));
        Ok(())
    }

    /// Answers the kubelet, as soon as a mount has worked.
    async fn answer(
        &self,
        volumes: &Volumes,
        registered: Registered,
        ending: CancellationToken,
    ) -> Result<(), StartError> {
        let options = &self.options;
        tokio::select! {
            () = self.try_out(volumes) => {}
            () = ending.cancelled() => return Ok(()),
        }
        let (driver, node) = (options.driver_name.as_str(), options.node_name.as_str());
        let sockets = Sockets::bind(&options.csi_socket, &options.registration_dir, driver)?;
        let services = Services {
            identity: Identity::new(volumes.clone(), driver),
            node: NodeService::new(
                volumes.clone(),
                Rules::new(options.pods(), options.settings),
                node,
                Arc::clone(&self.metrics),
            ),
            registration: Registration::new(driver, options.csi_socket_on_host.clone(), registered),
        };
        let socket = options.csi_socket.display();
        info!(node, driver, "ready for the kubelet at {socket}");
        Ok(listen::serve(sockets, services, ending).await?)
    }

    /// Returns when a mount has worked here, so that the first pod is not the one to find out.
    async fn try_out(&self, volumes: &Volumes) {
        let target = self.options.csi_socket.with_file_name("probe");
        loop {
            let (publisher, target) = (self.publisher.clone(), target.clone());
            let empty = Snapshot::empty(&self.key);
            let tried = move || serve::try_mount(&publisher, &target, empty);
            match tokio::task::spawn_blocking(tried).await {
                Ok(Ok(())) => return volumes.has_mounted(),
                Ok(Err(error)) => warn!("a first mount failed, the kubelet has to wait: {error}"),
                Err(fault) => warn!("a first mount failed, the kubelet has to wait: {fault}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Has the metrics look at what is only known when it is asked for.
    fn measure(&self, source: &cluster::KubeSource, volumes: &Volumes) {
        let (hand, facts) = (self.hand.clone(), self.facts.clone());
        let (publisher, source) = (self.publisher.clone(), source.clone());
        let volumes = volumes.clone();
        self.metrics.provide(move |now| {
            let hand = hand.status();
            now.hand_up = hand.up;
            now.hand_restarts = hand.restarts;
            now.hand_busy = hand.busy.into();
            now.hand_late = hand.late.into();
            now.facts_lost = facts.lost();
            now.publishes_waiting = volumes.waiting();
            let (mut pinned, mut bytes) = (0, 0);
            for volume in publisher.stats() {
                now.volumes += 1;
                now.volumes_in_trouble += u64::from(volume.has_condition);
                now.behind = now.behind.max(volume.behind);
                pinned += volume.pinned_versions;
                bytes += volume.pinned_bytes;
            }
            now.pinned_versions = pinned;
            now.pinned_bytes = bytes;
            now.failing_objects = volumes.failing();
            let source = source.status();
            now.watches = source.watches as u64;
            now.watch_connections = source.connections as u64;
            let named = |(reason, count): &(Reason, u64)| (reason.name(), *count);
            now.watch_restarts = source.restarts.iter().map(named).collect();
            let failed = |(reason, _): &&(Reason, u64)| reason.is_failure();
            now.api_errors = source.restarts.iter().filter(failed).map(named).collect();
            now.kernel_lacks = publish::kernel_lacks().to_vec();
        });
    }
}
