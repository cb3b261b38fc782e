//! How things are said to whoever keeps: as much in a message as that one takes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};

use super::link::{Link, Shared, Store};
use crate::message::{Line, MAX_DESCRIPTORS, Name, write};
use crate::socket::send;

/// How long a keeper may take no message before it is taken for gone.
const ROOM: Duration = Duration::from_secs(5);

impl Shared {
    pub(super) fn send_copies(&self, link: &Link, copies: &[(Name, Arc<OwnedFd>)]) -> bool {
        copies.chunks(self.at_once()).all(|copies| {
            let mut lines = vec![Line::Store];
            // systemd would let go of what poll(2) finds fault with, a dead connection for example, and its
            // name with it.
            lines.extend(matches!(self.store, Store::Systemd).then_some(Line::Poll(0)));
            lines.extend(copies.iter().map(|(name, _)| Line::Name(name.clone())));
            let beside: Vec<BorrowedFd<'_>> = copies
                .iter()
                .map(|(_, descriptor)| descriptor.as_fd())
                .collect();
            self.send(link, &lines, &beside)
        })
    }

    pub(super) fn send_removal(&self, link: &Link, names: &[Name]) -> bool {
        names.chunks(self.at_once()).all(|names| {
            let mut lines = vec![Line::Remove];
            lines.extend(names.iter().cloned().map(Line::Name));
            self.send(link, &lines, &[])
        })
    }

    /// systemd has one name for all descriptors of a message.
    fn at_once(&self) -> usize {
        match self.store {
            Store::Systemd => 1,
            Store::Dir(..) => MAX_DESCRIPTORS,
        }
    }

    /// A keeper that cannot be spoken to is gone; the thread that listens hears that too, by its socket's end.
    pub(super) fn send(&self, link: &Link, lines: &[Line], beside: &[BorrowedFd<'_>]) -> bool {
        match send(&*link.socket, &write(lines), beside, Instant::now() + ROOM) {
            Ok(()) => true,
            Err(errno) => {
                tracing::warn!(%errno, "nothing can be said to the keeper");
                if matches!(self.store, Store::Dir(..)) {
                    let _ended = shutdown(&*link.socket, Shutdown::Both);
                }
                false
            }
        }
    }
}
