//! Taking everything from a keeper that is connected to: what a daemon and a new keeper both do first.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::KeeperError;
use crate::error::During;
use crate::message::{Line, Malformed, Name, Role, read, write};
use crate::peer::Peer;
use crate::socket::{Received, buffer, dial, readable, receive, send};

/// What a keeper gave.
pub(crate) struct Taken {
    pub stored: Vec<(Name, OwnedFd)>,
    /// Nobody else held them since this process last did.
    pub same: bool,
    /// For a new keeper: who holds.
    pub holder: Option<TakenHolder>,
    /// For a new keeper: the lock of the folder.
    pub lock: Option<OwnedFd>,
}

pub(crate) struct TakenHolder {
    pub peer: Peer,
    pub role: Role,
    pub ready: bool,
}

/// The keeper's socket in a folder.
pub(crate) fn address(dir: &Path) -> PathBuf {
    dir.join("keep.sock")
}

/// How long to leave a folder alone where nobody listened, longer each time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A connection to a keeper as soon as there is one.
///
/// # Errors
///
/// [`KeeperError::Absent`] where none came in time.
pub(crate) fn reach(dir: &Path, until: Instant) -> Result<OwnedFd, KeeperError> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match dial(&address(dir)) {
            Ok(socket) => return Ok(socket),
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN) => {}
            Err(errno) => return Err(errno).during("connect to the keeper"),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(KeeperError::Absent(dir.to_owned()));
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks for everything and waits until it is granted.
///
/// # Errors
///
/// [`KeeperError::Refused`]; [`KeeperError::Gone`] where the keeper went meanwhile;
/// [`KeeperError::Slow`].
pub(crate) fn take(socket: &OwnedFd, role: Role, until: Instant) -> Result<Taken, KeeperError> {
    let asked = write(&[Line::Take, Line::Role(role)]);
    send(socket, &asked, &[], until).map_err(gone)?;
    let mut taken = Taken {
        stored: Vec::new(),
        same: false,
        holder: None,
        lock: None,
    };
    let mut buffer = buffer();
    loop {
        if !readable(socket, until).during("wait for the keeper")? {
            if Instant::now() >= until {
                return Err(KeeperError::Slow("take"));
            }
            continue;
        }
        match receive(socket, &mut buffer).during("hear the keeper")? {
            Received::Message(length, beside) => {
                let lines = read(&buffer[..length])?;
                if let Some(number) = taken.add(lines, beside)? {
                    if number != taken.stored.len() as u64 {
                        return Err(Malformed.into());
                    }
                    return Ok(taken);
                }
            }
            Received::NoRoom => return Err(Errno::MFILE).during("take what is stored"),
            Received::TooLong => return Err(Malformed.into()),
            Received::Nothing => {}
            Received::End => return Err(KeeperError::Gone),
        }
    }
}

impl Taken {
    /// The number of all descriptors, where this message says it.
    fn add(&mut self, lines: Vec<Line>, beside: Vec<OwnedFd>) -> Result<Option<u64>, KeeperError> {
        let mut beside = beside.into_iter();
        let (mut role, mut pid, mut ready, mut holder) = (None, None, false, None);
        let mut number = None;
        for line in lines {
            match line {
                Line::Name(name) => {
                    let descriptor = beside.next().ok_or(Malformed)?;
                    self.stored.push((name, descriptor));
                }
                Line::Holder => holder = Some(beside.next().ok_or(Malformed)?),
                Line::Lock => self.lock = Some(beside.next().ok_or(Malformed)?),
                Line::Role(is) => role = Some(is),
                Line::Pid(is) => pid = Some(is),
                Line::Ready => ready = true,
                Line::Same => self.same = true,
                Line::Taken(is) => number = Some(is),
                Line::Refused(why) => return Err(KeeperError::Refused(why)),
                _ => {}
            }
        }
        if let (Some(pidfd), Some(role)) = (holder, role) {
            let peer = Peer::told(pid, pidfd);
            self.holder = Some(TakenHolder { peer, role, ready });
        }
        if beside.next().is_some() {
            return Err(Malformed.into());
        }
        Ok(number)
    }
}

/// An error of a send says that nobody reads any more.
pub(crate) fn gone(errno: Errno) -> KeeperError {
    match errno {
        Errno::TIMEDOUT => KeeperError::Slow("send"),
        _ => KeeperError::Gone,
    }
}

/// Tells a keeper that its successor has everything.
pub(crate) fn confirm(socket: &OwnedFd, number: u64, until: Instant) -> Result<(), KeeperError> {
    send(socket.as_fd(), &write(&[Line::Taken(number)]), &[], until).map_err(gone)
}
