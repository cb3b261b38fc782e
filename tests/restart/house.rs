//! A keeper, its hand and caretaker, and one daemon after the other on one mount.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::daemon::{BINARY, Daemon, Launch};
use crate::support::process::Process;
use crate::support::scratch::Scratch;
use crate::support::{PATIENCE, wait_for, wait_until};
use crate::writer;

/// Without a sign of life for so long, in milliseconds, a daemon is killed by its keeper.
const HEARTBEAT: &str = "1000";

/// The same for hand and caretaker.
const PATIENT: &str = "2000";

pub struct House {
    pub keeper: Daemon,
    pub daemon: Daemon,
    /// Lines of the logs of daemons that have ended.
    pub former: Vec<String>,
    pub scratch: Scratch,
    resend: bool,
    /// The daemon has said so, which it says once.
    ready: Cell<bool>,
}

impl House {
    /// A mount of version 1, served. Without `resend` the kernel is taken for one that does not send again.
    pub fn new(resend: bool) -> Self {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.join("mounts")).expect("a folder");
        writer::put(&scratch.join("manifest.yaml"), 1);
        let keeper = launch_keeper(&scratch, resend).spawn();
        let daemon = launch(&scratch, resend, Path::new(BINARY)).start();
        Self {
            keeper,
            daemon,
            former: Vec::new(),
            scratch,
            resend,
            ready: true.into(),
        }
    }

    pub fn folder(&self) -> PathBuf {
        folder(&self.scratch)
    }

    pub fn manifest(&self) -> PathBuf {
        self.scratch.join("manifest.yaml")
    }

    pub fn target(&self) -> PathBuf {
        target(&self.scratch)
    }

    /// A daemon that is not started yet.
    pub fn launch(&self, program: &Path) -> Launch<'_> {
        launch(&self.scratch, self.resend, program)
    }

    /// The next daemon begins; it is not waited for.
    pub fn next_daemon(&mut self) {
        self.next_daemon_of(Path::new(BINARY));
    }

    /// The next daemon, of another binary, begins; it is not waited for.
    pub fn next_daemon_of(&mut self, program: &Path) {
        let next = self.launch(program).spawn();
        self.take_the_place(next);
    }

    /// A daemon that was started is the one that serves.
    pub fn take_the_place(&mut self, next: Daemon) {
        let former = std::mem::replace(&mut self.daemon, next);
        self.former.extend(former.stderr.all());
        self.ready.set(false);
    }

    /// The daemon serves and the keeper knows it.
    pub fn wait_until_ready(&self) {
        if !self.ready.replace(true) {
            self.daemon.wait_until_ready();
        }
    }

    /// The next keeper begins.
    pub fn next_keeper(&mut self) {
        let next = launch_keeper(&self.scratch, self.resend).spawn();
        let former = std::mem::replace(&mut self.keeper, next);
        self.former.extend(former.stderr.all());
    }

    /// The keeper's hand, waited for.
    pub fn hand(&self) -> Process {
        let hand = || self.keeper.process.hand();
        wait_for("the keeper has a hand", PATIENCE, hand)
    }

    /// Waits until a caretaker serves: the last one that was granted everything, by the keeper's log.
    pub fn wait_for_caretaker(&self) -> Process {
        wait_for("a caretaker serves", PATIENCE, || {
            let lines = self.keeper.stderr.all();
            let granted = |line: &&String| line.contains("everything is granted");
            let serves = |line: &String| line.contains("taking care of 1 volumes");
            let last = lines.iter().rfind(granted)?;
            let mut since = lines.iter().rev().take_while(|line| !granted(line));
            if !last.contains("caretaker") || !since.any(serves) {
                return None;
            }
            let caretake =
                |command: &[String]| command.get(1).is_some_and(|word| word == "caretake");
            self.keeper.process.children(caretake).first().copied()
        })
    }

    /// Takes the mount away, as its owner does, and everybody with it.
    pub fn end(mut self) -> (Vec<String>, Scratch) {
        let folder = self.folder();
        let unmounted = Launch::bare(&self.scratch)
            .arg("unmount")
            .arg("--keeper")
            .arg(folder)
            .run();
        assert_eq!(unmounted.code(), 0, "{unmounted:#?}");
        // It has handed over: what it served is gone.
        self.daemon.wait_for_end(PATIENCE);
        self.keeper.signal(Signal::TERM);
        let ended = self.keeper.wait_for_end(PATIENCE);
        assert!(ended.success(), "{ended}: {:#?}", self.keeper.stderr.all());
        let mut lines = self.former;
        lines.extend(self.daemon.stderr.finish());
        lines.extend(self.keeper.stderr.finish());
        (lines, self.scratch)
    }

    /// Waits until the keeper has ended a daemon that hangs.
    pub fn wait_for_watchdog(&mut self) {
        let daemon = self.daemon.process;
        wait_until("the keeper ends it", PATIENCE, || !daemon.alive());
        self.daemon.wait_for_end(PATIENCE);
    }
}

fn folder(scratch: &Scratch) -> PathBuf {
    scratch.join("keeper")
}

fn target(scratch: &Scratch) -> PathBuf {
    scratch.join("mounts").join("volume")
}

fn launch<'s>(scratch: &'s Scratch, resend: bool, program: &Path) -> Launch<'s> {
    let launch = Launch::mount(scratch)
        .program(program)
        .args(&["--heartbeat", HEARTBEAT, "--keeper"])
        .arg(folder(scratch))
        .arg(scratch.join("manifest.yaml"))
        .arg(target(scratch));
    without(launch, resend)
}

fn launch_keeper(scratch: &Scratch, resend: bool) -> Launch<'_> {
    let launch = Launch::bare(scratch)
        .args(&["keep", "--heartbeat", PATIENT, "--dir"])
        .arg(folder(scratch))
        .arg("--root")
        .arg(scratch.join("mounts"));
    without(launch, resend)
}

fn without(launch: Launch<'_>, resend: bool) -> Launch<'_> {
    if resend {
        launch
    } else {
        launch.env("LIVEMOUNT_WITHOUT", "RESEND")
    }
}
