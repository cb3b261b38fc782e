//! What clients ask, and what is done about it. Who cannot be understood is dropped, and nothing is lost by
//! that: a holder holds until its process has ended.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::KeeperProcess;
use super::clients::{ClientId, Clients};
use super::grants::Waiting;
use super::watchdog::Watchdog;
use crate::message::{Line, MAX_MESSAGE, Request, Role, read, requests};
use crate::peer::Peer;
use crate::socket::{Received, receive};

/// The most that a dead process can have left in its socket: a socket's buffer has fewer bytes than this.
const MOST_UNREAD: usize = 1 << 20;

/// Tells somebody that something is not done.
pub(super) fn refuse(clients: &Clients, id: ClientId, why: &str) {
    clients.tell(id, &[Line::Refused(why.to_owned())]);
}

impl KeeperProcess {
    /// One message of one client, if there is one. Whether there was.
    pub(super) fn hear(&mut self, id: ClientId) -> bool {
        if !self.grants.may_speak(id) {
            return false;
        }
        let Some(socket) = self.clients.get(id) else {
            return false;
        };
        match receive(socket, &mut self.buffer) {
            Ok(Received::Message(length, beside)) => {
                let asked = read(&self.buffer[..length.min(MAX_MESSAGE)])
                    .and_then(|lines| requests(&lines, beside.len()));
                match asked {
                    Ok(asked) => self.answer(id, asked, beside),
                    Err(_) => self.drop_babbler(id),
                }
                true
            }
            Ok(Received::NoRoom) => {
                tracing::error!("no room for more descriptors");
                refuse(&self.clients, id, "no room for more descriptors");
                true
            }
            Ok(Received::Nothing) => false,
            Ok(Received::TooLong) => {
                self.drop_babbler(id);
                false
            }
            Ok(Received::End) | Err(_) => {
                self.drop_client(id);
                false
            }
        }
    }

    /// All that a process has said that says no more.
    pub(super) fn hear_out(&mut self, id: ClientId) {
        for _ in 0..MOST_UNREAD {
            if !self.hear(id) {
                return;
            }
        }
    }

    pub(super) fn drop_client(&mut self, id: ClientId) {
        self.clients.remove(id);
        self.grants.forget(id);
    }

    fn drop_babbler(&mut self, id: ClientId) {
        tracing::warn!("a connection that makes no sense is dropped");
        self.drop_client(id);
    }

    fn answer(&mut self, id: ClientId, asked: Vec<Request>, beside: Vec<OwnedFd>) {
        let now = Instant::now();
        let mut beside = beside.into_iter();
        for request in asked {
            match request {
                Request::Store(names) => {
                    for (name, descriptor) in names.into_iter().zip(beside.by_ref()) {
                        if !self.grants.is_holder(id) {
                            refuse(&self.clients, id, "only the holder stores");
                            break;
                        }
                        if self.store.put(name, descriptor).is_err() {
                            tracing::error!(held = self.store.len(), "the store is full");
                            refuse(&self.clients, id, "the store is full");
                        }
                    }
                }
                Request::Remove(names) if self.grants.is_holder(id) => {
                    for name in &names {
                        self.store.remove(name);
                    }
                }
                Request::Remove(_) => refuse(&self.clients, id, "only the holder removes"),
                Request::Barrier(seq) => {
                    drop(beside.next());
                    if let Some(seq) = seq
                        && !self.clients.tell(id, &[Line::Done(seq)])
                    {
                        // It waits for an answer that it will not get.
                        return self.drop_client(id);
                    }
                }
                Request::Take(role) => self.ask(id, role),
                Request::Taken(number) => self.confirmed(id, number),
                Request::Ask => {
                    let report = self.report(now);
                    self.clients.tell(id, &[Line::Report(report)]);
                }
                Request::Ready
                | Request::Stopping
                | Request::Watchdog
                | Request::WatchdogUsec(_) => self.hear_state(id, &request, now),
            }
        }
    }

    /// What is only of interest from the holder.
    fn hear_state(&mut self, id: ClientId, said: &Request, now: Instant) {
        if !self.grants.is_holder(id) {
            return;
        }
        let Some(holder) = &mut self.grants.holder else {
            return;
        };
        match said {
            Request::Ready => {
                if !holder.ready {
                    tracing::info!(
                        pid = holder.peer.pid,
                        role = holder.role.as_str(),
                        "the holder is ready"
                    );
                }
                holder.ready = true;
            }
            // It has not everything any more: who waits for a daemon that has goes on waiting.
            Request::Stopping => holder.ready = false,
            Request::Watchdog => {
                if let Some(dog) = &mut holder.watchdog {
                    dog.sign(now);
                }
            }
            Request::WatchdogUsec(within) => {
                holder.watchdog = Watchdog::every(Duration::from_micros(*within), now);
            }
            _ => {}
        }
    }

    fn ask(&mut self, id: ClientId, role: Role) {
        let Some(socket) = self.clients.get(id) else {
            return;
        };
        let peer = match Peer::of(socket) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::error!(%error, role = role.as_str(), "who asks for everything cannot be held");
                return refuse(
                    &self.clients,
                    id,
                    "your process is not seen from here: the keeper needs the host's PID namespace",
                );
            }
        };
        let waiting = Waiting {
            client: id,
            role,
            peer,
        };
        if let Err(why) = self.grants.ask(waiting) {
            refuse(&self.clients, id, why);
        }
    }

    /// A new keeper says that it has got everything.
    fn confirmed(&mut self, id: ClientId, number: u64) {
        let handing = self.grants.handing.as_ref();
        let handed = handing.is_some_and(|handing| handing.to.client == id && handing.is_sent());
        if handed && number == self.store.len() as u64 {
            self.handed = true;
        }
    }

    /// How things stand, in one line.
    fn report(&self, now: Instant) -> String {
        let holder = self.grants.holder.as_ref();
        let pid = holder.and_then(|holder| holder.peer.pid).unwrap_or(0);
        let role = holder.map_or("nobody", |holder| holder.role.as_str());
        let ready = u8::from(holder.is_some_and(|holder| holder.ready));
        let since = holder.map_or(self.grants.since, |holder| holder.since);
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        format!(
            "entries={} holder={role} pid={pid} ready={ready} seconds={seconds:.3} takes={}",
            self.store.len(),
            self.grants.takes,
        )
    }
}
