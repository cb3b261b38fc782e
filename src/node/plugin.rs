//! The running plugin: what is started once there is an event loop, in which order, and in which order it
//! ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::engine::Engine;
use livemount_engine::snapshot::Snapshot;
use livemount_hand::Unbind;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::attributes::Rules;
use super::identity::Identity;
use super::listen::{self, Services, Sockets};
use super::node_service::NodeService;
use super::registration::{Registered, Registration};
use super::start::{StartError, system};
use super::{
    Options, PodVolumes, allocatable, gauges, node_event, orphaned_volumes, take_up,
    terminating_pods,
};
use crate::daemon::{Daemon, LEAVE};
use crate::kept::Kept;
use crate::observe::http::Heartbeat;
use crate::observe::{self, Metrics, PodEvents};
use crate::publish::{NewVolume, Publisher, Settings};
use crate::source::kube::Cluster;
use crate::source::{Mailbox, Sources};
use crate::volumes::{AskPods, CallError, Driver, Parts, Policy, Voice, Volumes};

/// How soon a first mount that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// After how long without a turn the event loop is taken for stuck.
const TURN: Duration = Duration::from_secs(30);
/// A caretaker that served for longer than that is told of: a daemon comes sooner where all is well.
const WORTH_AN_EVENT: Duration = Duration::from_secs(10);
/// What a node's volumes are held to. The kubelet comes again within two minutes, or unpublishes.
const POLICY: Policy = Policy {
    forget: Some(Duration::from_mins(10)),
    ask_pods: Some(Duration::from_secs(2)),
    remind: None,
};

/// All that was started before the event loop.
pub(super) struct Plugin {
    pub(super) options: Options,
    pub(super) metrics: Arc<Metrics>,
    pub(super) daemon: Daemon,
    /// How many volumes of a predecessor it has gone on with.
    pub(super) taken_over: u64,
}

impl Plugin {
    /// Serves until a signal or an error.
    pub(super) async fn serve(mut self) -> Result<(), StartError> {
        let options = &self.options;
        let mut stop = signal(SignalKind::terminate()).map_err(system("listen for signals"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(system("listen for signals"))?;
        // Before the first publish, or a volume that is well would be taken for lost.
        let mut lost = orphaned_volumes::find(&options.pods(), &options.driver_name);
        let continued = std::mem::take(&mut self.daemon.continued);
        self.taken_over = continued.len() as u64;
        let (continued, unknown) = take_up::requests(continued);
        for volume in unknown {
            // Served as it is, until its pod goes and the target is cleared.
            drop(self.daemon.publisher.take_up(volume, drop));
        }
        let (unreadable, _nobodys) = take_up::requests(std::mem::take(&mut self.daemon.unreadable));
        lost.retain(|lost| !continued.iter().any(|(_, request)| lost.is(request)));
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
        if let Some(caretaken) = self.daemon.caretaken.filter(|long| *long >= WORTH_AN_EVENT) {
            let told =
                node_event::caretaken(cluster.client(), options.node_name.clone(), caretaken);
            tokio::spawn(told);
        }
        let mailbox = Mailbox::new();
        let source = Arc::new(cluster.source(Arc::clone(&mailbox)));
        let (sources, updates) = Sources::new(mailbox, [Arc::clone(&source) as _]);
        let heartbeat = Heartbeat::new(TURN);
        let parts = Parts {
            sources,
            updates,
            publisher: self.daemon.publisher.clone(),
            hand: self.daemon.hand.clone(),
            facts: self.daemon.facts.clone(),
            voice: Voice::Node { events },
            pods: Some(ask_pods(cluster.client(), options.node_name.clone())),
            heartbeat: Some(heartbeat.clone()),
        };
        let (volumes, mut driver) = Driver::new(Engine::new(self.daemon.key), POLICY, parts);
        for (continued, request) in continued {
            driver.take_up(continued, request);
        }
        for (left, request) in unreadable {
            driver.render_anew(left, request);
        }
        let kept = self.daemon.keeping.clone();
        let kept = kept.map(|keeping| {
            let (publisher, hand) = (&self.daemon.publisher, &self.daemon.hand);
            Kept::begin(keeping, publisher, hand, self.options.heartbeat)
        });
        let kept = kept.transpose()?;
        let pod_volumes = PodVolumes::new(
            volumes.clone(),
            self.daemon.hand.clone(),
            options.publish_wait,
            options.allow_swap,
        );
        let registered = Registered::default();
        self.tell_http(&pod_volumes, &registered, &heartbeat)
            .await?;
        allocatable::learn(&cluster, &options.node_name).await;
        gauges::provide(&self, source, &volumes);
        let serving = tokio::spawn(driver.run());
        let ending = CancellationToken::new();
        let answering = self.answer(&volumes, pod_volumes, registered, ending.clone());
        tokio::pin!(answering);
        tokio::select! {
            _ = stop.recv() => info!("SIGTERM: the plugin ends, {}", fate(kept.as_ref())),
            _ = interrupt.recv() => info!("SIGINT: the plugin ends, {}", fate(kept.as_ref())),
            () = handing_over(kept.as_ref()) => info!("a successor comes: the plugin hands over"),
            _ = serving => warn!("the event loop has ended"),
            answered = &mut answering => return answered,
        }
        let Some(kept) = kept else {
            ending.cancel();
            return answering.await;
        };
        tokio::select! {
            () = kept.may_leave() => {}
            answered = &mut answering => return answered,
        }
        ending.cancel();
        // Calls that do not end are asked again of the successor.
        let _asked_again = tokio::time::timeout(LEAVE, answering).await;
        kept.leave().await;
        Ok(())
    }

    /// Serves health and metrics, from the start on.
    async fn tell_http(
        &self,
        volumes: &PodVolumes,
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
        pod_volumes: PodVolumes,
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
            identity: Identity::new(pod_volumes.clone(), driver),
            node: NodeService::new(
                pod_volumes,
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
            let (publisher, target) = (self.daemon.publisher.clone(), target.clone());
            let empty = Snapshot::empty(&self.daemon.key);
            let tried = move || try_mount(&publisher, &target, empty);
            match tokio::task::spawn_blocking(tried).await {
                Ok(Ok(())) => return volumes.note_mounted(),
                Ok(Err(error)) => warn!("a first mount failed, the kubelet has to wait: {error}"),
                Err(fault) => warn!("a first mount failed, the kubelet has to wait: {fault}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// What becomes of the mounts.
fn fate(kept: Option<&Kept>) -> &'static str {
    match kept {
        Some(_) => "and leaves its mounts to the keeper",
        None => "and with it its mounts",
    }
}

async fn handing_over(kept: Option<&Kept>) {
    match kept {
        Some(kept) => kept.handing_over().await,
        None => std::future::pending().await,
    }
}

/// Mounts a volume of no files at `target` and takes it away again: whether this can be done at all.
fn try_mount(publisher: &Publisher, target: &Path, empty: Snapshot) -> Result<(), CallError> {
    let probe = NewVolume {
        name: "probe",
        target,
        over: false,
        first: Arc::new(empty),
        settings: Settings::default(),
        request: Vec::new(),
    };
    let published = publisher.publish(probe, drop)?;
    Ok(published.unpublish(Unbind::Detach)?)
}

/// Who is asked which pods of this node stay.
fn ask_pods(client: kube::Client, node: String) -> AskPods {
    Box::new(move || Box::pin(terminating_pods::staying(client.clone(), node.clone())))
}
