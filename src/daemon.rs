//! What every daemon starts before it serves, whatever it serves, in the order that matters: limits, the
//! hand, then threads.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use livemount_engine::snapshot::HashKey;
use livemount_hand::{ClientOptions, Hand, HandError, Reach};
use livemount_keeper::{Keeper, KeeperError, KeeperEvent, Role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tracing::{error, info, warn};

use crate::observe::{self, Facts, Metrics};
use crate::publish::{Continued, KeepError, Keeping, Left, PublishError, Publisher};
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
    /// Whether a mount that is dead stays at its target (see the hand's `--leave-dead`).
    pub leave_dead: bool,
    /// Who keeps what is served, so that a successor of this process goes on with it.
    pub keeper: Option<KeptBy>,
}

/// Who holds descriptors while no daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptBy {
    /// A keeper of ours, and a hand, by the folder of their sockets.
    Folder(PathBuf),
    /// systemd's descriptor store. The hand, which must outlive the daemon as well, is found by the folder of
    /// its socket.
    Systemd(PathBuf),
}

impl KeptBy {
    fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) | Self::Systemd(folder) => folder,
        }
    }
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
    /// The keeper does not give what it has.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// What is served could not be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// systemd was to be the keeper, and is none.
    #[error("systemd gives this process no descriptor store (FileDescriptorStoreMax=)")]
    NoStore,
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
    /// What a predecessor has left; served by now, and to be taken up by whoever knows what it is.
    pub continued: Vec<Continued>,
    /// What a predecessor has left that cannot be read: nobody serves it yet.
    pub unreadable: Vec<Left>,
    /// Who keeps what is served.
    pub keeping: Option<Keeping>,
    /// For how long a caretaker had served it before, where one had.
    pub caretaken: Option<Duration>,
    /// Where `livemount status` asks, for as long as this lives.
    _status: Option<status::Server>,
}

impl Daemon {
    /// Starts what serves. Must be called before this process has a second thread: the hand is forked off.
    ///
    /// Where there is a keeper, what a predecessor has left is served first; nothing that may be away, the
    /// hand neither, is waited for before that.
    ///
    /// # Errors
    ///
    /// What could not be started. That the status cannot be asked for is a warning: the files are served
    /// all the same.
    pub fn start(options: Options) -> Result<Self, DaemonError> {
        let Some(keeper) = options.keeper else {
            let mut args: Vec<OsString> = vec!["hand".into()];
            if options.leave_dead {
                args.push("--leave-dead".into());
            }
            let hand = Hand::start(ClientOptions {
                reach: Reach::Child {
                    // This very program, also after an upgrade has replaced its file.
                    program: "/proc/self/exe".into(),
                    args,
                    roots: options.roots,
                    selinux_context: options.selinux_context,
                },
                heartbeat: options.heartbeat,
            })?;
            let facts = observe_apart(options.metrics)?;
            return Self::with(hand, facts, hash_key()?, None);
        };
        let facts = observe_apart(options.metrics)?;
        warn_of_request_timeouts();
        let caretaken = caretaken(&keeper);
        let taken = take_over(&keeper, Role::Daemon, &facts)?;
        let hand = reach_hand(&keeper.folder().join(HAND_SOCKET), options.heartbeat)?;
        let keeping = taken.keeping;
        let daemon = Self::with(hand, facts, taken.key, Some(keeping))?;
        for left in &taken.unreadable {
            daemon.publisher.hold(left);
        }
        Ok(Self {
            continued: taken.continued,
            unreadable: taken.unreadable,
            caretaken,
            ..daemon
        })
    }

    fn with(
        hand: Hand,
        facts: Facts,
        key: HashKey,
        keeping: Option<Keeping>,
    ) -> Result<Self, DaemonError> {
        let publisher = Publisher::new(hand.clone(), key, facts.clone(), keeping.clone())?;
        let status = status::Server::start(publisher.clone())
            .inspect_err(|error| warn!("{error}"))
            .ok();
        Ok(Self {
            hand,
            facts,
            key,
            publisher,
            continued: Vec::new(),
            unreadable: Vec::new(),
            keeping,
            caretaken: None,
            _status: status,
        })
    }
}

/// Where the volumes are that a living daemon serves from this keeper, as far as it says so: who wants
/// something else should know before that one is told to hand over.
pub fn served_by_another(keeper: &KeptBy) -> Option<Vec<PathBuf>> {
    let KeptBy::Folder(folder) = keeper else {
        return None;
    };
    let report = livemount_keeper::ask(folder, ASKED).ok()?;
    let daemon = report.holder == Some(Role::Daemon);
    status::targets_of(report.pid.filter(|_| daemon)?).ok()?
}

/// How long a keeper may take to answer: it does at once, or is waited for later.
const ASKED: Duration = Duration::from_millis(500);

/// For how long a caretaker has served what is about to be taken over, where one does.
fn caretaken(keeper: &KeptBy) -> Option<Duration> {
    let KeptBy::Folder(folder) = keeper else {
        return None;
    };
    let report = livemount_keeper::ask(folder, ASKED).ok()?;
    let since = report.since;
    let caretaker = report.holder == Some(Role::Caretaker) && report.entries > 0;
    caretaker.then(|| {
        // Less is what any restart takes.
        if since >= Duration::from_secs(1) {
            warn!(
                "the caretaker has served for {:.1} s, in which no daemon came",
                since.as_secs_f64()
            );
        }
        since
    })
}

/// What is left to do at the end, where there is a keeper, may take this long.
pub const LEAVE: Duration = Duration::from_secs(1);

/// What serves volumes without publishing any.
pub struct Caretaking {
    facts: Facts,
    keeping: Keeping,
    key: HashKey,
    hand: PathBuf,
    /// Once there is a hand.
    publisher: Arc<OnceLock<Publisher>>,
}

impl Caretaking {
    /// Serves what a daemon has left.
    ///
    /// # Errors
    ///
    /// The keeper does not give it; the machine refuses something basic.
    pub fn start(keeper: &KeptBy) -> Result<(Self, Vec<Continued>), DaemonError> {
        let facts = observe_apart(None)?;
        let TakenOver {
            keeping,
            continued,
            key,
            // For the daemon: who cannot read it cannot render it either.
            unreadable: _,
        } = take_over(keeper, Role::Caretaker, &facts)?;
        let hand = keeper.folder().join(HAND_SOCKET);
        let caretaking = Self {
            facts,
            keeping,
            key,
            hand,
            publisher: Arc::default(),
        };
        Ok((caretaking, continued))
    }

    /// Who keeps what is served.
    pub fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// Who brings to its end what was begun.
    ///
    /// # Errors
    ///
    /// There is no hand now.
    pub fn publisher(&self, heartbeat: Duration) -> Result<&Publisher, DaemonError> {
        if let Some(publisher) = self.publisher.get() {
            return Ok(publisher);
        }
        let hand = reach_hand(&self.hand, heartbeat)?;
        let (facts, keeping) = (self.facts.clone(), self.keeping.clone());
        let publisher = Publisher::new(hand, self.key, facts, Some(keeping))?;
        Ok(self.publisher.get_or_init(|| publisher))
    }

    /// As [`watch_over`]; all volumes are asked once there is a hand.
    ///
    /// # Errors
    ///
    /// The machine gives no thread.
    pub fn watch_over(&self, heartbeat: Duration) -> Result<(), DaemonError> {
        let publisher = Arc::clone(&self.publisher);
        watch_over(&self.keeping, heartbeat, move || {
            drop(publisher.get().map(Publisher::stats));
        })
    }
}

/// Hears what happens at the keeper: tells it to the log, and calls `hand_over`, once, when somebody else is
/// to have everything.
///
/// # Errors
///
/// The machine gives no thread.
pub fn heed(
    keeping: &Keeping,
    hand_over: impl FnOnce() + Send + 'static,
) -> Result<(), DaemonError> {
    let events = keeping.keeper().events();
    let heeding = std::thread::Builder::new().name("keeper-events".into());
    let mut hand_over = Some(hand_over);
    let started = heeding.spawn(move || {
        for event in &events {
            match event {
                KeeperEvent::HandOver => {
                    if let Some(hand_over) = hand_over.take() {
                        hand_over();
                    }
                }
                KeeperEvent::Gone => warn!(
                    "the keeper is gone: until one is back, the end of this process would end its mounts"
                ),
                KeeperEvent::Back => info!("a keeper is back and has everything"),
            }
        }
    });
    started.map(drop).map_err(|source| DaemonError::System {
        what: "start the thread that hears the keeper",
        source,
    })
}

/// Has this process killed by its keeper when it has not come round for so long, so that a successor goes on.
/// `round` asks all volumes something: whoever holds a volume's lock for ever holds it up as well.
///
/// # Errors
///
/// The machine gives no thread.
pub fn watch_over(
    keeping: &Keeping,
    heartbeat: Duration,
    round: impl Fn() + Send + 'static,
) -> Result<(), DaemonError> {
    let keeper = keeping.keeper().clone();
    keeper.watchdog(heartbeat);
    let watching = std::thread::Builder::new().name("watchdog".into());
    let started = watching.spawn(move || {
        loop {
            round();
            keeper.alive();
            std::thread::sleep(heartbeat / 4);
        }
    });
    started.map(drop).map_err(|source| DaemonError::System {
        what: "start the watchdog's thread",
        source,
    })
}

/// The name of the hand's socket in its folder.
const HAND_SOCKET: &str = "hand.sock";
/// For how long a keeper is waited for, which may be just starting, and a predecessor that does not end.
const GRANTED: Duration = Duration::from_secs(30);

/// Says what it means where the kernel gives daemons a time to answer in (Linux 6.15): it ends a connection
/// whose daemon is away for longer, and no successor can go on with that.
fn warn_of_request_timeouts() {
    for name in ["default_request_timeout", "max_request_timeout"] {
        let set = std::fs::read_to_string(format!("/proc/sys/fs/fuse/{name}"));
        let seconds = set.ok().and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            warn!(
                "fs.fuse.{name} is {seconds}: where no daemon answers for so many seconds the kernel ends the mount"
            );
        }
    }
}

/// The hand that runs apart. One that dies just now is followed by another.
fn reach_hand(socket: &Path, heartbeat: Duration) -> Result<Hand, HandError> {
    let until = Instant::now() + GRANTED;
    loop {
        let hand = Hand::start(ClientOptions {
            reach: Reach::Socket(socket.to_owned()),
            heartbeat,
        });
        match hand {
            Err(HandError::Died | HandError::Slow { .. }) if Instant::now() < until => {}
            hand => return hand,
        }
    }
}

/// What a predecessor has left, as far as it is served.
struct TakenOver {
    keeping: Keeping,
    continued: Vec<Continued>,
    unreadable: Vec<Left>,
    key: HashKey,
}

/// Takes what a predecessor has left and serves it. The key of hashes goes on with it.
fn take_over(keeper: &KeptBy, role: Role, facts: &Facts) -> Result<TakenOver, DaemonError> {
    let (keeper, stored) = match keeper {
        KeptBy::Folder(folder) => Keeper::take(folder, role, GRANTED)?,
        KeptBy::Systemd(_) => Keeper::systemd()?.ok_or(DaemonError::NoStore)?,
    };
    let mut key = None;
    let (mut continued, mut unreadable) = (Vec::new(), Vec::new());
    let keeping = Keeping::begin(keeper, stored, |left| {
        key.get_or_insert_with(|| left.key());
        if !left.is_readable() {
            unreadable.push(left);
            return Ok(());
        }
        let (name, target) = (left.name().to_owned(), left.target().to_owned());
        match left.serve(facts) {
            Ok(volume) => continued.push(volume),
            // Going on without it would take it from its users; the keeper still has it whole.
            Err(error) if error.is_shortage() => return Err(DaemonError::from(error)),
            Err(error) => error!(volume = name, "{} is lost: {error}", target.display()),
        }
        Ok(())
    })?;
    if !continued.is_empty() {
        info!(
            "{} volumes of a predecessor are served again",
            continued.len()
        );
    }
    Ok(TakenOver {
        keeping,
        continued,
        unreadable,
        key: key.map_or_else(hash_key, Ok)?,
    })
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
fn hash_key() -> Result<HashKey, DaemonError> {
    let mut key = [0; 16];
    match getrandom::fill(&mut key) {
        Ok(()) => Ok(HashKey(key)),
        Err(error) => Err(DaemonError::System {
            what: "read random bytes",
            source: io::Error::other(error),
        }),
    }
}

/// Writes facts to the log, and counts them where there are metrics, from a thread of its own.
fn observe_apart(metrics: Option<Arc<Metrics>>) -> Result<Facts, DaemonError> {
    let (facts, stream) = Facts::stream();
    let started = std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            for fact in &stream {
                if let Some(metrics) = &metrics {
                    metrics.fact(&fact);
                }
                observe::log(&fact);
            }
        });
    match started {
        Ok(_) => Ok(facts),
        Err(source) => Err(DaemonError::System {
            what: "start the log's thread",
            source,
        }),
    }
}
