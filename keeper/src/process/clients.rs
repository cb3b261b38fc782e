//! Who is connected. Only processes of the keeper's own uid get as far as here.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::geteuid;

use crate::message::{Line, write};
use crate::socket::send_now;
use crate::sys::peer_credentials;

/// More than daemons, caretakers and askers of one machine will ever be.
const MOST: usize = 64;

/// A connection, by a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(u64);

#[derive(Default)]
pub(super) struct Clients {
    connected: BTreeMap<ClientId, OwnedFd>,
    next: u64,
}

impl Clients {
    /// Lets one in. Where all places are taken the one who came first and is not needed has to go.
    pub fn accept(&mut self, listener: &OwnedFd, needed: impl Fn(ClientId) -> bool) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match rustix::io::retry_on_intr(|| accept_with(listener, flags)) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::CONNABORTED) => return,
            Err(errno) => {
                // Descriptors are in reserve, so this is the machine's trouble.
                tracing::warn!(%errno, "cannot accept a connection");
                std::thread::sleep(std::time::Duration::from_millis(1));
                return;
            }
        };
        match peer_credentials(socket.as_fd()) {
            Ok((uid, _)) if uid == geteuid().as_raw() => {}
            Ok((uid, pid)) => return tracing::warn!(uid, pid, "a stranger is not heard"),
            Err(errno) => return tracing::warn!(%errno, "a connection without an owner"),
        }
        if self.connected.len() >= MOST {
            let idle = self.connected.keys().copied().find(|id| !needed(*id));
            match idle {
                Some(idle) => drop(self.connected.remove(&idle)),
                None => return tracing::warn!("too many connections"),
            }
        }
        let id = ClientId(self.next);
        self.next += 1;
        self.connected.insert(id, socket);
    }

    pub fn get(&self, id: ClientId) -> Option<BorrowedFd<'_>> {
        self.connected.get(&id).map(AsFd::as_fd)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ClientId, &OwnedFd)> {
        self.connected.iter().map(|(id, socket)| (*id, socket))
    }

    pub fn remove(&mut self, id: ClientId) -> bool {
        self.connected.remove(&id).is_some()
    }

    /// Says something short. Who does not read is not waited for: false where it was not said.
    pub fn tell(&self, id: ClientId, lines: &[Line]) -> bool {
        self.get(id)
            .is_some_and(|socket| send_now(socket, &write(lines), &[]).is_ok())
    }
}
