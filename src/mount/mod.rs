//! `livemount mount`: one source, one volume, one mountpoint, until a signal.
//!
//! Brings the rooms together and owns none of their decisions: the source reads, the engine decides,
//! the publisher commits. What is asked for is settled here and in `wanted`; the loop is in `serve`.

mod select;
mod serve;
mod signals;
mod target;
mod wanted;

use std::path::PathBuf;
use std::time::Duration;

use livemount_engine::engine::{Engine, VolumeId};
use livemount_engine::object::Kind;
use livemount_engine::snapshot::HashKey;
use livemount_hand::{ClientOptions, Hand, HandError};
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::warn;

use crate::observe::{self, Fact, Facts};
use crate::publish::{Compat, Pins, PublishError, Publisher, Settings};
use crate::source::manifest::{Manifests, SourceError};
use crate::status;
use serve::Mount;

/// What `livemount mount` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The manifest, or a folder of manifests.
    pub source: PathBuf,
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

/// Why `livemount mount` ended with an error.
#[derive(Debug, Error)]
pub enum MountError {
    /// The source cannot be served.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source does not say which object is meant.
    #[error(transparent)]
    Select(#[from] select::SelectError),
    /// The volume source cannot be used.
    #[error(transparent)]
    Volume(#[from] wanted::VolumeError),
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
    no_core_dumps();
    all_descriptors();
    // All that can be wrong with the input is told before anything is started.
    let mut source = Manifests::open(&options.source, &options.namespace)?;
    let mut troubles = source.troubles();
    let (name, spec) = wanted::wanted(options, &source, &mut troubles)?;
    let target = target::resolve(&options.mountpoint)?;
    target::hides_not(&target, &options.mountpoint, &options.source)?;
    // The hand is forked off before this process has a second thread.
    let hand = Hand::start(ClientOptions {
        // This very program, also after an upgrade has replaced its file.
        program: "/proc/self/exe".into(),
        args: vec!["hand".into()],
        roots: vec![target::root(&target)],
        heartbeat: options.heartbeat,
        selinux_context: None,
    })?;
    let (facts, ended) = observe_apart()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let mut hash_key = [0; 16];
    getrandom::fill(&mut hash_key)
        .map_err(|error| system("read random bytes")(std::io::Error::other(error)))?;
    let hash_key = HashKey(hash_key);
    let publisher = Publisher::new(hand, hash_key, facts.clone())?;
    // Without it the files are served all the same.
    let _status = status::Server::start(publisher.clone())
        .inspect_err(|error| warn!("{error}"))
        .ok();
    for trouble in troubles {
        let why = trouble.to_string();
        facts.tell(Fact::Unreadable {
            why,
            serving: false,
        });
    }
    let mut mount = Mount {
        engine: Engine::new(hash_key),
        volume: VolumeId::new(name),
        spec,
        origin: options.source.clone(),
        target,
        settings: Settings {
            drain: options.drain,
            compat: options.compat,
            pins: options.pins,
        },
        over: options.over,
        publisher,
        published: None,
        shown: None,
        facts,
    };
    let served = runtime.block_on(mount.serve(source, ended));
    // A disk that the source still waits for holds up nobody's end.
    runtime.shutdown_background();
    served
}

/// Two descriptors a volume add up; the soft limit is for programs that use select(2).
fn all_descriptors() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        warn!(%error, "the limit of open files cannot be raised");
    }
}

/// A core dump would put a Secret on a disk.
fn no_core_dumps() {
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        warn!(%error, "core dumps cannot be turned off");
    }
}

/// Writes facts to the log from a thread of its own. Tells when the connection ended.
fn observe_apart() -> Result<(Facts, mpsc::Receiver<()>), MountError> {
    let (facts, stream) = Facts::stream();
    let (tell_end, ended) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            for fact in &stream {
                observe::log(&fact);
                if matches!(fact, Fact::Ended { .. }) {
                    // One word is enough; the loop ends with the first.
                    let _ = tell_end.try_send(());
                }
            }
        })
        .map_err(system("start the log's thread"))?;
    Ok((facts, ended))
}
