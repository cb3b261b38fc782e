//! SEQPACKET with descriptors: one record a message, whole or not at all, and the end of the peer
//! is the end of the stream.
//!
//! Every descriptor arrives close-on-exec, and a send never raises SIGPIPE. What a record means is
//! [`protocol`](crate::protocol)'s.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use crate::protocol::MAX_MESSAGE;

/// No message carries more descriptors; the kernel closes what does not fit (`MSG_CTRUNC`).
pub(crate) const MAX_DESCRIPTORS: usize = 2;

/// How long to leave the kernel alone where there is nothing to poll for: a reader of too many
/// descriptors (`ETOOMANYREFS`), a shortage of memory.
const PAUSE: Duration = Duration::from_millis(1);

/// One record.
#[derive(Debug)]
pub(crate) enum Received {
    /// A whole message and the descriptors beside it.
    Message(usize, Vec<OwnedFd>),
    /// A record that was too long, or had too many descriptors; what came of it was dropped.
    Cut,
    /// Nothing this time. The peer is where it was.
    Nothing,
    /// The peer is gone.
    End,
}

/// The two ends, both close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Sends one record without waiting: `EAGAIN` where the peer does not read.
pub(crate) fn send_now(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    if descriptors.len() > MAX_DESCRIPTORS {
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

/// Sends one record, waiting for room until `deadline` at the latest (`ETIMEDOUT`).
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    deadline: Instant,
) -> Result<(), Errno> {
    loop {
        match send_now(&socket, bytes, descriptors) {
            Err(Errno::AGAIN) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Errno::TIMEDOUT);
                }
                wait(&socket, PollFlags::OUT, left)?;
            }
            // Too many descriptors are on their way and unread (unix(7)); poll does not tell when
            // that has changed.
            Err(Errno::TOOMANYREFS) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

/// Takes one record; `buffer` should have [`MAX_MESSAGE`] bytes.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let taken = loop {
        match recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            Err(errno) => return without(errno),
            Ok(taken) => break taken,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // An empty record and the end look alike; nobody sends an empty one.
    if taken.bytes == 0 {
        return Ok(Received::End);
    }
    if taken
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Ok(Received::Cut);
    }
    Ok(Received::Message(taken.bytes, descriptors))
}

/// What an error of recvmsg(2) says of the peer. That the kernel has no memory for the moment is not
/// its end: who takes it for that takes every mount away.
fn without(errno: Errno) -> Result<Received, Errno> {
    match errno {
        Errno::CONNRESET | Errno::PIPE => Ok(Received::End),
        Errno::AGAIN => Ok(Received::Nothing),
        Errno::NOBUFS | Errno::NOMEM => {
            std::thread::sleep(PAUSE);
            Ok(Received::Nothing)
        }
        _ => Err(errno),
    }
}

/// Room for any record.
pub(crate) fn buffer() -> Box<[u8]> {
    vec![0; MAX_MESSAGE].into_boxed_slice()
}

/// Waits until the socket can be read, or has ended. False where `within` passed first, a signal came
/// or the kernel had no memory.
pub(crate) fn readable(socket: impl AsFd, within: Duration) -> Result<bool, Errno> {
    wait(socket, PollFlags::IN, within)
}

/// The same of several sockets: the index of the first of them that can be read.
pub(crate) fn first_readable(
    sockets: &[BorrowedFd<'_>],
    within: Duration,
) -> Result<Option<usize>, Errno> {
    let mut polled: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::from_borrowed_fd(*socket, PollFlags::IN))
        .collect();
    wait_for(&mut polled, within)?;
    Ok(polled.iter().position(|one| !one.revents().is_empty()))
}

fn wait(socket: impl AsFd, what: PollFlags, within: Duration) -> Result<bool, Errno> {
    wait_for(
        &mut [PollFd::from_borrowed_fd(socket.as_fd(), what)],
        within,
    )
}

fn wait_for(polled: &mut [PollFd<'_>], within: Duration) -> Result<bool, Errno> {
    let timeout = Timespec::try_from(within).unwrap_or(Timespec {
        tv_sec: i64::from(u32::MAX),
        tv_nsec: 0,
    });
    match poll(polled, Some(&timeout)) {
        // All callers are in a loop with a deadline of their own.
        Err(Errno::INTR) => Ok(false),
        Err(Errno::NOMEM) => {
            std::thread::sleep(PAUSE);
            Ok(false)
        }
        ready => Ok(ready? > 0),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn records_stay_apart_and_bring_descriptors() {
        let (a, b) = pair().expect("a pair");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"inside").expect("writes");
        send(&a, b"one", &[file.as_fd(), a.as_fd()], soon()).expect("room");
        send(&a, &vec![7; MAX_MESSAGE], &[], soon()).expect("room");
        drop(file);

        let mut buffer = buffer();
        let Ok(Received::Message(3, mut beside)) = receive(&b, &mut buffer) else {
            panic!("a message")
        };
        assert_eq!(&buffer[..3], b"one");
        assert_eq!(beside.len(), 2);
        for descriptor in &beside {
            assert!(
                rustix::io::fcntl_getfd(descriptor)
                    .expect("open")
                    .contains(rustix::io::FdFlags::CLOEXEC)
            );
        }
        let mut file = std::fs::File::from(beside.swap_remove(0));
        let mut text = String::new();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_string(&mut text))
            .expect("reads");
        assert_eq!(text, "inside");
        drop(beside);

        let Ok(Received::Message(MAX_MESSAGE, beside)) = receive(&b, &mut buffer) else {
            panic!("a message")
        };
        assert!(beside.is_empty() && buffer.iter().all(|byte| *byte == 7));
        drop(a);
        assert!(matches!(receive(&b, &mut buffer), Ok(Received::End)));
        assert_eq!(send_now(&b, b"x", &[]), Err(Errno::PIPE), "and no signal");
    }

    #[test]
    fn what_is_too_much_is_cut_and_said() {
        let (a, b) = pair().expect("a pair");
        send(&a, &vec![7; MAX_MESSAGE + 1], &[], soon()).expect("room");
        let mut buffer = buffer();
        assert!(matches!(receive(&b, &mut buffer), Ok(Received::Cut)));
        assert_eq!(
            send_now(&a, b"x", &[a.as_fd(), a.as_fd(), a.as_fd()]),
            Err(Errno::MSGSIZE)
        );
    }

    #[test]
    fn a_shortage_of_memory_is_nobodys_end() {
        for errno in [Errno::NOBUFS, Errno::NOMEM] {
            assert!(matches!(without(errno), Ok(Received::Nothing)), "{errno}");
        }
        for errno in [Errno::CONNRESET, Errno::PIPE] {
            assert!(matches!(without(errno), Ok(Received::End)), "{errno}");
        }
        assert!(matches!(without(Errno::AGAIN), Ok(Received::Nothing)));
        assert!(matches!(without(Errno::NOTSOCK), Err(Errno::NOTSOCK)));
    }

    #[test]
    fn a_reader_who_does_not_read_is_given_up_on() {
        let (a, _b) = pair().expect("a pair");
        let begun = Instant::now();
        let full =
            std::iter::repeat_with(|| send(&a, &[0; 1024], &[], begun + Duration::from_millis(50)))
                .find(Result::is_err);
        assert_eq!(full, Some(Err(Errno::TIMEDOUT)));
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(!readable(&a, Duration::ZERO).expect("polls"));
    }
}
