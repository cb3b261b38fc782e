//! What the cases stand on: a directory, a hand, volumes with a server each, and the other two
//! roles of this program.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livemount_hand::process::{self, HandArgs};
use livemount_hand::{ClientOptions, CommitNumber, Hand, HandOp, Prepared, Reach, VolumeNumber};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::server::{self, Seen};

/// Long enough for a busy machine.
pub const SOON: Duration = Duration::from_secs(10);
/// The first volume of a case, and the second.
pub const ONE: VolumeNumber = VolumeNumber(1);
pub const TWO: VolumeNumber = VolumeNumber(2);
/// For hands that should not give their daemon up.
pub const CALM: Duration = Duration::from_secs(30);

pub struct Scene {
    pub root: TempDir,
    pub hand: Hand,
}

impl Scene {
    pub fn new(extra: &[&str]) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let hand = start(root.path(), CALM, extra);
        Self { root, hand }
    }

    pub fn target(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A volume that is served and bound.
    pub fn volume(&self, volume: u64) -> (PathBuf, Arc<Mutex<Seen>>) {
        let target = self.target(&volume.to_string());
        (target.clone(), publish(&self.hand, volume, &target))
    }

    /// Nothing may be left behind.
    pub fn end(self) {
        self.hand.close(SOON).expect("ends in time");
        assert_clean(self.root.path());
    }
}

pub fn start(root: &Path, heartbeat: Duration, extra: &[&str]) -> Hand {
    let args = std::iter::once("hand")
        .chain(extra.iter().copied())
        .map(OsString::from)
        .collect();
    let program = PathBuf::from("/proc/self/exe");
    Hand::start(ClientOptions {
        reach: Reach::Child {
            program,
            args,
            roots: vec![root.to_owned()],
            selinux_context: None,
        },
        heartbeat,
    })
    .expect("a hand")
}

pub fn publish(hand: &Hand, volume: u64, target: &Path) -> Arc<Mutex<Seen>> {
    assert_eq!(
        hand.prepare(VolumeNumber(volume), target, false),
        Ok(Prepared {
            created: true,
            replaced: false
        })
    );
    let seen = server::serve(
        hand.mount(VolumeNumber(volume))
            .expect("a connection")
            .device,
    );
    hand.bind(VolumeNumber(volume), target).expect("binds");
    seen
}

pub fn ring(name: &str) -> HandOp {
    HandOp::Ring {
        path: name.into(),
        mtime_sec: 7,
        mtime_nsec: 0,
    }
}

pub fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

/// Lines of mountinfo beneath a directory.
pub fn mounts(root: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("proc is there");
    text.lines()
        .filter(|line| line.contains(root.to_str().expect("plain")))
        .map(str::to_owned)
        .collect()
}

pub fn assert_clean(root: &Path) {
    assert_eq!(mounts(root), [] as [String; 0]);
    assert_eq!(
        fs::read_dir(root)
            .expect("is there")
            .map(|entry| entry.expect("reads").path())
            .collect::<Vec<_>>(),
        [] as [PathBuf; 0]
    );
}

/// The hand of a daemon: its only child.
pub fn hand_of(daemon: u32) -> Option<Pid> {
    let of = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        let mut words = after.split_ascii_whitespace();
        let (state, parent) = (words.next()?, words.next()?);
        (before.ends_with("(livemount-hand") && state != "Z" && parent == daemon.to_string())
            .then_some(())
    };
    let pids = fs::read_dir("/proc")
        .expect("proc is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| of(pid).is_some())
        .find_map(|pid| Pid::from_raw(pid.try_into().ok()?))
}

pub fn send(pid: Pid, signal: Signal) {
    kill_process(pid, signal).expect("it is there");
}

pub fn is_gone(pid: Pid) -> bool {
    state(pid).is_none_or(|state| state == 'Z')
}

/// The state letter of its first thread, while it is there.
pub fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A daemon to be killed, with its volume in `root/t`, and its hand.
pub struct Daemon {
    pub child: Child,
    pub pid: Pid,
    pub hand: Pid,
}

pub fn daemon(root: &Path, heartbeat: Duration, mode: &str) -> Daemon {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("daemon")
        .arg(root)
        .arg(heartbeat.as_millis().to_string())
        .arg(mode)
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("is piped"), &mut line)
        .expect("it says that it is ready");
    let pid = Pid::from_child(&child);
    Daemon {
        hand: hand_of(child.id()).expect("has a hand"),
        child,
        pid,
    }
}

/// A process that serves a connection until it is dropped, which kills it.
pub struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// One that answers no request of kind `hold`.
pub fn server(device: &OwnedFd, hold: u32) -> Serving {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("server")
        .arg(hold.to_string())
        .stdin(device.try_clone().expect("room for a descriptor"));
    Serving(command.spawn().expect("starts"))
}

/// The role.
pub fn be_a_server(mut args: impl Iterator<Item = OsString>) -> ! {
    let device = std::io::stdin().as_fd().try_clone_to_owned();
    let hold = args.next().and_then(|hold| hold.to_str()?.parse().ok());
    let _seen = server::serve_holding(device.expect("room for a descriptor"), hold);
    loop {
        std::thread::park();
    }
}

/// The role: one volume at `root/t`; in mode `stuck`, a ring that is never answered is under way.
pub fn be_a_daemon(mut args: impl Iterator<Item = OsString>) -> ! {
    let root = PathBuf::from(args.next().expect("a root"));
    let heartbeat = args
        .next()
        .and_then(|millis| millis.to_str()?.parse().ok())
        .map(Duration::from_millis)
        .expect("a heartbeat");
    let hand = start(&root, heartbeat, &[]);
    let seen = publish(&hand, 1, &root.join("t"));
    if args.next().is_some_and(|mode| mode == "stuck") {
        seen.lock().hold = Some(server::WRITE);
        assert!(
            hand.run(
                ONE,
                CommitNumber(1),
                0,
                &[ring("a")],
                Duration::from_millis(50)
            )
            .is_err()
        );
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}

/// The other role.
pub fn be_a_hand(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args = HandArgs::parse(args).expect("what the client writes");
    match process::main(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hand: {error}");
            ExitCode::FAILURE
        }
    }
}
