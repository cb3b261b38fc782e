//! SEQPACKET with descriptors, as in the hand, but with as many beside a message as the kernel lets.
//!
//! Every descriptor arrives close-on-exec, nothing raises SIGPIPE, and only [`send`] waits.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, recvmsg, sendmsg, socket_with,
};
use rustix::process::geteuid;

use crate::message::{MAX_DESCRIPTORS, MAX_MESSAGE};
use crate::sys::peer_credentials;

/// How long to leave the kernel alone where there is nothing to poll for: a reader of too many
/// descriptors (`ETOOMANYREFS`), a shortage of memory.
const PAUSE: Duration = Duration::from_millis(1);

/// One record.
#[derive(Debug)]
pub(crate) enum Received {
    /// A whole message and the descriptors beside it.
    Message(usize, Vec<OwnedFd>),
    /// A record that was longer than any may be.
    TooLong,
    /// A record whose descriptors found no room in this process; those that did are closed.
    NoRoom,
    /// Nothing this time. The peer is where it was.
    Nothing,
    /// The peer is gone.
    End,
}

/// Room for any record.
pub(crate) fn buffer() -> Box<[u8]> {
    // A byte more, so that what is too long shows.
    vec![0; MAX_MESSAGE + 1].into_boxed_slice()
}

/// A connection to whoever listens at a path: `ENOENT` or `ECONNREFUSED` where nobody does, `EAGAIN`
/// where too many wait to be accepted.
pub(crate) fn dial(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    // What is stored may be secret, and what is taken is believed: never with a stranger, whatever the
    // folder lets others do.
    if peer_credentials(socket.as_fd())?.0 != geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    Ok(socket)
}

/// Sends one record without waiting: `EAGAIN` where the peer does not read, `ETOOMANYREFS` where it has
/// too many descriptors unread.
pub(crate) fn send_now(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    if descriptors.len() > MAX_DESCRIPTORS || bytes.len() > MAX_MESSAGE {
        return Err(Errno::MSGSIZE);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags))
        .map(drop)
}

/// Sends one record, waiting for room until `until` at the latest (`ETIMEDOUT`).
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    until: Instant,
) -> Result<(), Errno> {
    loop {
        match send_now(&socket, bytes, descriptors) {
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {
                if Instant::now() >= until {
                    return Err(Errno::TIMEDOUT);
                }
                wait(&socket, PollFlags::OUT, until)?;
            }
            // poll(2) does not tell when that has changed.
            Err(Errno::TOOMANYREFS) if Instant::now() < until => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

/// Takes one record, if there is one; `buffer` is a [`buffer`].
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let taken = loop {
        match recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        ) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Received::End),
            Err(errno) => return Err(errno),
            Ok(taken) => break taken,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if taken.flags.contains(ReturnFlags::CTRUNC) {
        return Ok(Received::NoRoom);
    }
    if taken.flags.contains(ReturnFlags::TRUNC) || taken.bytes > MAX_MESSAGE {
        return Ok(Received::TooLong);
    }
    // An empty record and the end look alike; nobody sends an empty one.
    if taken.bytes == 0 {
        return Ok(Received::End);
    }
    Ok(Received::Message(taken.bytes, descriptors))
}

/// Waits until the socket can be read, or has ended. False where the time passed first, or a signal came.
pub(crate) fn readable(socket: impl AsFd, until: Instant) -> Result<bool, Errno> {
    wait(socket, PollFlags::IN, until)
}

fn wait(socket: impl AsFd, what: PollFlags, until: Instant) -> Result<bool, Errno> {
    let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), what)];
    wait_for(&mut polled, Some(until))
}

/// Waits for any of several; without a time, for ever. False where the time passed first, a signal came or
/// the kernel had no memory: all callers are in a loop with a time of their own.
pub(crate) fn wait_for(polled: &mut [PollFd<'_>], until: Option<Instant>) -> Result<bool, Errno> {
    // Up to the next millisecond, so that nobody wakes just before.
    let left = until
        .map(|until| until.saturating_duration_since(Instant::now()) + Duration::from_micros(500));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(polled, timeout.as_ref()) {
        Err(Errno::INTR) => Ok(false),
        Err(Errno::NOMEM) => {
            std::thread::sleep(PAUSE);
            Ok(false)
        }
        ready => Ok(ready? > 0),
    }
}
