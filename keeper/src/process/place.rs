//! The keeper's folder: one keeper at a time has it, and a new one takes over from the one that is there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::process::umask;

use crate::KeeperError;
use crate::error::During;
use crate::message::{Malformed, Role};
use crate::socket::{Received, buffer, dial, readable, receive};
use crate::taking::{Taken, address, confirm, take};

const PAUSE: Duration = Duration::from_millis(5);
/// Between two looks whether the folder is free.
const LOOK: Duration = Duration::from_millis(100);
const BACKLOG: i32 = 64;

/// The folder, claimed.
pub(super) struct Place {
    socket: PathBuf,
    listener: OwnedFd,
    /// Held for as long as this process lives, and handed on: between two keepers no third can come.
    lock: OwnedFd,
}

impl Place {
    /// Takes everything from a keeper that is there, waits for its end and listens in its place.
    pub fn claim(dir: &Path, within: Duration) -> Result<(Self, Option<Taken>), KeeperError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .during("make the keeper's folder")?;
        let lock = open_lock(dir)?;
        let until = Instant::now() + within;
        let socket = address(dir);
        let (lock, taken) = loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break (lock, None),
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(errno).during("lock keep.lock"),
            }
            // Several may have come at once: whoever takes from one that another took from before gets
            // nothing, and asks again.
            if let Some((lock, taken)) = take_over(&socket, until)? {
                break (lock, Some(taken));
            }
            if Instant::now() >= until {
                return Err(KeeperError::Occupied(dir.to_owned()));
            }
            std::thread::sleep(PAUSE);
        };
        Ok((Self::listen(socket, lock)?, taken))
    }

    /// Waits until no keeper has the folder any more, taking nothing from the one that has. None where `stop`
    /// can be read first.
    pub fn when_free(dir: &Path, stop: BorrowedFd<'_>) -> Result<Option<Self>, KeeperError> {
        let lock = open_lock(dir)?;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Self::listen(address(dir), lock).map(Some),
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(errno).during("lock keep.lock"),
            }
            // The kernel tells nobody that a lock is free.
            if readable(stop, Instant::now() + LOOK).during("poll")? {
                return Ok(None);
            }
        }
    }

    fn listen(socket: PathBuf, lock: OwnedFd) -> Result<Self, KeeperError> {
        let listener = listen_at(&socket)?;
        Ok(Self {
            socket,
            listener,
            lock,
        })
    }

    pub fn listener(&self) -> &OwnedFd {
        &self.listener
    }

    pub fn lock(&self) -> &OwnedFd {
        &self.lock
    }

    /// Takes the name away, so that nobody waits for us any more. Not where another keeper has the lock.
    pub fn leave(&self) {
        let _gone = fs::remove_file(&self.socket);
    }
}

fn open_lock(dir: &Path) -> Result<OwnedFd, KeeperError> {
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("keep.lock"))
        .during("open keep.lock")?;
    Ok(lock.into())
}

/// Everything of the keeper that listens, and its lock; nothing where none does, or it went meanwhile.
fn take_over(socket: &Path, until: Instant) -> Result<Option<(OwnedFd, Taken)>, KeeperError> {
    let Ok(connection) = dial(socket) else {
        return Ok(None);
    };
    let mut taken = match take(&connection, Role::Keeper, until) {
        Ok(taken) => taken,
        Err(KeeperError::Gone) => return Ok(None),
        Err(error) => return Err(error),
    };
    let lock = taken.lock.take().ok_or(Malformed)?;
    // Now it ends, and only now: before, it was the one who had everything. Where it is gone already we are.
    match confirm(&connection, taken.stored.len() as u64, until) {
        Ok(()) => {}
        Err(KeeperError::Gone) => return Ok(Some((lock, taken))),
        Err(error) => return Err(error),
    }
    let mut buffer = buffer();
    while !matches!(
        receive(&connection, &mut buffer),
        Ok(Received::End) | Err(_)
    ) {
        if Instant::now() >= until {
            tracing::warn!("the keeper before this one has handed over and does not end");
            break;
        }
        let _ended = readable(&connection, until);
    }
    Ok(Some((lock, taken)))
}

fn listen_at(path: &Path) -> Result<OwnedFd, KeeperError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .during("make a socket")?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).during("remove a dead keeper's socket");
        }
        _ => {}
    }
    let name = SocketAddrUnix::new(path).during("name the socket")?;
    // From its first moment it is its owner's alone.
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = bind(&socket, &name);
    umask(before);
    bound.during("bind the socket")?;
    listen(&socket, BACKLOG).during("listen")?;
    Ok(socket)
}
