//! Where daemons come to a hand that runs apart: a socket in a folder, for processes of its own user
//! alone.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, chmod, lstat, mkdir, rename, unlink};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use rustix::process::geteuid;

use crate::HandError;
use crate::error::During;
use crate::protocol::SOCKET;
use crate::sys::peer_user;

/// Connections that the kernel keeps until they are looked at.
const BACKLOG: i32 = 16;

/// The socket that is listened on, and its place.
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// Takes the place of whatever hand listened in this folder: one that was killed may keep its
    /// socket for as long as one of its threads is in the kernel, and must not be in the way. The
    /// name always leads to a socket that answers.
    pub(super) fn new(dir: &Path) -> Result<Self, HandError> {
        match mkdir(dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during("make the hand's folder"),
        }
        let new = dir.join(format!(".{SOCKET}.{}", std::process::id()));
        match unlink(&new) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).during("remove an old socket"),
        }
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .during("make a socket")?;
        let address = SocketAddrUnix::new(&new).during("name the socket")?;
        bind(&socket, &address).during("bind the socket")?;
        chmod(&new, Mode::RUSR | Mode::WUSR).during("close the socket to others")?;
        listen(&socket, BACKLOG).during("listen")?;
        let found = lstat(&new).during("look at the socket")?;
        let path = dir.join(SOCKET);
        rename(&new, &path).during("put the socket in its place")?;
        Ok(Self {
            socket,
            path,
            identity: (found.st_dev, found.st_ino),
        })
    }

    /// Whether another hand listens in this one's place: nobody comes here any more.
    pub(super) fn is_replaced(&self) -> bool {
        lstat(&self.path).is_ok_and(|found| (found.st_dev, found.st_ino) != self.identity)
    }

    /// Somebody who came, if it is somebody who may.
    pub(super) fn accept(&self) -> Result<Option<OwnedFd>, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match accept_with(&self.socket, flags) {
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(None),
            accepted => accepted?,
        };
        let user = peer_user(&socket)?;
        if user == geteuid().as_raw() {
            return Ok(Some(socket));
        }
        tracing::warn!(user, "a process of another user is not heard");
        Ok(None)
    }
}
