//! Going on with a connection that another process has served.
//!
//! Such a connection has agreed with the kernel long ago and is never asked for INIT again, but fuser
//! begins with that. So fuser is given one end of a socket on which an INIT waits, the one that the
//! kernel once sent; when it has been answered, the connection takes the socket's place, by its number.
//!
//! What the predecessor had read and not answered is sent again by the kernel where it can (Linux 6.9).
//! Where it cannot, what the predecessor kept of it is put to fuser over that socket first, its answers
//! are handed on, and whatever else it may have read is told that it is stale: a walk through a path is
//! then begun anew by the kernel itself (`retry_estale`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use fuser::{Config, Notifier, Session, SessionACL};
use livemount_volume::ParkedOpen;
use rustix::io::{Errno, write};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use super::fuse::Filesystem;
use super::raw;
use crate::store::Slot;

/// How far from the newest number that a predecessor was seen to read another one may be that it read
/// (measured: `fuse_get_unique` goes up by 2, and a request's order of reading is not its number's).
const BELOW: u64 = 1000;
const ABOVE: u64 = 800;
/// The largest answer: a READ of 32 pages (`FUSE_DEFAULT_MAX_PAGES_PER_REQ`), with its header.
const ANSWER: usize = (128 << 10) + 4096;

/// A connection, as fuser serves it.
pub struct Connection {
    /// Its loop.
    pub session: Session<Filesystem>,
    /// By which the kernel is told things.
    pub notifier: Notifier,
    /// What the kernel can do, as its INIT said: a successor agrees on the same.
    pub capabilities: u64,
}

fn config() -> Config {
    let mut config = Config::default();
    config.acl = SessionACL::All;
    // One loop for each volume; never clone_fd, whose requests are aborted with the daemon.
    config.n_threads = Some(1);
    config
}

/// Agrees with the kernel on a new connection.
///
/// # Errors
///
/// They do not agree.
pub fn begin(filesystem: Filesystem, device: OwnedFd) -> io::Result<Connection> {
    let agreed = filesystem.agreed();
    let session = Session::from_fd(filesystem, device, SessionACL::All, config())?;
    Ok(Connection {
        notifier: session.notifier(),
        session,
        // Set in its INIT, which has been.
        capabilities: agreed.get().copied().unwrap_or_default(),
    })
}

/// A connection that another process has served, before anything is read from it.
pub struct Inherited {
    connection: Connection,
    device: OwnedFd,
    /// The other end of what fuser reads from.
    ours: OwnedFd,
    /// The number of fuser's descriptor.
    place: i32,
}

impl Inherited {
    /// Has fuser agree with the kernel of then.
    ///
    /// # Errors
    ///
    /// The machine refuses something basic.
    pub fn new(filesystem: Filesystem, device: OwnedFd, capabilities: u64) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        send(&ours, &raw::init(capabilities), SendFlags::NOSIGNAL)?;
        let connection = begin(filesystem, theirs)?;
        let mut answer = [0; 256];
        recv(&ours, &mut answer[..], RecvFlags::DONTWAIT)?;
        let place = connection.session.as_fd().as_raw_fd();
        Ok(Self {
            connection,
            device,
            ours,
            place,
        })
    }

    /// Lets the kernel send again what was not answered, and starts the loop by `start`. Not the other way
    /// round: what the loop had read by then would be sent to it twice, and an open would be counted twice.
    ///
    /// # Errors
    ///
    /// The kernel cannot, or the connection has ended.
    pub fn resent<S>(self, start: impl FnOnce(Connection) -> io::Result<S>) -> io::Result<S> {
        switch(&self.device, self.place)?;
        write(&self.device, &raw::resend())?;
        start(self.connection)
    }

    /// Answers what the predecessor had read, as far as it is known, and has the kernel begin anew with the
    /// rest. `start` starts the loop.
    ///
    /// # Errors
    ///
    /// The machine refuses something basic, or the connection has ended.
    pub fn answered<S>(
        self,
        slot: &Slot,
        parked: &[ParkedOpen],
        start: impl FnOnce(Connection) -> io::Result<S>,
    ) -> io::Result<S> {
        let (newest, request) = slot.found();
        // First what is in the slot, for the others are written there as they are looked at.
        let mut known: Vec<Vec<u8>> = request.into_iter().collect();
        let parked = parked.iter();
        known.extend(parked.map(|open| raw::open(open.request.0, open.ino.0)));
        let numbers: Vec<u64> = known
            .iter()
            .filter_map(|request| raw::number(request))
            .collect();
        let Self {
            connection,
            device,
            ours,
            place,
        } = self;
        let started = start(connection)?;
        let mut answer = vec![0; ANSWER];
        for request in known.iter().chain([&raw::marker()]) {
            send(&ours, request, SendFlags::NOSIGNAL)?;
        }
        loop {
            let (length, _) = recv(&ours, &mut answer[..], RecvFlags::empty())?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if raw::number(&answer[..length]) == Some(raw::MARKER) {
                break;
            }
            hand_on(&device, &answer[..length])?;
        }
        slot.answered();
        let newest = newest & !1;
        for number in (newest.saturating_sub(BELOW).max(2)..newest.saturating_add(ABOVE)).step_by(2)
        {
            if !numbers.contains(&number) {
                hand_on(&device, &raw::refusal(number, libc::ESTALE))?;
            }
        }
        switch(&device, place)?;
        // The loop waits on the socket, which is not its descriptor any more: this wakes it.
        let _gone = send(&ours, &raw::nothing(), SendFlags::NOSIGNAL);
        Ok(started)
    }
}

/// Puts a connection in the place of fuser's socket.
fn switch(device: &OwnedFd, place: i32) -> io::Result<()> {
    // SAFETY: dup3 touches no memory. `place` is the number of the descriptor that fuser's session owns, for as
    // long as this is called before the session ends; what was behind it is closed, and nobody else has it.
    let switched = unsafe { libc::dup3(device.as_raw_fd(), place, libc::O_CLOEXEC) };
    if switched < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Hands an answer on to the kernel. One that it does not know has been answered, or was never read.
fn hand_on(device: &OwnedFd, answer: &[u8]) -> io::Result<()> {
    match write(device, answer) {
        Ok(_) | Err(Errno::NOENT | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
