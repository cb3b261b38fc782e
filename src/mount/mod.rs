//! `livemount mount`: one source, one volume, one mountpoint, until a signal.
//!
//! Brings the rooms together and owns none of their decisions: the source reads, the engine decides,
//! the publisher commits. What is asked for is settled here and in `resolve_spec`; the loop is in `serve`.

mod opened;
mod resolve_spec;
mod select;
mod serve;
mod signals;
mod target;
mod unmount;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::engine::{Engine, VolumeId};
use livemount_engine::object::{Kind, Origin};
use thiserror::Error;

use crate::daemon::{self, Daemon, DaemonError, KeptBy};
use crate::kept::Kept;
use crate::observe::Fact;
use crate::publish::{Continued, Left, Settings};
use crate::source::kube::{self as cluster, KubeError};
use crate::source::manifest::{self, SourceError};
use crate::source::{Mailbox, SourceEnded, Sources};
use crate::volumes::{CallError, Driver, Parts, Policy, Request, Voice};
use opened::OpenedSource;
use serve::Mount;
pub use unmount::unmount;

/// How often it is said what is waited for.
const REMIND: Duration = Duration::from_secs(5);

/// Where objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceArg {
    /// In a manifest, or a folder of manifests.
    Manifests(PathBuf),
    /// In a namespace of a cluster, [`Options::namespace`].
    Cluster,
}

impl SourceArg {
    /// Which source tells the objects.
    fn origin(&self) -> Origin {
        match self {
            Self::Manifests(_) => manifest::ORIGIN,
            Self::Cluster => cluster::ORIGIN,
        }
    }
}

/// What `livemount mount` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the objects are.
    pub source: SourceArg,
    /// Which of its objects; none where it holds exactly one.
    pub select: Option<(Kind, String)>,
    /// The volume source, in the words of a pod spec, where the volume is not one object.
    pub volume: Option<PathBuf>,
    /// The namespace of objects that name none, and of those that are served.
    pub namespace: String,
    /// The group that owns every file, as a pod's `fsGroup`.
    pub fs_group: Option<u32>,
    /// Where.
    pub mountpoint: PathBuf,
    /// Whether the mountpoint may hold something, which is hidden then.
    pub over: bool,
    /// How commits behave.
    pub settings: Settings,
    /// After how long without a sign of life the hand takes this process for dead.
    pub heartbeat: Duration,
    /// Who keeps the mount for a successor of this process.
    pub keeper: Option<KeptBy>,
}

impl Options {
    /// The source, as it was written.
    fn origin(&self) -> String {
        match &self.source {
            SourceArg::Manifests(path) => path.display().to_string(),
            SourceArg::Cluster => format!("kube:{}", self.namespace),
        }
    }
}

/// Why `livemount mount` ended with an error.
#[derive(Debug, Error)]
pub enum MountError {
    /// The source cannot be served.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source has ended.
    #[error(transparent)]
    SourceEnded(#[from] SourceEnded),
    /// The API server cannot be reached as things are set up.
    #[error(transparent)]
    Cluster(#[from] KubeError),
    /// The source does not say which object is meant.
    #[error(transparent)]
    Select(#[from] select::SelectError),
    /// The volume source cannot be used.
    #[error(transparent)]
    Volume(#[from] resolve_spec::SpecError),
    /// The mountpoint cannot be used.
    #[error(transparent)]
    Target(#[from] target::TargetError),
    /// What every daemon needs could not be started.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The volume could not be mounted or unmounted.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The mount was taken away by somebody else.
    #[error("the mount at {} was ended from outside", .0.display())]
    Ended(PathBuf),
    /// The keeper holds the mount at another place.
    #[error("the keeper holds the mount at {}; `livemount unmount` ends that one", .0.display())]
    Kept(PathBuf),
    /// The keeper holds no such mount.
    #[error("the keeper holds no mount at {}", .0.display())]
    NotKept(PathBuf),
    /// The machine refused something basic.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The machine's answer.
        source: std::io::Error,
    },
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> MountError {
    move |source| MountError::System { what, source }
}

/// Serves until a signal or an error.
///
/// # Errors
///
/// What was asked for cannot be served, or can be no longer.
pub fn run(options: &Options) -> Result<(), MountError> {
    daemon::limits();
    // All that can be wrong with the input is told before anything is started.
    let (mut opened, mut file_errors) = OpenedSource::open(options)?;
    let (name, spec) = resolve_spec::resolve(options, opened.manifests(), &mut file_errors)?;
    let target = target::resolve(&options.mountpoint)?;
    if let SourceArg::Manifests(path) = &options.source {
        target::hides_not(&target, &options.mountpoint, path)?;
    }
    if let Some(keeper) = &options.keeper {
        let served = daemon::served_by_another(keeper).unwrap_or_default();
        are_at(served.iter().map(PathBuf::as_path), &target)?;
    }
    let daemon = Daemon::start(daemon::Options {
        roots: vec![target::root(&target)],
        heartbeat: options.heartbeat,
        selinux_context: None,
        metrics: None,
        leave_dead: false,
        keeper: options.keeper.clone(),
    })?;
    // The predecessor may have ended only now, and have shown what came meanwhile.
    file_errors.extend(opened.catch_up()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    for error in file_errors {
        let why = error.to_string();
        daemon.facts.tell(Fact::Unreadable {
            why,
            serving: false,
        });
    }
    let continued = daemon.continued.iter().map(Continued::target);
    let unreadable = daemon.unreadable.iter().map(Left::target);
    are_at(continued.chain(unreadable), &target)?;
    let request = Request {
        volume: VolumeId::new(name.as_str()),
        name,
        target,
        over: options.over,
        owner: None,
        spec,
        settings: options.settings,
    };
    let served = runtime.block_on(serve(options, opened, daemon, request));
    // A disk that the source still waits for holds up nobody's end.
    runtime.shutdown_background();
    served
}

/// What a predecessor has left must be at this very target: the keeper of one mount holds nothing else.
fn are_at<'t>(
    mut targets: impl Iterator<Item = &'t Path>,
    target: &Path,
) -> Result<(), MountError> {
    match targets.find(|other| *other != target) {
        Some(other) => Err(MountError::Kept(other.to_owned())),
        None => Ok(()),
    }
}

async fn serve(
    options: &Options,
    opened: OpenedSource,
    daemon: Daemon,
    request: Request,
) -> Result<(), MountError> {
    let mailbox = Mailbox::new();
    let source = opened.watch(Arc::clone(&mailbox)).await?;
    let (sources, updates) = Sources::new(mailbox, [source]);
    let policy = Policy {
        remind: Some(REMIND),
        ..Policy::default()
    };
    let parts = Parts {
        sources: sources.clone(),
        updates,
        publisher: daemon.publisher.clone(),
        hand: daemon.hand.clone(),
        facts: daemon.facts.clone(),
        voice: Voice::Host {
            origin: options.origin(),
        },
        pods: None,
        heartbeat: None,
    };
    let (volumes, mut driver) = Driver::new(Engine::new(daemon.key), policy, parts);
    for continued in daemon.continued {
        driver.take_up(continued, request.clone());
    }
    for left in daemon.unreadable {
        driver.render_anew(left, request.clone());
    }
    let kept = match daemon.keeping {
        Some(keeping) => Some(Kept::begin(
            keeping,
            &daemon.publisher,
            &daemon.hand,
            options.heartbeat,
        )?),
        None => None,
    };
    let mount = Mount {
        volumes,
        sources,
        request,
        origin: options.origin(),
        kept,
    };
    mount.serve(tokio::spawn(driver.run())).await
}
