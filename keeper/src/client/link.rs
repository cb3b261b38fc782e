//! What a client's threads share: the connection of the moment, and what is stored, so that it can be stored
//! again.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::{KeeperEvent, KeeperStatus, Stored, copy};
use crate::KeeperError;
use crate::error::During;
use crate::message::{Line, Name, Role};

/// Who keeps.
pub(super) enum Store {
    /// Ours, in this folder; this process takes as this.
    Dir(PathBuf, Role),
    Systemd,
}

pub(super) struct Shared {
    pub store: Store,
    /// Whoever changes what is stored, or says anything, does so alone, so that all is said in its order.
    order: Mutex<()>,
    /// Never held across a system call that waits.
    state: Mutex<State>,
    pub changed: Condvar,
    /// Wakes the thread that listens, when it is to end.
    pub closing: OwnedFd,
}

#[derive(Default)]
pub(super) struct State {
    pub link: Option<Link>,
    /// With a copy, where it may have to be stored again.
    pub stored: BTreeMap<Name, Option<Arc<OwnedFd>>>,
    /// Removed since the keeper was last heard to have done all, and how many barriers had been asked for.
    pub removed: BTreeMap<Name, u64>,
    pub found: Vec<Stored>,
    pub ready: bool,
    pub watchdog: Option<Duration>,
    /// The last barrier that was asked for, and that was answered.
    pub asked: u64,
    pub done: u64,
    pub losses: u64,
    pub refused: u64,
    pub handing_over: bool,
    pub closed: bool,
    pub listeners: Vec<Sender<KeeperEvent>>,
}

#[derive(Clone)]
pub(super) struct Link {
    pub socket: Arc<OwnedFd>,
    /// One more for each connection.
    pub number: u64,
}

pub(super) type Copies = Vec<(Name, Arc<OwnedFd>)>;

impl Shared {
    pub fn of_dir(
        dir: &Path,
        role: Role,
        socket: OwnedFd,
        stored: &[(Name, OwnedFd)],
    ) -> Result<Arc<Self>, KeeperError> {
        Self::new(Store::Dir(dir.to_owned(), role), socket, stored)
    }

    pub fn of_systemd(
        socket: OwnedFd,
        stored: &[(Name, OwnedFd)],
    ) -> Result<Arc<Self>, KeeperError> {
        Self::new(Store::Systemd, socket, stored)
    }

    fn new(
        store: Store,
        socket: OwnedFd,
        stored: &[(Name, OwnedFd)],
    ) -> Result<Arc<Self>, KeeperError> {
        let again = matches!(store, Store::Dir(..));
        let stored = stored
            .iter()
            .map(|(name, descriptor)| {
                let copy = again.then(|| copy(descriptor)).transpose()?;
                Ok((name.clone(), copy.map(Arc::new)))
            })
            .collect::<Result<_, KeeperError>>()?;
        let link = Link {
            socket: Arc::new(socket),
            number: 0,
        };
        Ok(Arc::new(Self {
            store,
            order: Mutex::new(()),
            state: Mutex::new(State {
                link: Some(link),
                stored,
                ..State::default()
            }),
            changed: Condvar::new(),
            closing: eventfd(0, EventfdFlags::CLOEXEC).during("make an eventfd")?,
        }))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn order(&self) -> MutexGuard<'_, ()> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn link(&self) -> Option<Link> {
        self.state().link.clone()
    }

    pub fn store(&self, copies: &[(Name, Arc<OwnedFd>)]) {
        let _order = self.order();
        let mut replaced = Vec::new();
        let mut state = self.state();
        let again = matches!(self.store, Store::Dir(..));
        for (name, descriptor) in copies {
            state.removed.remove(name);
            let kept = again.then(|| Arc::clone(descriptor));
            if let Some(old) = state.stored.insert(name.clone(), kept) {
                replaced.push((name.clone(), old));
            }
        }
        let link = state.link.clone();
        drop(state);
        if let Some(link) = link {
            let names: Vec<Name> = replaced.iter().map(|(name, _)| name.clone()).collect();
            if !again && !names.is_empty() {
                self.send_removal(&link, &names);
            }
            self.send_copies(&link, copies);
        }
    }

    pub fn remove(&self, names: &[Name]) {
        let _order = self.order();
        let mut state = self.state();
        let mut removed = Vec::new();
        for name in names {
            removed.extend(state.stored.remove(name));
            let asked = state.asked;
            state.removed.insert(name.clone(), asked);
        }
        let link = state.link.clone();
        drop(state);
        // Closing can take a moment, so it is done when nobody waits for the state.
        drop(removed);
        if let Some(link) = link {
            self.send_removal(&link, names);
        }
    }

    /// Says it to the keeper, if there is one.
    pub fn say(&self, lines: &[Line]) {
        let _order = self.order();
        if let Some(link) = self.link() {
            self.send(&link, lines, &[]);
        }
    }

    pub fn ready(&self) {
        let _order = self.order();
        let mut state = self.state();
        state.ready = true;
        let link = state.link.clone();
        drop(state);
        if let Some(link) = link {
            self.send(&link, &[Line::Ready], &[]);
        }
    }

    pub fn watchdog(&self, within: Duration) {
        let _order = self.order();
        let mut state = self.state();
        state.watchdog = Some(within);
        let link = state.link.clone();
        drop(state);
        if let Some(link) = link {
            self.send(&link, &[watchdog_line(within)], &[]);
        }
    }

    pub fn events(&self) -> Receiver<KeeperEvent> {
        let (sender, receiver) = channel();
        let mut state = self.state();
        if state.link.is_none() {
            let _room = sender.send(KeeperEvent::Gone);
        }
        if state.handing_over {
            let _room = sender.send(KeeperEvent::HandOver);
        }
        state.listeners.push(sender);
        receiver
    }

    pub fn found(&self) -> Vec<Stored> {
        std::mem::take(&mut self.state().found)
    }

    pub fn status(&self) -> KeeperStatus {
        let state = self.state();
        KeeperStatus {
            up: state.link.is_some(),
            stored: state.stored.len(),
            losses: state.losses,
            refused: state.refused,
            handing_over: state.handing_over,
        }
    }

    pub fn close(&self) {
        self.state().closed = true;
        let _awake = rustix::io::write(&self.closing, &1u64.to_ne_bytes());
    }

    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Somebody else is to have everything.
    pub fn hand_over(&self) {
        let mut state = self.state();
        if !state.handing_over {
            state.handing_over = true;
            state.tell(KeeperEvent::HandOver);
        }
    }

    pub fn refused(&self) {
        self.state().refused += 1;
    }

    pub fn done(&self, number: u64) {
        let mut state = self.state();
        state.done = state.done.max(number);
        drop(state);
        self.changed.notify_all();
    }

    /// The keeper has gone: who waits for it hears so.
    pub fn fell(&self) {
        let mut state = self.state();
        if state.link.take().is_some() {
            state.losses += 1;
            state.tell(KeeperEvent::Gone);
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    pub fn tell(&mut self, event: KeeperEvent) {
        self.listeners
            .retain(|listener| listener.send(event).is_ok());
    }
}

pub(super) fn watchdog_line(within: Duration) -> Line {
    Line::WatchdogUsec(u64::try_from(within.as_micros()).unwrap_or(u64::MAX))
}
