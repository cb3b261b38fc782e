//! Who holds, who waits to, and who is being given everything.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::clients::ClientId;
use super::handing::Handing;
use super::unserved::Unserved;
use super::watchdog::Watchdog;
use crate::message::Role;
use crate::peer::Peer;

/// Who has everything.
pub(super) struct Holder {
    /// How it is spoken to; none while it is not connected. It holds until its process has ended.
    pub client: Option<ClientId>,
    pub peer: Peer,
    pub role: Role,
    /// It has said so since it took.
    pub ready: bool,
    pub since: Instant,
    pub watchdog: Option<Watchdog>,
    pub going: Option<Going>,
}

/// It was told to end.
pub(super) struct Going {
    pub until: Instant,
    pub killed: bool,
}

/// Who asks for everything.
pub(super) struct Waiting {
    pub client: ClientId,
    pub role: Role,
    pub peer: Peer,
}

pub(super) struct Grants {
    pub holder: Option<Holder>,
    pub waiting: VecDeque<Waiting>,
    pub handing: Option<Handing>,
    /// How often everything was granted.
    pub takes: u64,
    pub unserved: Unserved,
    /// Since when it is as it is.
    pub since: Instant,
}

impl Grants {
    pub fn new(now: Instant) -> Self {
        Self {
            holder: None,
            waiting: VecDeque::new(),
            handing: None,
            takes: 0,
            unserved: Unserved::since(now),
            since: now,
        }
    }

    /// Whether a connection is more than a visitor's.
    pub fn needs(&self, id: ClientId) -> bool {
        self.is_holder(id)
            || self.waiting.iter().any(|waiting| waiting.client == id)
            || self
                .handing
                .as_ref()
                .is_some_and(|handing| handing.to.client == id)
    }

    pub fn is_holder(&self, id: ClientId) -> bool {
        self.holder
            .as_ref()
            .is_some_and(|holder| holder.client == Some(id))
    }

    /// While everything is being handed over, what is everything must not change.
    pub fn may_speak(&self, id: ClientId) -> bool {
        self.handing.is_none() || !self.is_holder(id)
    }

    pub fn has_more_for(&self, id: ClientId) -> bool {
        self.handing
            .as_ref()
            .is_some_and(|handing| handing.to.client == id && handing.has_more())
    }

    pub fn holder_role(&self) -> Option<Role> {
        self.holder.as_ref().map(|holder| holder.role)
    }

    /// The holder's end, to be waited for. Not while its end must change nothing.
    pub fn holder_pidfd(&self) -> Option<BorrowedFd<'_>> {
        let holder = self.holder.as_ref().filter(|_| self.handing.is_none())?;
        Some(holder.peer.as_fd())
    }

    /// Whether a daemon that stays has everything that is held.
    pub fn all_is_held(&self) -> bool {
        let stays = self.holder.as_ref().is_some_and(|holder| {
            holder.role == Role::Daemon
                && holder.ready
                && holder.going.is_none()
                && !holder.peer.ended()
        });
        stays && self.handing.is_none() && self.waiting.is_empty()
    }

    /// When nobody will have served for too long; none while somebody does, or is about to.
    pub fn unserved(&self, alone: Duration) -> Option<Instant> {
        let about_to = self.holder.is_some() || self.handing.is_some() || !self.waiting.is_empty();
        self.unserved.due(alone).filter(|_| !about_to)
    }

    pub fn due(&self) -> Option<Instant> {
        let holder = self.holder.as_ref();
        let watchdog = holder.and_then(|holder| holder.watchdog.as_ref().map(Watchdog::due));
        let going = holder
            .and_then(|holder| holder.going.as_ref())
            .filter(|going| !going.killed && self.handing.is_none())
            .map(|going| going.until);
        let handing = self.handing.as_ref().map(Handing::due);
        [watchdog, going, handing].into_iter().flatten().min()
    }

    /// Kills a holder that has not said for too long that it is well. Its end is seen like any other.
    pub fn watch(&mut self, now: Instant) {
        let Some(holder) = &mut self.holder else {
            return;
        };
        if !holder.watchdog.as_mut().is_some_and(|dog| dog.is_over(now)) {
            return;
        }
        holder.watchdog = None;
        match holder.peer.kill() {
            Ok(()) => tracing::error!(
                pid = holder.peer.pid,
                role = holder.role.as_str(),
                "the holder has given no sign of life; it is killed"
            ),
            Err(error) => tracing::error!(%error, "the holder cannot be killed"),
        }
    }

    /// A connection is no more.
    pub fn forget(&mut self, id: ClientId) {
        self.waiting.retain(|waiting| waiting.client != id);
        if let Some(holder) = &mut self.holder
            && holder.client == Some(id)
        {
            holder.client = None;
        }
        if self
            .handing
            .as_ref()
            .is_some_and(|handing| handing.to.client == id)
        {
            self.handing = None;
        }
    }

    /// Asks for everything. A caretaker is only for when nobody else is there.
    pub fn ask(&mut self, waiting: Waiting) -> Result<(), &'static str> {
        let daemon_waits = self.waiting.iter().any(|other| other.role == Role::Daemon);
        if waiting.role == Role::Caretaker && daemon_waits {
            return Err("a daemon is about to serve");
        }
        self.waiting.retain(|other| other.client != waiting.client);
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// The next in turn. A new keeper ends nobody, so it has not to wait for anybody's end.
    pub fn next(&self) -> Option<usize> {
        let keeper = |waiting: &Waiting| waiting.role == Role::Keeper;
        self.waiting
            .iter()
            .position(keeper)
            .or_else(|| (!self.waiting.is_empty()).then_some(0))
    }
}
