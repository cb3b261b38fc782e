//! systemd's store, with the test as systemd: what `sd_notify(3)` and `sd_listen_fds(3)` say, no more.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use tempfile::TempDir;

use super::Case;
use super::raw::receive;
use super::roles::text;
use super::scene::Process;

pub const ALL: &[Case] = &[
    (
        "systemds_store_outlives_a_unit",
        systemds_store_outlives_a_unit,
    ),
    (
        "what_was_inherited_for_another_process_is_left_alone",
        what_was_inherited_for_another_process_is_left_alone,
    ),
    (
        "without_systemds_store_there_is_none",
        without_systemds_store_there_is_none,
    ),
];

/// A service manager: it adds what it is sent under a name to what is there, as systemd does.
struct Manager {
    folder: TempDir,
    socket: OwnedFd,
    store: BTreeMap<String, Vec<OwnedFd>>,
    heard: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let address = SocketAddrUnix::new(folder.path().join("notify")).expect("a short path");
        bind(&socket, &address).expect("binds");
        Self {
            folder,
            socket,
            store: BTreeMap::new(),
            heard: Vec::new(),
        }
    }

    /// Starts the unit with what is stored for it.
    fn start(&self) -> Process {
        let held: Vec<(&str, &OwnedFd)> = self
            .store
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |one| (name.as_str(), one)))
            .collect();
        // A shell puts them where they belong, and says whose they are.
        let mut script = "export LISTEN_PID=$$\n".to_owned();
        for (at, (_, descriptor)) in held.iter().enumerate() {
            let (own, number) = (std::process::id(), descriptor.as_raw_fd());
            let _written = writeln!(script, "exec {}<>/proc/{own}/fd/{number}", at + 3);
        }
        script += "exec \"$0\" unit\n";
        let names: Vec<&str> = held.iter().map(|(name, _)| *name).collect();
        let program = std::env::current_exe().expect("we are a file");
        let mut unit = Command::new("/bin/sh");
        unit.arg("-c")
            .arg(script)
            .arg(program)
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .env("FDSTORE", "100");
        if !held.is_empty() {
            unit.env("LISTEN_FDS", held.len().to_string())
                .env("LISTEN_FDNAMES", names.join(":"));
        }
        Process::start(&mut unit)
    }

    /// Does what the next message says, as far as systemd would.
    fn hear(&mut self) {
        let (message, beside) = receive(&self.socket).expect("a message");
        let has = |line: &str| message.lines().any(|other| other == line);
        let name = message
            .lines()
            .find_map(|line| line.strip_prefix("FDNAME="));
        if has("FDSTORE=1") {
            assert!(
                has("FDPOLL=0"),
                "it must be kept whatever poll(2) says: {message}"
            );
            let name = name.unwrap_or("stored").to_owned();
            self.store.entry(name).or_default().extend(beside);
        } else if has("FDSTOREREMOVE=1") {
            self.store.remove(name.expect("a name"));
        } else if has("BARRIER=1") {
            assert_eq!(
                (message.as_str(), beside.len()),
                ("BARRIER=1\n", 1),
                "it is alone"
            );
        }
        self.heard.push(message);
    }

    fn store(&self) -> Vec<(&str, Vec<String>)> {
        self.store
            .iter()
            .map(|(name, all)| (name.as_str(), all.iter().map(text).collect()))
            .collect()
    }
}

fn systemds_store_outlives_a_unit() {
    let mut systemd = Manager::new();
    let mut unit = systemd.start();
    assert_eq!(unit.hear(), "0:");
    unit.does([
        "store a one",
        "store b two",
        "store a three",
        "ready",
        "watchdog 2000",
        "alive",
    ]);
    unit.say("barrier");
    while systemd
        .heard
        .last()
        .is_none_or(|last| last != "BARRIER=1\n")
    {
        systemd.hear();
    }
    assert_eq!(unit.hear(), "ok");
    let one = |text: &str| vec![text.to_owned()];
    assert_eq!(systemd.store(), [("a", one("three")), ("b", one("two"))]);
    assert_eq!(
        systemd.heard,
        [
            "FDSTORE=1\nFDPOLL=0\nFDNAME=a\n",
            "FDSTORE=1\nFDPOLL=0\nFDNAME=b\n",
            "FDSTOREREMOVE=1\nFDNAME=a\n",
            "FDSTORE=1\nFDPOLL=0\nFDNAME=a\n",
            "READY=1\n",
            "WATCHDOG_USEC=2000000\n",
            "WATCHDOG=1\n",
            "BARRIER=1\n",
        ]
    );
    unit.kill();

    let mut unit = systemd.start();
    assert_eq!(unit.hear(), "2: a=three b=two");
    // What was taken back is known: under its name it goes before the new one comes.
    unit.does(["store b four", "remove a"]);
    for _ in 0..3 {
        systemd.hear();
    }
    assert_eq!(systemd.store(), [("b", one("four"))]);
}

fn what_was_inherited_for_another_process_is_left_alone() {
    let systemd = Manager::new();
    let mut unit = Command::new("/proc/self/exe");
    unit.arg("unit")
        .env("NOTIFY_SOCKET", systemd.folder.path().join("notify"))
        .env("FDSTORE", "100")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "a")
        .env("LISTEN_PID", std::process::id().to_string());
    assert_eq!(Process::start(&mut unit).hear(), "0:");
}

fn without_systemds_store_there_is_none() {
    let is_none = |set: &dyn Fn(&mut Command)| {
        let mut unit = Command::new("/proc/self/exe");
        unit.arg("unit");
        set(&mut unit);
        Process::start(&mut unit).hear() == "none"
    };
    assert!(is_none(&|_| {}));
    assert!(is_none(&|unit| {
        unit.env("NOTIFY_SOCKET", "/nowhere").env("FDSTORE", "0");
    }));
    assert!(is_none(&|unit| {
        unit.env("FDSTORE", "100");
    }));
}
