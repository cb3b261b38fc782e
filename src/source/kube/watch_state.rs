//! What the server tells of one object, and what of that is said: promise 7.
//!
//! A state machine without clock, chance or connection. Three rules:
//! - **A consistent read is the truth**, whatever was said before: if it is older, etcd was restored,
//!   and the new order of versions begins with it. It counts when it is complete; what a server tells
//!   before that may come from a cache that lags.
//! - **A watch only goes forward.** An event that is not newer than what was said is not said, and if
//!   it is older, or a bookmark is, the whole state is read anew: that alone tells a restored etcd
//!   from a server that lags.
//! - **Absent is said** after a DELETED event or a consistent read without the object, never else.

use std::time::Duration;

use super::options::Timing;
use super::request::Ask;
use super::resource_version::ResourceVersion;
use super::status::RestartReason;
use crate::backoff::Backoff;

/// An object as the server told it. The machine carries its contents and does not look at them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versioned<O> {
    pub version: ResourceVersion,
    /// Tells contents apart that bear one version: possible where an etcd was restored.
    pub digest: u64,
    pub immutable: bool,
    pub object: O,
}

/// What arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WatchEvent<O> {
    /// ADDED or MODIFIED.
    Modified(Versioned<O>),
    /// DELETED, at this version.
    Deleted(ResourceVersion),
    /// BOOKMARK; `whole`: the streaming list is complete.
    Bookmark {
        version: ResourceVersion,
        whole: bool,
    },
    /// The answer to a list.
    Listed(ResourceVersion, Option<Versioned<O>>),
}

/// Why there is nothing more to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WatchEnd {
    /// The server ended the watch in order.
    Closed,
    /// The connection was lost on the way.
    Cut(String),
    /// There is no connection.
    Unreachable(String),
    /// The server has told nothing for too long.
    Silent,
    /// 410.
    Expired,
    /// 429, 503, 504, and for how long the server wants to be left alone.
    Busy(Option<Duration>, String),
    /// 400, 422.
    Unsupported(String),
    /// 401.
    Unauthorized(String),
    /// 403.
    Forbidden(String),
    /// Any other status.
    Refused(String),
    /// What came is not what the API sends.
    Garbled(String),
}

/// What is said of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Emit<O> {
    Applied(O),
    Deleted,
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step<O> {
    pub emit: Option<Emit<O>>,
    /// The first success after a failure that was said.
    pub working: bool,
    /// A consistent read went back.
    pub restored: bool,
    pub next: Next,
}

/// How it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// With the next event.
    Listen,
    /// With another request, at once, for this reason (None: it is the second half of a read).
    Ask(Ask, Option<RestartReason>),
    /// Not at all, until asked again: the object is immutable.
    Rest,
}

/// How it goes on after an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retry {
    pub ask: Ask,
    pub after: Duration,
    pub reason: RestartReason,
    /// What is to be said to people, if it was not said already.
    pub failing: Option<String>,
}

/// What was said last.
#[derive(Debug)]
struct Emitted {
    version: ResourceVersion,
    /// None: it is absent.
    digest: Option<u64>,
}

#[derive(Debug)]
enum Progress<O> {
    /// No request is under way.
    Idle,
    /// A consistent read is under way; the newest it has told.
    Syncing(Option<Versioned<O>>),
    /// Changes are told.
    Watching,
}

/// Which answer is owed even if nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    None,
    /// That of the next read, or of the one under way.
    This,
    /// That of the read after the one under way.
    Next,
}

/// One object's story.
#[derive(Debug)]
pub(super) struct WatchState<O> {
    /// How long before a lost connection is worth a word.
    patience: Duration,
    emitted: Option<Emitted>,
    /// The newest version that this watch has told, bookmarks included.
    seen: Option<ResourceVersion>,
    progress: Progress<O>,
    owed: Owed,
    /// The next read is a list: the object holds no watch, or its streaming list never ended.
    list: bool,
    /// The request under way is a streaming list.
    streaming: bool,
    /// Pauses between attempts that come to nothing.
    retry: Backoff,
    /// For how long nothing was learned, by what the attempts and the pauses took.
    lost: Duration,
    failing: Option<String>,
}

impl<O> WatchState<O> {
    /// Nothing is known, and an answer is owed.
    pub fn new(timing: &Timing) -> Self {
        Self {
            patience: timing.patience,
            emitted: None,
            seen: None,
            progress: Progress::Idle,
            owed: Owed::This,
            list: false,
            streaming: false,
            retry: Backoff::new(timing.first, timing.most),
            lost: Duration::ZERO,
            failing: None,
        }
    }

    /// What to ask when there is nothing to go on from.
    pub fn ask(&self) -> Ask {
        if self.list { Ask::List } else { Ask::Read }
    }

    /// Whether the whole state is still being told.
    pub fn is_syncing(&self) -> bool {
        matches!(self.progress, Progress::Syncing(_))
    }

    /// A request is made.
    pub fn begin(&mut self, ask: &Ask) {
        self.streaming = *ask == Ask::Read;
        if let Ask::Watch(from) = ask {
            self.seen = Some(from.clone());
            self.progress = Progress::Watching;
        } else {
            self.progress = Progress::Syncing(None);
        }
    }

    /// Somebody wants a fresh answer. Whether to ask at once; a read that is under way is let finish
    /// first, so that many who ask at once never keep it from finishing.
    pub fn again(&mut self) -> bool {
        if self.is_syncing() {
            self.owed = Owed::Next;
            return false;
        }
        self.owe();
        true
    }

    fn owe(&mut self) {
        self.owed = Owed::This;
        self.failing = None;
    }

    /// What the server told.
    pub fn step(&mut self, event: WatchEvent<O>) -> Step<O> {
        match &mut self.progress {
            Progress::Syncing(newest) => match event {
                WatchEvent::Modified(item) => {
                    if newest.as_ref().is_none_or(|it| it.version < item.version) {
                        *newest = Some(item);
                    }
                    Step::nothing()
                }
                WatchEvent::Deleted(_) => {
                    *newest = None;
                    Step::nothing()
                }
                WatchEvent::Bookmark { whole: false, .. } => Step::nothing(),
                WatchEvent::Bookmark { version, .. } => {
                    let newest = newest.take();
                    self.synced(version, newest, Next::Listen)
                }
                WatchEvent::Listed(version, item) => {
                    let watch = Next::Ask(Ask::Watch(version.clone()), None);
                    self.synced(version, item, watch)
                }
            },
            Progress::Watching | Progress::Idle => self.watched(event),
        }
    }

    /// A consistent read is complete: this is the truth.
    fn synced(
        &mut self,
        version: ResourceVersion,
        item: Option<Versioned<O>>,
        next: Next,
    ) -> Step<O> {
        let now = Emitted {
            version: item.as_ref().map_or(&version, |it| &it.version).clone(),
            digest: item.as_ref().map(|it| it.digest),
        };
        let before = self.emitted.as_ref();
        let same = before.is_some_and(|it| match now.digest {
            Some(_) => it.version == now.version && it.digest == now.digest,
            None => it.digest.is_none(),
        });
        let restored = before.is_some_and(|it| now.version < it.version);
        let working = self.failing.take().is_some();
        let rest = item.as_ref().is_some_and(|it| it.immutable);
        let emit = (!same || self.owed == Owed::This)
            .then(|| item.map_or(Emit::Deleted, |it| Emit::Applied(it.object)));
        self.emitted = Some(now);
        self.seen = Some(version);
        self.lost = Duration::ZERO;
        self.progress = Progress::Watching;
        self.list = rest;
        let next = if self.owed == Owed::Next {
            self.owe();
            self.read(RestartReason::Asked)
        } else {
            self.owed = Owed::None;
            if rest { self.rest() } else { next }
        };
        Step {
            emit,
            working,
            restored,
            next,
        }
    }

    fn watched(&mut self, event: WatchEvent<O>) -> Step<O> {
        let version = match &event {
            WatchEvent::Modified(item) => &item.version,
            WatchEvent::Deleted(version)
            | WatchEvent::Bookmark { version, .. }
            | WatchEvent::Listed(version, _) => version,
        };
        let marked = self.seen.as_ref().is_some_and(|seen| version < seen);
        let emitted = self.emitted.as_ref();
        let older = emitted.is_some_and(|it| version < &it.version);
        let equal = emitted.is_some_and(|it| version == &it.version);
        let there = emitted.is_some_and(|it| it.digest.is_some());
        if marked || older {
            let next = self.read(RestartReason::Backwards);
            return Step {
                next,
                ..Step::nothing()
            };
        }
        self.seen = Some(version.clone());
        match event {
            WatchEvent::Modified(_) if equal => Step::nothing(),
            WatchEvent::Modified(item) => {
                self.emitted = Some(Emitted {
                    version: item.version,
                    digest: Some(item.digest),
                });
                let next = if item.immutable {
                    self.rest()
                } else {
                    Next::Listen
                };
                let emit = Some(Emit::Applied(item.object));
                Step {
                    emit,
                    next,
                    ..Step::nothing()
                }
            }
            // Old servers give a deletion the version of the last state, not one of its own.
            WatchEvent::Deleted(version) => {
                self.emitted = Some(Emitted {
                    version,
                    digest: None,
                });
                let emit = there.then_some(Emit::Deleted);
                Step {
                    emit,
                    ..Step::nothing()
                }
            }
            WatchEvent::Bookmark { .. } | WatchEvent::Listed(..) => Step::nothing(),
        }
    }

    fn rest(&mut self) -> Next {
        self.progress = Progress::Idle;
        self.list = true;
        self.retry.reset();
        Next::Rest
    }

    fn read(&mut self, reason: RestartReason) -> Next {
        self.progress = Progress::Idle;
        Next::Ask(self.ask(), Some(reason))
    }

    /// A request came to its end. `took`: for how long it told nothing whole; `steady`: it did, and
    /// went on for a good while; `chance` is between 0 and 1.
    pub fn ended(&mut self, end: WatchEnd, took: Duration, steady: bool, chance: f64) -> Retry {
        let syncing = self.is_syncing();
        self.progress = Progress::Idle;
        if self.owed == Owed::Next {
            self.owe();
        }
        if steady {
            self.retry.reset();
        }
        self.lost += took;
        // A streaming list that never ends: perhaps the server does not know of it.
        self.list = syncing && self.streaming && end == WatchEnd::Silent;
        let free = self.retry.is_unused();
        // From half as long to half as long again: the watches of a server end all at once.
        let backoff = self.retry.next_pause().mul_f64(0.5 + chance);
        // The first of these says nothing of what the next attempt will meet.
        let soon = if free { Duration::ZERO } else { backoff };
        let (reason, after, why, at_once) = match end {
            WatchEnd::Closed => (RestartReason::Renewed, soon, None, false),
            WatchEnd::Expired => (RestartReason::Expired, soon, None, false),
            WatchEnd::Silent => {
                let why = "the API server does not answer".to_owned();
                (RestartReason::Silent, soon, Some(why), false)
            }
            WatchEnd::Unsupported(_) if self.streaming => {
                self.list = true;
                (RestartReason::Unsupported, Duration::ZERO, None, false)
            }
            WatchEnd::Unsupported(why) => {
                (RestartReason::Unsupported, backoff, Some(told(&why)), true)
            }
            WatchEnd::Cut(why) => (RestartReason::Cut, backoff, Some(lost(&why)), false),
            WatchEnd::Unreachable(why) => {
                (RestartReason::Unreachable, backoff, Some(lost(&why)), false)
            }
            WatchEnd::Busy(wait, why) => {
                let wait = wait.map_or(backoff, |wait| wait.mul_f64(1.0 + chance / 4.0));
                (
                    RestartReason::Busy,
                    wait.max(backoff),
                    Some(told(&why)),
                    false,
                )
            }
            WatchEnd::Unauthorized(why) => (
                RestartReason::Unauthorized,
                backoff,
                Some(told(&why)),
                !free,
            ),
            WatchEnd::Forbidden(why) => (RestartReason::Forbidden, backoff, Some(told(&why)), true),
            WatchEnd::Refused(why) => (RestartReason::Refused, backoff, Some(told(&why)), true),
            WatchEnd::Garbled(why) => (
                RestartReason::Garbled,
                backoff,
                Some(format!("the API server's answer is not understood: {why}")),
                true,
            ),
        };
        let patient = !at_once && self.lost < self.patience;
        self.lost += after;
        let failing = why.filter(|why| !patient && self.failing.as_ref() != Some(why));
        if failing.is_some() {
            self.failing.clone_from(&failing);
        }
        Retry {
            ask: self.ask(),
            after,
            reason,
            failing,
        }
    }
}

impl<O> Step<O> {
    fn nothing() -> Self {
        Self {
            emit: None,
            working: false,
            restored: false,
            next: Next::Listen,
        }
    }
}

fn told(why: &str) -> String {
    format!("the API server says: {why}")
}

fn lost(why: &str) -> String {
    format!("the API server cannot be reached: {why}")
}
