//! The process at the other end of a connection, held so that no other can be taken for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::sys;

/// A process, by its pidfd.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its number, where it is seen from here; for people.
    pub pid: Option<u32>,
    pidfd: OwnedFd,
}

impl Peer {
    /// Who connected. Fails where it cannot be held: it has gone, or is in a PID namespace that is not
    /// seen from here, on a kernel without `SO_PEERPIDFD`.
    pub fn of(socket: BorrowedFd<'_>) -> Result<Self, Errno> {
        let (_, pid) = sys::peer_credentials(socket)?;
        let pidfd = match sys::peer_pidfd(socket) {
            Err(Errno::NOPROTOOPT) => by_number(socket, pid)?,
            other => other?,
        };
        Ok(Self { pid, pidfd })
    }

    /// One of whom another keeper tells.
    pub fn told(pid: Option<u32>, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd }
    }

    /// Whether it has ended: all its threads are gone, and with them what it had open.
    pub fn ended(&self) -> bool {
        is_ready(self.pidfd.as_fd(), PollFlags::IN)
    }

    /// Kills it, and no other.
    pub fn kill(&self) -> Result<(), Errno> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Err(Errno::SRCH) => Ok(()),
            other => other,
        }
    }

    /// Whether both are the same process.
    pub fn is(&self, other: &Self) -> bool {
        match (identity(&self.pidfd), identity(&other.pidfd)) {
            (Some(own), Some(others)) => own == others,
            // A number belongs to one process for as long as that has not ended.
            _ => self.pid.is_some() && self.pid == other.pid && !self.ended(),
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Before Linux 6.5. Between its connecting and now it may have ended, and its number be another's; but
/// then its end of the connection is closed.
fn by_number(socket: BorrowedFd<'_>, pid: Option<u32>) -> Result<OwnedFd, Errno> {
    let pid = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if is_ready(socket, PollFlags::HUP) {
        return Err(Errno::SRCH);
    }
    Ok(pidfd)
}

/// Since Linux 6.9 a pidfd is a file of its process, on a filesystem of their own. Before, all share one
/// anonymous inode, which says nothing.
fn identity(pidfd: &OwnedFd) -> Option<u64> {
    const PID_FS_MAGIC: u64 = 0x5049_4446;
    let filesystem = fstatfs(pidfd).ok()?;
    let inode = fstat(pidfd).ok()?.st_ino;
    (u64::try_from(filesystem.f_type) == Ok(PID_FS_MAGIC)).then_some(inode)
}

fn is_ready(descriptor: BorrowedFd<'_>, what: PollFlags) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, what)];
    let now = Timespec::try_from(Duration::ZERO).ok();
    let ready = rustix::io::retry_on_intr(|| poll(&mut polled, now.as_ref()));
    ready.is_ok_and(|ready| ready > 0) && polled[0].revents().intersects(what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn by_its_number_one_is_believed_only_while_it_is_connected() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let own = Some(std::process::id());
        let by = |pid| by_number(ours.as_fd(), pid).map(|pidfd| Peer::told(pid, pidfd));
        let first = Peer::of(ours.as_fd()).expect("we live");
        assert!(by(own).expect("we live").is(&first));
        assert_eq!(by(None).map(drop), Err(Errno::SRCH), "of another namespace");
        drop(theirs);
        assert_eq!(by(own).map(drop), Err(Errno::SRCH));
    }

    #[test]
    fn two_are_the_same_only_if_they_are() {
        let start = || {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).spawn().expect("cat is there")
        };
        let (mut one, mut other) = (start(), start());
        let peer = |pid| {
            let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pidfd = pidfd_open(number.expect("a number"), PidfdFlags::empty());
            Peer::told(Some(pid), pidfd.expect("it lives"))
        };
        let (first, second) = (peer(one.id()), peer(other.id()));
        assert!(first.is(&peer(one.id())) && !first.is(&second));
        assert!(!first.ended());
        first.kill().expect("it is ours");
        one.wait().expect("it ends");
        assert!(first.ended() && !second.ended());
        first.kill().expect("to kill the dead is no error");
        drop(other.stdin.take());
        other.wait().expect("it ends");
    }
}
