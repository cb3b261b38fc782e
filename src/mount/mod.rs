//! `livemount mount`: one manifest, one volume, one mountpoint, until a signal.
//!
//! Brings the rooms together and owns none of their decisions: the source reads, the engine decides,
//! the publisher commits. The loop is the only place where events and effects meet.

mod select;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::engine::{Effect, Engine, Event, VolumeId};
use livemount_engine::object::{Kind, Object, ObjectKey};
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_engine::spec::Spec;
use livemount_hand::{ClientOptions, Hand, HandError, Unbind};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::observe::{self, Fact, Facts};
use crate::publish::{Compat, PublishError, Published, Publisher, Settings};
use crate::source::manifest::{ManifestFile, Reading, SourceError};

/// The namespace of objects that name none.
const NAMESPACE: &str = "default";
/// How long a busy mount is waited for at the end.
const BUSY: Duration = Duration::from_secs(5);
/// How often a busy mount is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What `livemount mount` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The manifest.
    pub source: PathBuf,
    /// Which of its objects; none where it holds exactly one.
    pub select: Option<(Kind, String)>,
    /// Where.
    pub mountpoint: PathBuf,
    /// The most that a commit waits for fresh readers.
    pub drain: Duration,
    /// What a commit does beyond its own events.
    pub compat: Compat,
    /// After how long without a sign of life the hand takes this process for dead.
    pub heartbeat: Duration,
}

/// Why `livemount mount` ended with an error.
#[derive(Debug, Error)]
pub enum MountError {
    /// The manifest cannot be served.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The manifest does not say which object is meant.
    #[error(transparent)]
    Select(#[from] select::SelectError),
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
    // All that can be wrong with the input is told before anything is started.
    let file = ManifestFile::new(&options.source, NAMESPACE);
    let objects = file.read_once()?;
    let key = select::select(&options.source, &objects, options.select.as_ref())?;
    let target = target::resolve(&options.mountpoint)?;
    // The hand is forked off before this process has a second thread.
    let hand = Hand::start(ClientOptions {
        program: std::env::current_exe().map_err(system("find this program's own file"))?,
        args: vec!["hand".into()],
        roots: vec![target::root(&target)],
        heartbeat: options.heartbeat,
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
    let mut mount = Mount {
        engine: Engine::new(hash_key),
        volume: VolumeId::new(key.name.as_str()),
        key,
        target,
        settings: Settings {
            drain: options.drain,
            compat: options.compat,
        },
        publisher,
        published: None,
        facts,
    };
    runtime.block_on(mount.serve(file, objects, ended))
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

struct Mount {
    engine: Engine,
    volume: VolumeId,
    key: ObjectKey,
    target: PathBuf,
    settings: Settings,
    publisher: Publisher,
    published: Option<Published>,
    facts: Facts,
}

impl Mount {
    async fn serve(
        &mut self,
        file: ManifestFile,
        objects: Vec<Object>,
        mut ended: mpsc::Receiver<()>,
    ) -> Result<(), MountError> {
        let mut stop = Stop::new().map_err(system("listen for signals"))?;
        let (tell, mut readings) = mpsc::channel(1);
        let source = tokio::spawn(file.watch(tell));
        self.handle(Event::Publish {
            volume: self.volume.clone(),
            spec: Spec::of_object(self.key.clone()),
        })?;
        self.take(objects)?;
        ready();
        loop {
            tokio::select! {
                reading = readings.recv() => match reading {
                    Some(Reading::Objects(objects)) => self.take(objects)?,
                    Some(Reading::Broken(error)) => {
                        self.facts.tell(Fact::Unreadable { why: error.to_string() });
                    }
                    None => return Err(MountError::Source(SourceError::ended(source).await)),
                },
                Some(()) = ended.recv() => {
                    self.leave(Unbind::Detach)?;
                    return Err(MountError::Ended(self.target.clone()));
                }
                () = stop.asked() => return self.stop(&mut stop).await,
            }
        }
    }

    /// Takes over what the manifest says now. An object that is not in it any more is gone.
    fn take(&mut self, objects: Vec<Object>) -> Result<(), MountError> {
        let event = match objects.into_iter().find(|object| object.key == self.key) {
            Some(object) => Event::Applied(object),
            None => Event::Deleted(self.key.clone()),
        };
        self.handle(event)
    }

    fn handle(&mut self, event: Event) -> Result<(), MountError> {
        for effect in self.engine.handle(event) {
            let volume = || Arc::from(self.volume.as_str());
            match effect {
                Effect::Commit { snapshot, .. } => self.show(snapshot)?,
                Effect::Refused { refusal, .. } => self.facts.tell(Fact::Refused {
                    volume: volume(),
                    refusal,
                }),
                Effect::Recovered { .. } => self.facts.tell(Fact::Recovered { volume: volume() }),
                Effect::Warned { warnings, .. } => {
                    for warning in warnings {
                        warn!(volume = %self.volume, "{warning}");
                    }
                }
                // One file is read whole: nothing is watched apart or waited for.
                Effect::Watch(_) | Effect::Unwatch(_) | Effect::Waiting { .. } => {}
            }
        }
        Ok(())
    }

    fn show(&mut self, snapshot: Arc<Snapshot>) -> Result<(), MountError> {
        if let Some(published) = &self.published {
            published.offer(snapshot);
            return Ok(());
        }
        let files = snapshot.files().count();
        let name = self.volume.as_str();
        let published = self
            .publisher
            .publish(name, &self.target, snapshot, self.settings)?;
        info!(files, "serving {} at {}", self.key, self.target.display());
        self.published = Some(published);
        Ok(())
    }

    fn leave(&self, how: Unbind) -> Result<(), HandError> {
        self.published
            .as_ref()
            .map_or(Ok(()), |published| published.unpublish(how))
    }

    /// Unmounts; where somebody uses the mount, waits for them a while and detaches it then, or at a
    /// second signal.
    async fn stop(&self, stop: &mut Stop) -> Result<(), MountError> {
        // The service manager is not always there to hear it.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let give_up = tokio::time::sleep(BUSY);
        tokio::pin!(give_up);
        let mut told = false;
        loop {
            match self.leave(Unbind::IfIdle) {
                Err(HandError::Busy { .. }) => {}
                other => return Ok(other?),
            }
            if !told {
                let target = self.target.display();
                warn!("{target} is in use; waiting up to {} s", BUSY.as_secs());
                told = true;
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = &mut give_up => break,
                () = stop.asked() => break,
            }
        }
        warn!("{} is still in use; detached", self.target.display());
        Ok(self.leave(Unbind::Detach)?)
    }
}

fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%error, "the service manager could not be told");
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
