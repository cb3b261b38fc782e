//! Who is at the other end: a child that was started, or a hand that runs apart; and telling either
//! what it has to know before anybody else may speak to it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use super::adoption::Adoption;
use super::batching::left;
use super::child::{give_up, spawn};
use super::{ClientOptions, Reach};
use crate::HandError;
use crate::error::During;
use crate::protocol::{Answer, Call, Control, Reply, Request, Spoken, decode, encode};
use crate::socket::{Received, buffer, readable, receive, send};
use crate::sys::peer_user;

/// To tell a new hand everything.
const ADOPTION: Duration = Duration::from_secs(10);
/// Before another hand is gone for where the last one had worked, and twice as long after each that
/// never said a word.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The most where a hand is only gone to: somebody else starts it again.
pub(super) const LONGEST_APART: Duration = Duration::from_millis(500);
/// For a hand that runs apart to say hello: its main thread waits for nobody.
const HELLO: Duration = Duration::from_secs(5);

/// The other end of a connection.
pub(super) enum Peer {
    Child(Child),
    Apart {
        path: PathBuf,
        /// Which socket had the name when we came.
        socket: Option<(u64, u64)>,
    },
}

impl Peer {
    /// A hand to speak to, that knows nothing yet.
    pub(super) fn reach(options: &ClientOptions) -> Result<(Self, OwnedFd), HandError> {
        match &options.reach {
            Reach::Child {
                program,
                args,
                roots,
                selinux_context,
            } => {
                let context = selinux_context.as_deref();
                let (child, socket) = spawn((program, args), roots, context, options.heartbeat)?;
                Ok((Self::Child(child), socket))
            }
            Reach::Socket(path) => {
                let found = identity(path);
                let socket = come(path)?;
                let peer = Self::Apart {
                    path: path.clone(),
                    socket: found,
                };
                Ok((peer, socket))
            }
        }
    }

    /// Whether another hand listens where this one did. One that was killed while a thread of it is
    /// in the kernel keeps its connections until that is freed.
    pub(super) fn has_moved(&self) -> bool {
        match self {
            Self::Child(_) => false,
            Self::Apart { path, socket } => {
                let now = identity(path);
                now.is_some() && now != *socket
            }
        }
    }

    /// It does not answer.
    pub(super) fn give_up(self) {
        if let Self::Child(child) = self {
            give_up(child);
        }
    }

    /// Its connection has ended. Says whether all is as it should be if that was asked for: a child
    /// has taken the volumes away, and who runs apart leaves them.
    pub(super) fn has_ended_well(self) -> bool {
        match self {
            Self::Child(mut child) => {
                let status = child.wait();
                let well = status.as_ref().is_ok_and(std::process::ExitStatus::success);
                if !well {
                    tracing::warn!(?status, "the hand died");
                }
                well
            }
            Self::Apart { .. } => true,
        }
    }
}

/// A hand that runs apart may not be there yet.
pub(super) fn first(
    options: &ClientOptions,
    deadline: Instant,
) -> Result<(Peer, OwnedFd), HandError> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        match Peer::reach(options) {
            Err(HandError::Unreachable { .. }) if !left(deadline).is_zero() => {}
            reached => return reached,
        }
        std::thread::sleep(pause.min(left(deadline)));
        pause = (pause * 2).min(LONGEST_APART);
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = path.symlink_metadata().ok()?;
    Some((found.dev(), found.ino()))
}

/// Connects to a hand that runs apart, and agrees with it on the protocol.
fn come(path: &Path) -> Result<OwnedFd, HandError> {
    let unreachable = |errno: Errno| HandError::Unreachable {
        socket: path.display().to_string(),
        errno: errno.raw_os_error(),
    };
    // Where a hand stands still its queue is full at some time: no reason to wait in the kernel.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(unreachable)?;
    let address = SocketAddrUnix::new(path).map_err(unreachable)?;
    connect(&socket, &address).map_err(unreachable)?;
    // It is given mounts: never a stranger, whatever the folder lets others do.
    if peer_user(&socket).map_err(unreachable)? != geteuid().as_raw() {
        return Err(unreachable(Errno::PERM));
    }
    let deadline = Instant::now() + HELLO;
    let hello = request(Control::Hello(Spoken::OURS).into())?;
    send(&socket, &hello, &[], deadline).map_err(unreachable)?;
    let mut buffer = buffer();
    loop {
        if left(deadline).is_zero() {
            return Err(unreachable(Errno::TIMEDOUT));
        }
        if !readable(&socket, left(deadline)).map_err(unreachable)? {
            continue;
        }
        let length = match receive(&socket, &mut buffer).map_err(unreachable)? {
            Received::Message(length, _) => length,
            Received::Nothing => continue,
            // It hears its own user alone.
            Received::Cut | Received::End => return Err(unreachable(Errno::CONNRESET)),
        };
        let Ok(Reply {
            outcome: Ok(Answer::Hello(theirs)),
            ..
        }) = decode(&buffer[..length])
        else {
            return Err(HandError::Malformed);
        };
        return match Spoken::OURS.common(theirs) {
            Some(_) => Ok(socket),
            None => Err(HandError::Version {
                ours: Spoken::OURS,
                theirs,
            }),
        };
    }
}

/// Tells a new hand everything, before anybody else may speak on the socket. One that could not be told
/// all must not be spoken to: what it was not told of it would take for nobody's.
pub(super) fn tell(
    socket: &OwnedFd,
    adoptions: Vec<Adoption>,
    settled: bool,
) -> Result<(), HandError> {
    let deadline = Instant::now() + ADOPTION;
    let settle = settled.then_some((Control::Settle, None));
    for (control, mount) in adoptions.into_iter().chain(settle) {
        let bytes = request(control.into())?;
        let mount: Vec<_> = mount.iter().map(AsFd::as_fd).collect();
        send(socket.as_fd(), &bytes, &mount, deadline).during("tell the hand of a volume")?;
    }
    Ok(())
}

/// A message whose answer nobody waits for.
pub(super) fn request(call: Call) -> Result<Vec<u8>, HandError> {
    encode(&Request {
        seq: 0,
        within_ms: 0,
        call,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_hand_listens_it_is_said() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let socket = dir.path().join("hand.sock");
        let options = ClientOptions {
            reach: Reach::Socket(socket.clone()),
            heartbeat: HELLO,
        };
        let error = first(&options, Instant::now()).err().expect("nobody does");
        assert_eq!(
            error.to_string(),
            format!(
                "no hand answers on {}: No such file or directory (os error 2)",
                socket.display()
            )
        );
    }
}
