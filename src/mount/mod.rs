//! `livemount mount`: one source, one volume, one mountpoint, until a signal.
//!
//! Brings the rooms together and owns none of their decisions: the source reads, the engine decides,
//! the publisher commits. What is asked for is settled here and in `resolve_spec`; the loop is in `serve`.

mod feed;
mod resolve_spec;
mod select;
mod serve;
mod signals;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use livemount_engine::engine::{Engine, VolumeId};
use livemount_engine::object::Kind;
use livemount_hand::{ClientOptions, Hand, HandError};
use thiserror::Error;
use tracing::warn;

use crate::daemon;
use crate::observe::Fact;
use crate::publish::{Compat, Pins, PublishError, Publisher, Settings};
use crate::source::kube::KubeError;
use crate::source::manifest::{Manifests, SourceError};
use crate::status;
use feed::Feed;
use serve::Mount;

/// Where objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a manifest, or a folder of manifests.
    Manifests(PathBuf),
    /// In a namespace of a cluster, [`Options::namespace`].
    Cluster,
}

/// What `livemount mount` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the objects are.
    pub source: Source,
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
    /// The most that a commit waits for fresh readers.
    pub drain: Duration,
    /// What a commit does beyond its own events.
    pub compat: Compat,
    /// How many older versions open handles may keep.
    pub pins: Pins,
    /// After how long without a sign of life the hand takes this process for dead.
    pub heartbeat: Duration,
}

impl Options {
    /// The source, as it was written.
    fn origin(&self) -> String {
        match &self.source {
            Source::Manifests(path) => path.display().to_string(),
            Source::Cluster => format!("kube:{}", self.namespace),
        }
    }
}

/// Why `livemount mount` ended with an error.
#[derive(Debug, Error)]
pub enum MountError {
    /// The source cannot be served.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The API server cannot be reached as things are set up.
    #[error(transparent)]
    Cluster(#[from] KubeError),
    /// The source does not say which object is meant.
    #[error(transparent)]
    Select(#[from] select::SelectError),
    /// The volume source cannot be used.
    #[error(transparent)]
    Volume(#[from] resolve_spec::VolumeError),
    /// The mountpoint cannot be used.
    #[error(transparent)]
    Target(#[from] target::TargetError),
    /// The hand could not be started or could not do its part.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The volume could not be mounted.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The mount was taken away by somebody else.
    #[error("the mount at {} was ended from outside", .0.display())]
    Ended(PathBuf),
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
pub fn run(options: &Options) -> Result<(), MountError> {
    daemon::limits();
    // All that can be wrong with the input is told before anything is started.
    let mut file_errors = Vec::new();
    let mut manifests = None;
    if let Source::Manifests(path) = &options.source {
        let mut source = Manifests::open(path, &options.namespace)?;
        file_errors = source.file_errors();
        manifests = Some(source);
    }
    let (name, spec) = resolve_spec::resolve(options, manifests.as_ref(), &mut file_errors)?;
    let target = target::resolve(&options.mountpoint)?;
    if let Source::Manifests(path) = &options.source {
        target::hides_not(&target, &options.mountpoint, path)?;
    }
    // The hand is forked off before this process has a second thread.
    let hand = Hand::start(ClientOptions {
        // This very program, also after an upgrade has replaced its file.
        program: "/proc/self/exe".into(),
        args: vec!["hand".into()],
        roots: vec![target::root(&target)],
        heartbeat: options.heartbeat,
        selinux_context: None,
    })?;
    let (facts, ended) = daemon::observe_apart(None).map_err(system("start the log's thread"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let hash_key = daemon::hash_key().map_err(system("read random bytes"))?;
    let publisher = Publisher::new(hand, hash_key, facts.clone())?;
    // Without it the files are served all the same.
    let _status = status::Server::start(publisher.clone())
        .inspect_err(|error| warn!("{error}"))
        .ok();
    for error in file_errors {
        let why = error.to_string();
        facts.tell(Fact::Unreadable {
            why,
            serving: false,
        });
    }
    let settings = Settings {
        drain: options.drain,
        compat: options.compat,
        pins: options.pins,
    };
    let served = runtime.block_on(async {
        let (feed, objects) = match manifests {
            Some(manifests) => {
                let (feed, objects) = Feed::of_manifests(manifests);
                (feed, Some(objects))
            }
            None => (Feed::of_cluster().await?, None),
        };
        let mut mount = Mount {
            engine: Engine::new(hash_key),
            volume: VolumeId::new(name),
            spec,
            origin: options.origin(),
            feed,
            target,
            settings,
            over: options.over,
            publisher,
            published: None,
            facts,
        };
        mount.serve(objects, ended).await
    });
    // A disk that the source still waits for holds up nobody's end.
    runtime.shutdown_background();
    served
}
