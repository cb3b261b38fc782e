//! What every daemon starts before it serves, whatever it serves, in the order that matters: limits, the
//! hand, then threads.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::snapshot::HashKey;
use livemount_hand::{ClientOptions, Hand, HandError, Reach};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tracing::warn;

use crate::observe::{self, Facts, Metrics};
use crate::publish::{PublishError, Publisher};
use crate::status;

/// What may be said of a daemon before it starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folders beneath which it may mount.
    pub roots: Vec<PathBuf>,
    /// After how long without a sign of life the hand takes this process for dead.
    pub heartbeat: Duration,
    /// The SELinux context of every file.
    pub selinux_context: Option<String>,
    /// Where facts are counted.
    pub metrics: Option<Arc<Metrics>>,
}

/// Why a daemon could not be started.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The hand could not be started.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The publisher could not be started.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The machine refused something basic.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The machine's answer.
        source: io::Error,
    },
}

/// What every daemon works with.
pub struct Daemon {
    /// The process that touches mounts.
    pub hand: Hand,
    /// Where facts go.
    pub facts: Facts,
    /// This process's key for hashes.
    pub key: HashKey,
    /// Who mounts and commits.
    pub publisher: Publisher,
    /// Where `livemount status` asks, for as long as this lives.
    _status: Option<status::Server>,
}

impl Daemon {
    /// Starts what serves. Must be called before this process has a second thread: the hand is forked off.
    ///
    /// # Errors
    ///
    /// What could not be started. That the status cannot be asked for is a warning: the files are served
    /// all the same.
    pub fn start(options: Options) -> Result<Self, DaemonError> {
        let system = |what| move |source| DaemonError::System { what, source };
        let hand = Hand::start(ClientOptions {
            reach: Reach::Child {
                // This very program, also after an upgrade has replaced its file.
                program: "/proc/self/exe".into(),
                args: vec!["hand".into()],
                roots: options.roots,
                selinux_context: options.selinux_context,
            },
            heartbeat: options.heartbeat,
        })?;
        let facts = observe_apart(options.metrics).map_err(system("start the log's thread"))?;
        let key = hash_key().map_err(system("read random bytes"))?;
        let publisher = Publisher::new(hand.clone(), key, facts.clone())?;
        let status = status::Server::start(publisher.clone())
            .inspect_err(|error| warn!("{error}"))
            .ok();
        Ok(Self {
            hand,
            facts,
            key,
            publisher,
            _status: status,
        })
    }
}

/// Sets this process's limits, which the hand inherits.
pub fn limits() {
    no_core_dumps();
    all_descriptors();
}

/// Two descriptors a volume add up; the soft limit is for programs that use select(2).
fn all_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit of open files cannot be raised");
    }
}

/// A core dump would put a Secret on a disk.
fn no_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!(%error, "core dumps cannot be turned off");
    }
}

/// A key for this process's hashes, from the kernel.
///
/// # Errors
///
/// The kernel gives no random bytes.
fn hash_key() -> io::Result<HashKey> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(HashKey(key))
}

/// Writes facts to the log, and counts them where there are metrics, from a thread of its own.
fn observe_apart(metrics: Option<Arc<Metrics>>) -> io::Result<Facts> {
    let (facts, stream) = Facts::stream();
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            for fact in &stream {
                if let Some(metrics) = &metrics {
                    metrics.fact(&fact);
                }
                observe::log(&fact);
            }
        })?;
    Ok(facts)
}
