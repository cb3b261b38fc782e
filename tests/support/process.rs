//! Processes as /proc shows them. A process is named by its pid and start time, so that a reused pid
//! is never taken for it, and nothing here is ever signalled that a test did not start.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_until};

/// The variable that every process of a test carries in its environment: the scratch folder's path.
pub const MARKER: &str = "LIVEMOUNT_TEST_SCRATCH";

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    start: u64,
}

impl Process {
    /// The process that has this pid now, unless it has ended.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        (!stat.ended()).then_some(Self {
            pid,
            start: stat.start,
        })
    }

    /// A child of this process that nobody has waited for yet: it is there even when it has ended.
    pub fn child(pid: u32) -> Self {
        let stat = Stat::read(pid).expect("a child stays until it is waited for");
        Self {
            pid,
            start: stat.start,
        }
    }

    /// Whether it still runs; a zombie does not.
    pub fn alive(self) -> bool {
        self.state().is_some()
    }

    /// The state letter of its threads that matters most (`D` before all), unless it has ended.
    pub fn state(self) -> Option<char> {
        let stat = Stat::read(self.pid).filter(|stat| stat.start == self.start && !stat.ended())?;
        Some(if blocked_threads(self.pid) > 0 {
            'D'
        } else {
            stat.state
        })
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(self, signal: Signal) {
        if self.alive() {
            // It may end at this very moment: then there is nobody to tell.
            let _ = kill_process(self.pid(), signal);
        }
    }

    /// Its children whose command line satisfies the condition.
    pub fn children(self, command: impl Fn(&[String]) -> bool) -> Vec<Self> {
        pids()
            .filter(|pid| Stat::read(*pid).is_some_and(|stat| stat.parent == self.pid))
            .filter(|pid| command(&command_line(*pid)))
            .filter_map(Self::find)
            .collect()
    }

    /// The hand of a daemon, if it has one now.
    pub fn hand(self) -> Option<Self> {
        self.children(|command| command.get(1).is_some_and(|word| word == "hand"))
            .first()
            .copied()
    }

    fn pid(self) -> Pid {
        let raw = i32::try_from(self.pid).expect("a pid");
        Pid::from_raw(raw).expect("a pid is not 0")
    }
}

/// The processes of a test, by the marker in their environment.
pub fn of_scratch(scratch: &Path) -> Vec<Process> {
    let mut marker = format!("{MARKER}=").into_bytes();
    marker.extend_from_slice(scratch.as_os_str().as_encoded_bytes());
    pids()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|var| var == marker))
        })
        .filter_map(Process::find)
        .collect()
}

/// Waits until what this process is starting is itself. Until its exec a child is this process's copy and
/// holds what was open here when it was forked, the file that another test reads as well: that one's
/// last close is then heard late, by whoever listens meanwhile.
pub fn wait_until_started() {
    // Who has been itself once is not asked again: it may be stuck by then, and its memory with it.
    static THEMSELVES: Mutex<BTreeSet<(u32, u64)>> = Mutex::new(BTreeSet::new());
    let own = command_line(std::process::id());
    let copy = |pid: u32| {
        let Some(stat) = Stat::read(pid).filter(|stat| !stat.ended()) else {
            return false;
        };
        let mut themselves = THEMSELVES.lock().unwrap_or_else(PoisonError::into_inner);
        if themselves.contains(&(pid, stat.start)) {
            return false;
        }
        let command = command_line(pid);
        // For a moment it has none.
        let copy = command == own || command.concat().is_empty();
        if !copy {
            themselves.insert((pid, stat.start));
        }
        copy
    };
    wait_until("what was started is itself", PATIENCE, || {
        !children_of_this().into_iter().any(copy)
    });
}

fn children_of_this() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    tasks
        .filter_map(Result::ok)
        // A thread may have ended.
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| -> Vec<u32> {
            let pids = text.split_whitespace();
            pids.filter_map(|pid| pid.parse().ok()).collect()
        })
        .collect()
}

/// A line that tells a person which process this is and what it is doing.
pub fn describe(process: Process) -> String {
    let wchan = fs::read_to_string(format!("/proc/{}/wchan", process.pid)).unwrap_or_default();
    format!(
        "process {} ({}) in state {} at {wchan}",
        process.pid,
        command_line(process.pid).join(" "),
        process.state().unwrap_or('-'),
    )
}

/// How many threads of a process wait uninterruptibly.
fn blocked_threads(pid: u32) -> usize {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    tasks
        .filter_map(Result::ok)
        .filter_map(|task| fs::read_to_string(task.path().join("stat")).ok())
        .filter_map(|text| Stat::parse(&text))
        .filter(|stat| stat.state == 'D')
        .count()
}

fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What /proc/PID/stat says, as far as it matters here.
struct Stat {
    state: char,
    parent: u32,
    start: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses and may hold anything, so the fields are counted after it.
        let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
        Some(Self {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            start: fields.nth(17)?.parse().ok()?,
        })
    }

    fn ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}
