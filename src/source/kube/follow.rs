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

use super::options::Pace;
use super::request::Ask;
use super::status::Reason;
use super::version::Version;
use crate::backoff::Backoff;

/// An object as the server told it. The machine carries its contents and does not look at them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<O> {
    pub version: Version,
    /// Tells contents apart that bear one version: possible where an etcd was restored.
    pub digest: u64,
    pub immutable: bool,
    pub object: O,
}

/// What arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event<O> {
    /// ADDED or MODIFIED.
    Item(Item<O>),
    /// DELETED, at this version.
    Gone(Version),
    /// BOOKMARK; `whole`: the streaming list is complete.
    Mark { version: Version, whole: bool },
    /// The answer to a list.
    Listed(Version, Option<Item<O>>),
}

/// Why there is nothing more to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
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
pub(super) enum Say<O> {
    Applied(O),
    Deleted,
}

/// What follows from an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told<O> {
    pub say: Option<Say<O>>,
    /// The first success after a failure that was said.
    pub working: bool,
    /// A consistent read went back.
    pub restored: bool,
    pub then: Then,
}

/// How it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// With the next event.
    Listen,
    /// With another request, at once, for this reason (None: it is the second half of a read).
    Ask(Ask, Option<Reason>),
    /// Not at all, until asked again: the object is immutable.
    Rest,
}

/// How it goes on after an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub ask: Ask,
    pub after: Duration,
    pub reason: Reason,
    /// What is to be said to people, if it was not said already.
    pub failing: Option<String>,
}

/// What was said last.
#[derive(Debug)]
struct Said {
    version: Version,
    /// None: it is absent.
    digest: Option<u64>,
}

#[derive(Debug)]
enum State<O> {
    /// No request is under way.
    Away,
    /// A consistent read is under way; the newest it has told.
    Telling(Option<Item<O>>),
    /// Changes are told.
    Live,
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
pub(super) struct Follow<O> {
    /// How long before a lost connection is worth a word.
    patience: Duration,
    said: Option<Said>,
    /// The newest version that this watch has told, bookmarks included.
    seen: Option<Version>,
    state: State<O>,
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

impl<O> Follow<O> {
    /// Nothing is known, and an answer is owed.
    pub fn new(pace: &Pace) -> Self {
        Self {
            patience: pace.patience,
            said: None,
            seen: None,
            state: State::Away,
            owed: Owed::This,
            list: false,
            streaming: false,
            retry: Backoff::new(pace.first, pace.most),
            lost: Duration::ZERO,
            failing: None,
        }
    }

    /// What to ask when there is nothing to go on from.
    pub fn ask(&self) -> Ask {
        if self.list { Ask::List } else { Ask::Read }
    }

    /// Whether the whole state is still being told.
    pub fn is_telling(&self) -> bool {
        matches!(self.state, State::Telling(_))
    }

    /// A request is made.
    pub fn begin(&mut self, ask: &Ask) {
        self.streaming = *ask == Ask::Read;
        if let Ask::Watch(from) = ask {
            self.seen = Some(from.clone());
            self.state = State::Live;
        } else {
            self.state = State::Telling(None);
        }
    }

    /// Somebody wants a fresh answer. Whether to ask at once; a read that is under way is let finish
    /// first, so that many who ask at once never keep it from finishing.
    pub fn again(&mut self) -> bool {
        if self.is_telling() {
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
    pub fn heard(&mut self, event: Event<O>) -> Told<O> {
        match &mut self.state {
            State::Telling(newest) => match event {
                Event::Item(item) => {
                    if newest.as_ref().is_none_or(|it| it.version < item.version) {
                        *newest = Some(item);
                    }
                    Told::nothing()
                }
                Event::Gone(_) => {
                    *newest = None;
                    Told::nothing()
                }
                Event::Mark { whole: false, .. } => Told::nothing(),
                Event::Mark { version, .. } => {
                    let newest = newest.take();
                    self.settle(version, newest, Then::Listen)
                }
                Event::Listed(version, item) => {
                    let watch = Then::Ask(Ask::Watch(version.clone()), None);
                    self.settle(version, item, watch)
                }
            },
            State::Live | State::Away => self.live(event),
        }
    }

    /// A consistent read is complete: this is the truth.
    fn settle(&mut self, version: Version, item: Option<Item<O>>, then: Then) -> Told<O> {
        let now = Said {
            version: item.as_ref().map_or(&version, |it| &it.version).clone(),
            digest: item.as_ref().map(|it| it.digest),
        };
        let before = self.said.as_ref();
        let same = before.is_some_and(|it| match now.digest {
            Some(_) => it.version == now.version && it.digest == now.digest,
            None => it.digest.is_none(),
        });
        let restored = before.is_some_and(|it| now.version < it.version);
        let working = self.failing.take().is_some();
        let rest = item.as_ref().is_some_and(|it| it.immutable);
        let say = (!same || self.owed == Owed::This)
            .then(|| item.map_or(Say::Deleted, |it| Say::Applied(it.object)));
        self.said = Some(now);
        self.seen = Some(version);
        self.lost = Duration::ZERO;
        self.state = State::Live;
        self.list = rest;
        let then = if self.owed == Owed::Next {
            self.owe();
            self.read(Reason::Asked)
        } else {
            self.owed = Owed::None;
            if rest { self.rest() } else { then }
        };
        Told {
            say,
            working,
            restored,
            then,
        }
    }

    fn live(&mut self, event: Event<O>) -> Told<O> {
        let version = match &event {
            Event::Item(item) => &item.version,
            Event::Gone(version) | Event::Mark { version, .. } | Event::Listed(version, _) => {
                version
            }
        };
        let marked = self.seen.as_ref().is_some_and(|seen| version < seen);
        let said = self.said.as_ref();
        let older = said.is_some_and(|it| version < &it.version);
        let equal = said.is_some_and(|it| version == &it.version);
        let there = said.is_some_and(|it| it.digest.is_some());
        if marked || older {
            let then = self.read(Reason::Backwards);
            return Told {
                then,
                ..Told::nothing()
            };
        }
        self.seen = Some(version.clone());
        match event {
            Event::Item(_) if equal => Told::nothing(),
            Event::Item(item) => {
                self.said = Some(Said {
                    version: item.version,
                    digest: Some(item.digest),
                });
                let then = if item.immutable {
                    self.rest()
                } else {
                    Then::Listen
                };
                let say = Some(Say::Applied(item.object));
                Told {
                    say,
                    then,
                    ..Told::nothing()
                }
            }
            // Old servers give a deletion the version of the last state, not one of its own.
            Event::Gone(version) => {
                self.said = Some(Said {
                    version,
                    digest: None,
                });
                let say = there.then_some(Say::Deleted);
                Told {
                    say,
                    ..Told::nothing()
                }
            }
            Event::Mark { .. } | Event::Listed(..) => Told::nothing(),
        }
    }

    fn rest(&mut self) -> Then {
        self.state = State::Away;
        self.list = true;
        self.retry.reset();
        Then::Rest
    }

    fn read(&mut self, reason: Reason) -> Then {
        self.state = State::Away;
        Then::Ask(self.ask(), Some(reason))
    }

    /// A request came to its end. `took`: for how long it told nothing whole; `steady`: it did, and
    /// went on for a good while; `chance` is between 0 and 1.
    pub fn ended(&mut self, end: End, took: Duration, steady: bool, chance: f64) -> Pause {
        let telling = self.is_telling();
        self.state = State::Away;
        if self.owed == Owed::Next {
            self.owe();
        }
        if steady {
            self.retry.reset();
        }
        self.lost += took;
        // A streaming list that never ends: perhaps the server does not know of it.
        self.list = telling && self.streaming && end == End::Silent;
        let free = self.retry.is_unused();
        // From half as long to half as long again: the watches of a server end all at once.
        let backoff = self.retry.next_pause().mul_f64(0.5 + chance);
        // The first of these says nothing of what the next attempt will meet.
        let soon = if free { Duration::ZERO } else { backoff };
        let (reason, after, why, at_once) = match end {
            End::Closed => (Reason::Renewed, soon, None, false),
            End::Expired => (Reason::Expired, soon, None, false),
            End::Silent => {
                let why = "the API server does not answer".to_owned();
                (Reason::Silent, soon, Some(why), false)
            }
            End::Unsupported(_) if self.streaming => {
                self.list = true;
                (Reason::Unsupported, Duration::ZERO, None, false)
            }
            End::Unsupported(why) => (Reason::Unsupported, backoff, Some(told(&why)), true),
            End::Cut(why) => (Reason::Cut, backoff, Some(lost(&why)), false),
            End::Unreachable(why) => (Reason::Unreachable, backoff, Some(lost(&why)), false),
            End::Busy(wait, why) => {
                let wait = wait.map_or(backoff, |wait| wait.mul_f64(1.0 + chance / 4.0));
                (Reason::Busy, wait.max(backoff), Some(told(&why)), false)
            }
            End::Unauthorized(why) => (Reason::Unauthorized, backoff, Some(told(&why)), !free),
            End::Forbidden(why) => (Reason::Forbidden, backoff, Some(told(&why)), true),
            End::Refused(why) => (Reason::Refused, backoff, Some(told(&why)), true),
            End::Garbled(why) => (
                Reason::Garbled,
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
        Pause {
            ask: self.ask(),
            after,
            reason,
            failing,
        }
    }
}

impl<O> Told<O> {
    fn nothing() -> Self {
        Self {
            say: None,
            working: false,
            restored: false,
            then: Then::Listen,
        }
    }
}

fn told(why: &str) -> String {
    format!("the API server says: {why}")
}

fn lost(why: &str) -> String {
    format!("the API server cannot be reached: {why}")
}
