//! The processes of a test, and what there is to ask of them. All end with the test, whatever became of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use livemount_keeper::{KeeperReport, Role, ask};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::roles::PATIENCE;

/// A time that no test lives to see.
pub const NEVER: u64 = 3_600_000;

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A folder for keepers.
pub struct Scene {
    _folder: TempDir,
    /// The keeper makes it.
    dir: PathBuf,
}

impl Scene {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("keep");
        Self {
            _folder: folder,
            dir,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A keeper that kills nobody too early, and starts nothing.
    pub fn keeper(&self) -> Process {
        self.keeper_with(NEVER, NEVER, &[])
    }

    /// A keeper, waited for until it listens.
    pub fn keeper_with(&self, handover: u64, alone: u64, more: &[&str]) -> Process {
        let keeper = self.start_keeper(handover, alone, more);
        let pid = keeper.child.id();
        until("the keeper listens", || self.listens(pid));
        keeper
    }

    /// Whether it is that keeper who answers.
    fn listens(&self, pid: u32) -> bool {
        super::raw::Raw::dial(self.dir()).is_some_and(|raw| raw.peer() == pid)
    }

    pub fn start_keeper(&self, handover: u64, alone: u64, more: &[&str]) -> Process {
        let (handover, alone) = (handover.to_string(), alone.to_string());
        let dir = self.dir().to_str().expect("a plain path");
        let args = [&["keep", dir, &handover, &alone][..], more].concat();
        Process::start(Command::new("/proc/self/exe").args(args))
    }

    /// A daemon that has been granted everything, and what it got.
    pub fn daemon(&self) -> (Process, String) {
        let mut daemon = Process::client();
        let got = daemon.ask(&format!("take daemon {}", self.dir().display()));
        (daemon, got)
    }

    /// A process that has asked for everything as this.
    pub fn asking(&self, role: Role) -> Process {
        let mut asking = Process::client();
        asking.say(&format!("take {role} {}", self.dir().display()));
        asking
    }

    pub fn report(&self) -> KeeperReport {
        ask(self.dir(), PATIENCE).expect("the keeper answers")
    }
}

/// A process of this program.
pub struct Process {
    pub child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn client() -> Self {
        Self::start(Command::new("/proc/self/exe").arg("client"))
    }

    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().expect("was piped")),
            child,
        }
    }

    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("is open");
        writeln!(input, "{line}").expect("it reads");
    }

    /// The next line that it says.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("lines");
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }

    /// Asks for several things that all have to work.
    pub fn does<const N: usize>(&mut self, lines: [&str; N]) {
        for line in lines {
            assert_eq!(self.ask(line), "ok", "{line}");
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it is there");
    }

    /// Whether it has started anybody who has not been reaped.
    pub fn has_children(&self) -> bool {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        !children.expect("the kernel lists them").trim().is_empty()
    }

    /// Stops it, and waits until it is.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        until("it is stopped", || state(self.child.id()) == Some('T'));
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is ours").is_some()
    }

    pub fn end(&mut self) -> ExitStatus {
        until("it ends", || self.has_ended());
        self.child.wait().expect("it ended")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The letter of a process's state in /proc, while it is there.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether a process that is none of our children has ended.
pub fn is_gone(pid: u32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}
