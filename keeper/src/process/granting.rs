//! Bringing the next in turn to have everything. One process at a time has: a former one that were only ignored
//! would answer its share of the reads with what it knows.

use std::time::Instant;

use super::grants::{Going, Holder, Waiting};
use super::{KeeperProcess, requests};
use crate::message::{Line, Role};
use crate::taking::Taken;

/// What has to come before the next in turn can be given everything.
enum Before {
    Nothing,
    /// It is the same process.
    Same,
    Refused(&'static str),
    End,
}

impl KeeperProcess {
    /// What the keeper before this one had.
    pub(super) fn begin_with(&mut self, taken: Taken) {
        let now = Instant::now();
        let descriptors = taken.stored.len();
        for (name, descriptor) in taken.stored {
            if self.store.put(name, descriptor).is_err() {
                tracing::error!("fewer descriptors are allowed than the keeper before had");
                break;
            }
        }
        if let Some(holder) = taken.holder {
            self.grants.holder = Some(Holder {
                client: None,
                peer: holder.peer,
                role: holder.role,
                ready: holder.ready,
                since: now,
                watchdog: None,
                going: None,
            });
            self.grants.unserved.over();
        }
        let holder = self.grants.holder_role().map_or("nobody", Role::as_str);
        tracing::info!(descriptors, holder, "took the place of another keeper");
    }

    /// Sees whether the holder's process has ended. What it had said before counts.
    pub(super) fn look_at_holder(&mut self, now: Instant) {
        if self.grants.handing.is_some() {
            return;
        }
        let ended = self
            .grants
            .holder
            .as_ref()
            .is_some_and(|holder| holder.peer.ended());
        if !ended {
            return;
        }
        if let Some(client) = self.grants.holder.as_ref().and_then(|holder| holder.client) {
            self.hear_out(client);
            self.drop_client(client);
        }
        let Some(holder) = self.grants.holder.take() else {
            return;
        };
        let wanted_to = holder.going.is_some();
        self.grants.since = now;
        self.grants
            .unserved
            .again(now, holder.role == Role::Daemon && !wanted_to);
        tracing::info!(
            pid = holder.peer.pid,
            role = holder.role.as_str(),
            handed_over = wanted_to,
            descriptors = self.store.len(),
            "the holder has ended"
        );
    }

    /// Brings the next in turn nearer to having everything.
    pub(super) fn advance(&mut self, now: Instant) {
        while self.grants.handing.is_none() {
            let Some(next) = self.grants.next() else {
                return;
            };
            match self.before(next) {
                Before::End => return self.make_room(now),
                before => {
                    let Some(waiting) = self.grants.waiting.remove(next) else {
                        return;
                    };
                    if let Before::Refused(why) = before {
                        requests::refuse(&self.clients, waiting.client, why);
                        continue;
                    }
                    let same = matches!(before, Before::Same);
                    self.begin_handing(waiting, same, now);
                }
            }
        }
    }

    fn before(&self, next: usize) -> Before {
        let (Some(waiting), Some(holder)) = (self.grants.waiting.get(next), &self.grants.holder)
        else {
            return Before::Nothing;
        };
        if waiting.role == Role::Keeper {
            Before::Nothing
        } else if holder.peer.is(&waiting.peer) {
            Before::Same
        } else if waiting.role == Role::Caretaker {
            Before::Refused("somebody serves")
        } else {
            Before::End
        }
    }

    /// Tells the holder to end; kills it when its time is over.
    fn make_room(&mut self, now: Instant) {
        let Some(holder) = &mut self.grants.holder else {
            return;
        };
        let (pid, role) = (holder.peer.pid, holder.role.as_str());
        match &mut holder.going {
            None => {
                let until = now + self.options.handover;
                holder.going = Some(Going {
                    until,
                    killed: false,
                });
                let client = holder.client;
                let told = client.is_some_and(|id| self.clients.tell(id, &[Line::HandOver]));
                tracing::info!(pid, role, told, "the holder is told to hand over");
            }
            Some(going) if !going.killed && now >= going.until => {
                going.killed = true;
                match holder.peer.kill() {
                    Ok(()) => tracing::warn!(pid, role, "the holder did not end and is killed"),
                    Err(error) => tracing::error!(
                        pid, role, %error,
                        "the holder did not end and cannot be killed; nobody else can hold until it ends"
                    ),
                }
            }
            Some(_) => {}
        }
    }

    /// Everything has been given.
    pub(super) fn granted(&mut self, to: Waiting, now: Instant) {
        tracing::info!(
            pid = to.peer.pid,
            role = to.role.as_str(),
            descriptors = self.store.len(),
            "everything is granted"
        );
        let former = self.grants.holder.take().and_then(|holder| holder.client);
        self.grants.holder = Some(Holder {
            client: Some(to.client),
            peer: to.peer,
            role: to.role,
            ready: false,
            since: now,
            watchdog: None,
            going: None,
        });
        // The same process by another connection.
        if let Some(former) = former.filter(|former| *former != to.client) {
            self.drop_client(former);
        }
        self.grants.takes += 1;
        self.grants.since = now;
        self.grants.unserved.over();
        if to.role == Role::Daemon
            && let Some(caretaker) = &mut self.caretaker
        {
            caretaker.forgive(now);
        }
    }
}
