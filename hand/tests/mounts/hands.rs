//! A hand that runs apart, daemons that come to it, and guests of another kind.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use livemount_hand::protocol::{
    Answer, Call, Control, MAX_MESSAGE, Reply, Request, SOCKET, Spoken, decode, encode,
};
use livemount_hand::{
    ClientOptions, CommitNumber, Connection, Hand, HandError, OpResult, Prepared, Reach,
    Unfinished, VolumeNumber,
};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use rustix::process::Pid;
use tempfile::TempDir;

use crate::scene::{CALM, SOON, mounts, ring, until};
use crate::server::{Seen, WRITE};

/// A hand on a socket, with a folder for its targets.
pub struct Apart {
    pub root: TempDir,
    pub dir: TempDir,
    hand: Child,
    heartbeat: Duration,
    /// What its hands are told beside what they need.
    more: &'static [&'static str],
}

impl Apart {
    pub fn new() -> Self {
        Self::with_heartbeat(CALM)
    }

    pub fn with_heartbeat(heartbeat: Duration) -> Self {
        Self::told(heartbeat, &[])
    }

    pub fn told(heartbeat: Duration, more: &'static [&'static str]) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let dir = tempfile::tempdir().expect("a directory");
        let hand = listening(root.path(), dir.path(), heartbeat, more);
        Self {
            root,
            dir,
            hand,
            heartbeat,
            more,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    pub fn target(&self, volume: VolumeNumber) -> PathBuf {
        self.root.path().join(volume.to_string())
    }

    pub fn hand(&self) -> Pid {
        Pid::from_child(&self.hand)
    }

    /// A daemon.
    pub fn daemon(&self) -> Hand {
        come(&self.socket(), self.heartbeat).expect("a hand")
    }

    /// Another hand in the same place. The former is reaped at the end.
    pub fn again(&mut self) -> Child {
        let hand = listening(self.root.path(), self.dir.path(), self.heartbeat, self.more);
        std::mem::replace(&mut self.hand, hand)
    }

    /// A volume that is ready to be served and bound.
    pub fn volume(&self, daemon: &Hand, volume: VolumeNumber) -> Connection {
        assert_eq!(
            daemon.prepare(volume, &self.target(volume), false),
            Ok(Prepared {
                created: true,
                replaced: false
            })
        );
        daemon.mount(volume).expect("a connection")
    }

    /// As its predecessor was told of it.
    pub fn adopt(&self, daemon: &Hand, volume: VolumeNumber, mount: &Arc<OwnedFd>) {
        daemon
            .adopt(volume, &self.target(volume), true, true, Arc::clone(mount))
            .expect("it is told");
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _gone = self.hand.kill();
        // Also after a failure. Descriptors of this process may keep it in the kernel.
        if !std::thread::panicking() {
            let _reaped = self.hand.wait();
        }
        for _ in mounts(self.root.path()) {
            for entry in std::fs::read_dir(self.root.path())
                .into_iter()
                .flatten()
                .flatten()
            {
                let _none = unmount(entry.path(), UnmountFlags::DETACH);
            }
        }
    }
}

fn listening(root: &Path, dir: &Path, heartbeat: Duration, more: &[&str]) -> Child {
    let before = dir.join(SOCKET).symlink_metadata().ok();
    let identity = |found: std::fs::Metadata| std::os::unix::fs::MetadataExt::ino(&found);
    let before = before.map(identity);
    let hand = Command::new("/proc/self/exe")
        .args(["hand", "--heartbeat", &heartbeat.as_millis().to_string()])
        .arg("--root")
        .arg(root)
        .arg("--dir")
        .arg(dir)
        .args(more)
        .spawn()
        .expect("starts");
    until("it listens", || {
        let now = dir.join(SOCKET).symlink_metadata().ok().map(identity);
        now.is_some() && now != before
    });
    hand
}

/// A daemon.
pub fn come(socket: &Path, heartbeat: Duration) -> Result<Hand, HandError> {
    Hand::start(ClientOptions {
        reach: Reach::Socket(socket.to_owned()),
        heartbeat,
    })
}

/// Somebody who says what he likes.
pub struct Guest(OwnedFd);

impl Guest {
    pub fn at(socket: &Path) -> Result<Self, Errno> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let guest = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        connect(&guest, &SocketAddrUnix::new(socket)?)?;
        set_socket_timeout(&guest, Timeout::Recv, Some(SOON))?;
        Ok(Self(guest))
    }

    /// One that has said hello as a daemon does.
    pub fn welcome(socket: &Path) -> Self {
        let guest = Self::at(socket).expect("somebody listens");
        guest.say(1, Control::Hello(Spoken::OURS));
        assert_eq!(guest.hear(), Some((1, Ok(Answer::Hello(Spoken::OURS)))));
        guest
    }

    pub fn say(&self, seq: u64, call: impl Into<Call>) {
        self.say_within(seq, 10_000, call);
    }

    pub fn say_within(&self, seq: u64, within_ms: u32, call: impl Into<Call>) {
        let request = Request {
            seq,
            within_ms,
            call: call.into(),
        };
        self.say_bytes(&encode(&request).expect("it is short"));
    }

    pub fn say_bytes(&self, bytes: &[u8]) {
        self.try_say(bytes).expect("the other end is there");
    }

    pub fn try_say(&self, bytes: &[u8]) -> Result<(), Errno> {
        send(&self.0, bytes, SendFlags::NOSIGNAL).map(drop)
    }

    /// None at the end of the connection.
    pub fn hear(&self) -> Option<(u64, Result<Answer, HandError>)> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (length, _) = match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
            Err(Errno::CONNRESET) => return None,
            heard => heard.expect("in time"),
        };
        let reply = (length > 0).then(|| decode::<Reply>(&buffer[..length]).expect("a reply"))?;
        Some((reply.seq, reply.outcome))
    }
}

/// What became of a ring that nobody answers, once somebody does.
pub type Stuck = JoinHandle<Result<Vec<OpResult>, Unfinished>>;

/// A ring that nobody answers, in the kernel by now.
pub fn stick(daemon: &Hand, volume: VolumeNumber, seen: &Mutex<Seen>) -> Stuck {
    seen.lock().hold = Some(WRITE);
    let daemon = daemon.clone();
    let stuck =
        std::thread::spawn(move || daemon.run(volume, CommitNumber(1), 0, &[ring("a")], SOON));
    until("in the kernel", || seen.lock().is_holding());
    stuck
}

/// Whether it is said that something has not ended.
pub fn goes_on(idle: &Result<(), HandError>) -> bool {
    matches!(idle, Err(HandError::Stuck | HandError::Slow { .. }))
}
