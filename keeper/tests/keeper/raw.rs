//! A client that says whatever it likes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind,
    connect, listen, recvmsg, sendmsg, socket_with,
};

use super::roles::PATIENCE;

pub struct Raw(pub OwnedFd);

impl Raw {
    pub fn dial(dir: &Path) -> Option<Self> {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let address = SocketAddrUnix::new(dir.join("keep.sock")).expect("a short path");
        connect(&socket, &address).ok().map(|()| Self(socket))
    }

    /// The process at the other end.
    pub fn peer(&self) -> u32 {
        let peer = socket_peercred(&self.0).expect("it is connected");
        u32::try_from(peer.pid.as_raw_pid()).expect("a number")
    }

    pub fn say(&self, bytes: &[u8], beside: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        send(&self.0, bytes, beside)
    }

    /// What comes next, with the number of descriptors beside it; none at the end.
    pub fn hear(&self) -> Option<(String, usize)> {
        let (text, beside) = receive(&self.0)?;
        Some((text, beside.len()))
    }
}

/// A keeper that says whatever it likes.
pub struct FakeKeeper(OwnedFd);

impl FakeKeeper {
    pub fn listen(dir: &Path) -> Self {
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let address = SocketAddrUnix::new(dir.join("keep.sock")).expect("a short path");
        bind(&socket, &address).expect("binds");
        listen(&socket, 8).expect("listens");
        Self(socket)
    }

    /// Hears nothing of the next who comes.
    pub fn drop_next(&self) {
        drop(accept_with(&self.0, SocketFlags::CLOEXEC).expect("somebody comes"));
    }

    /// The next who asks for everything.
    pub fn asked(&self) -> Raw {
        let raw = Raw(accept_with(&self.0, SocketFlags::CLOEXEC).expect("somebody comes"));
        let (asked, _) = raw.hear().expect("it says so");
        assert_eq!(asked, "TAKE=1\nROLE=daemon\n");
        raw
    }
}

pub fn send(socket: &OwnedFd, bytes: &[u8], beside: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !beside.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(beside)));
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map(drop)
}

pub fn receive(socket: impl AsFd) -> Option<(String, Vec<OwnedFd>)> {
    let timeout = Timespec::try_from(PATIENCE).expect("it is short");
    let mut polled = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    let ready = poll(&mut polled, Some(&timeout)).expect("polls");
    assert!(ready > 0, "nothing comes");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = vec![0; 80_000];
    let taken = recvmsg(
        &socket,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    );
    let length = match taken {
        Ok(taken) => taken.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(errno) => panic!("{errno}"),
    };
    let mut beside = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            beside.extend(rights);
        }
    }
    (length > 0).then(|| {
        (
            String::from_utf8_lossy(&buffer[..length]).into_owned(),
            beside,
        )
    })
}
