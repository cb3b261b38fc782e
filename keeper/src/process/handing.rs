//! Giving everything to one process, in as many messages as it takes, as fast as that reads.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::KeeperProcess;
use super::grants::{Holder, Waiting};
use crate::message::{Line, Name, Role, write};
use crate::socket::send_now;

/// How long somebody may take to read it all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the next try where too many descriptors are unread.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Handing {
    pub to: Waiting,
    same: bool,
    next: Part,
    /// The last name that was sent.
    sent: Option<Name>,
    until: Instant,
    /// Not before.
    again: Option<Instant>,
}

/// What is to be sent next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// And to a new keeper who holds, when that was all.
    Entries,
    /// To a new keeper.
    Lock,
    Taken,
    /// All was sent to a new keeper, which has to say that it got it.
    Confirmation,
}

impl Handing {
    pub fn has_more(&self) -> bool {
        self.next != Part::Confirmation && self.again.is_none()
    }

    /// Whether all was sent to a new keeper.
    pub fn is_sent(&self) -> bool {
        self.next == Part::Confirmation
    }

    pub fn due(&self) -> Instant {
        self.again.map_or(self.until, |again| again.min(self.until))
    }
}

impl KeeperProcess {
    pub(super) fn begin_handing(&mut self, to: Waiting, same: bool, now: Instant) {
        // By another connection of the same process, what it said on the first counts.
        let former = self.grants.holder.as_ref().and_then(|holder| holder.client);
        if let Some(former) = former.filter(|former| same && *former != to.client) {
            self.hear_out(former);
        }
        self.grants.handing = Some(Handing {
            to,
            same,
            next: Part::Entries,
            sent: None,
            until: now + PATIENCE,
            again: None,
        });
    }

    /// Sends what there is room for.
    pub(super) fn push(&mut self, now: Instant) {
        if let Some(handing) = &mut self.grants.handing {
            if now >= handing.until {
                let client = handing.to.client;
                tracing::warn!(pid = handing.to.peer.pid, "does not take what it asked for");
                return self.drop_client(client);
            }
            if handing.again.is_some_and(|again| again > now) {
                return;
            }
            handing.again = None;
        }
        while let Some(handing) = &self.grants.handing
            && handing.next != Part::Confirmation
        {
            let client = handing.to.client;
            let Some(socket) = self.clients.get(client) else {
                return self.drop_client(client);
            };
            let part = self.part(handing);
            match send_now(socket, &write(&part.lines), &part.beside) {
                Ok(()) => {
                    let (next, sent) = (part.next, part.sent);
                    self.sent(next, sent, now);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                    if let Some(handing) = &mut self.grants.handing {
                        handing.again = Some(now + PAUSE);
                    }
                    return;
                }
                Err(errno) => {
                    tracing::warn!(%errno, "cannot give what was asked for");
                    return self.drop_client(client);
                }
            }
        }
    }

    fn sent(&mut self, next: Option<Part>, sent: Option<Name>, now: Instant) {
        if let (Some(handing), Some(next)) = (&mut self.grants.handing, next) {
            handing.next = next;
            handing.sent = sent.or_else(|| handing.sent.take());
        } else if let Some(handing) = self.grants.handing.take() {
            self.granted(handing.to, now);
        }
    }

    fn part(&self, handing: &Handing) -> PartMessage<'_> {
        let to_keeper = handing.to.role == Role::Keeper;
        match handing.next {
            Part::Entries => {
                let entries = self.store.after(handing.sent.as_ref());
                if let Some((last, _)) = entries.last() {
                    let lines = entries.iter().map(|(name, _)| Line::Name((*name).clone()));
                    return PartMessage {
                        lines: lines.collect(),
                        sent: Some((*last).clone()),
                        next: Some(Part::Entries),
                        beside: entries.iter().map(|(_, descriptor)| *descriptor).collect(),
                    };
                }
                if !to_keeper {
                    return self.taken(handing);
                }
                self.holder_part().unwrap_or_else(|| self.lock_part())
            }
            Part::Lock => self.lock_part(),
            Part::Taken | Part::Confirmation => self.taken(handing),
        }
    }

    fn holder_part(&self) -> Option<PartMessage<'_>> {
        let Holder {
            peer, role, ready, ..
        } = self.grants.holder.as_ref()?;
        let mut lines = vec![Line::Holder, Line::Role(*role)];
        lines.extend(peer.pid.map(Line::Pid));
        lines.extend(ready.then_some(Line::Ready));
        Some(PartMessage {
            lines,
            beside: vec![peer.as_fd()],
            sent: None,
            next: Some(Part::Lock),
        })
    }

    fn lock_part(&self) -> PartMessage<'_> {
        PartMessage {
            lines: vec![Line::Lock],
            beside: vec![self.place.lock().as_fd()],
            sent: None,
            next: Some(Part::Taken),
        }
    }

    fn taken(&self, handing: &Handing) -> PartMessage<'_> {
        let mut lines = vec![Line::Taken(self.store.len() as u64)];
        lines.extend(handing.same.then_some(Line::Same));
        PartMessage {
            lines,
            beside: Vec::new(),
            sent: None,
            next: (handing.to.role == Role::Keeper).then_some(Part::Confirmation),
        }
    }
}

struct PartMessage<'k> {
    lines: Vec<Line>,
    beside: Vec<BorrowedFd<'k>>,
    /// The last name in it.
    sent: Option<Name>,
    /// What comes after it; none where that was all, and it is granted.
    next: Option<Part>,
}
