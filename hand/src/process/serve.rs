//! Whom the main thread listens to: one daemon at a time.
//!
//! A hand that is a daemon's child has the one connection, and ends with it. One that runs apart
//! waits for daemons on a socket. Who comes there and says hello in a version that the hand speaks
//! takes the place of the former at once: somebody else makes sure that the former has gone, and one
//! that stands still would never make room. What a former had asked for is begun before anything
//! that its successor asks. Who comes and says nothing, or something else, disturbs nobody.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::listener::Listener;
use super::{EndReason, HandProcess};
use crate::HandError;
use crate::protocol::{Answer, Call, Control, Request, Spoken, decode};
use crate::socket::{Received, buffer, first_readable, readable, receive};

/// How long to leave the kernel alone where it gives no connection that it has (`EMFILE`).
const PAUSE: Duration = Duration::from_millis(10);
/// How often a hand without a daemon looks whether daemons go to another.
const LOOK: Duration = Duration::from_secs(1);

/// Who there is to be heard.
struct Company {
    daemon: Option<Connection>,
    /// Somebody who has come and not yet said hello.
    guest: Option<Connection>,
}

impl HandProcess {
    /// Serves the daemon whose child this is, until its end.
    pub(super) fn serve_parent(&self, socket: OwnedFd) -> EndReason {
        let mut buffer = buffer();
        let mut daemon = Connection::new(socket, self.beat);
        loop {
            let now = Instant::now();
            let wake = self.wake(now, Some(&daemon));
            let received = match readable(&*daemon.socket, wake.saturating_duration_since(now)) {
                Ok(true) => receive(&*daemon.socket, &mut buffer),
                Ok(false) => Ok(Received::Nothing),
                Err(errno) => Err(errno),
            };
            match received {
                Ok(Received::Message(length, beside)) => {
                    self.take(&mut daemon, &buffer[..length], beside);
                }
                Ok(Received::Cut) => tracing::debug!("a request was cut off"),
                Ok(Received::Nothing) => {
                    if daemon.is_silent() {
                        return EndReason::Silent;
                    }
                    continue;
                }
                Ok(Received::End) | Err(_) => return EndReason::Closed,
            }
            daemon.heard();
        }
    }

    /// Serves whoever comes, until nobody can come any more: another hand has this one's place, and the
    /// last daemon has gone.
    pub(super) fn serve_all(&self, listener: &Listener) {
        let mut buffer = buffer();
        let mut company = Company {
            daemon: None,
            guest: None,
        };
        loop {
            if company.daemon.is_none() && listener.is_replaced() {
                return tracing::warn!("another hand listens in this one's place");
            }
            let now = Instant::now();
            let wake = self
                .wake(now, company.guest.as_ref())
                .min(self.wake(now, company.daemon.as_ref()));
            let within = wake.saturating_duration_since(now);
            // New ones first: what a daemon that does not end says is no reason to keep another out.
            let sockets: Vec<_> = std::iter::once(listener.socket.as_fd())
                .chain(company.guest.iter().map(|guest| guest.socket.as_fd()))
                .chain(company.daemon.iter().map(|daemon| daemon.socket.as_fd()))
                .collect();
            let ready = first_readable(&sockets, within).unwrap_or_else(|errno| {
                tracing::error!(%errno, "poll");
                std::thread::sleep(PAUSE);
                None
            });
            match (ready, company.guest.is_some()) {
                (Some(0), _) => match listener.accept() {
                    Ok(Some(socket)) => company.guest = Some(Connection::new(socket, self.beat)),
                    Ok(None) => {}
                    Err(errno) => {
                        tracing::warn!(%errno, "cannot accept a connection");
                        std::thread::sleep(PAUSE);
                    }
                },
                (Some(1), true) => self.welcome(&mut company, &mut buffer),
                (Some(_), _) => self.hear(&mut company.daemon, &mut buffer),
                (None, _) => {
                    company.guest.take_if(Connection::is_silent);
                    if let Some(daemon) = company.daemon.take_if(Connection::is_silent) {
                        tracing::warn!("the daemon was silent; another may come");
                        daemon.end();
                    }
                }
            }
        }
    }

    /// When there is something to do although nobody says anything.
    fn wake(&self, now: Instant, connection: Option<&Connection>) -> Instant {
        let due = connection.map_or(now + LOOK, |connection| connection.due);
        self.pool.expire(now).map_or(due, |next| next.min(due))
    }

    /// A guest has something to say, or has gone.
    fn welcome(&self, company: &mut Company, buffer: &mut [u8]) {
        let Some(guest) = company.guest.take() else {
            return;
        };
        let length = match receive(&*guest.socket, buffer) {
            Ok(Received::Message(length, _)) => length,
            Ok(Received::Nothing) => {
                company.guest = Some(guest);
                return;
            }
            _ => return,
        };
        let Ok(Request {
            seq,
            call: Call::Control(Control::Hello(theirs)),
            ..
        }) = decode(&buffer[..length])
        else {
            return tracing::warn!("somebody came and did not say hello");
        };
        let welcome = Spoken::OURS.common(theirs).is_some();
        if welcome && let Some(mut former) = company.daemon.take() {
            self.dismiss(&mut former, buffer);
        }
        guest.reply(seq, Ok(Answer::Hello(Spoken::OURS)));
        if welcome {
            tracing::info!("a daemon has come");
            company.daemon = Some(guest);
        } else {
            tracing::warn!(?theirs, ours = ?Spoken::OURS, "a daemon came that speaks another version");
        }
    }

    /// Begins what a daemon asked for before another came.
    fn dismiss(&self, former: &mut Connection, buffer: &mut [u8]) {
        tracing::warn!("a daemon's place is taken by another");
        former.reply(0, Err(HandError::Replaced));
        former.end();
        loop {
            match receive(&*former.socket, buffer) {
                Ok(Received::Message(length, beside)) => {
                    self.take(former, &buffer[..length], beside);
                }
                Ok(Received::Cut | Received::Nothing) => {}
                Ok(Received::End) | Err(_) => return,
            }
        }
    }

    /// A daemon has something to say, or has gone. Nothing of it is taken away then.
    fn hear(&self, daemon: &mut Option<Connection>, buffer: &mut [u8]) {
        let Some(connection) = daemon else {
            return;
        };
        match receive(&*connection.socket, buffer) {
            Ok(Received::Message(length, beside)) => {
                self.take(connection, &buffer[..length], beside);
            }
            Ok(Received::Cut) => tracing::debug!("a request was cut off"),
            Ok(Received::Nothing) => return,
            Ok(Received::End) | Err(_) => {
                tracing::info!("the daemon has gone; its volumes stay");
                connection.end();
                *daemon = None;
                return;
            }
        }
        connection.heard();
    }
}
