//! The ways in which a run ends, and what is left of it: nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use livemount_cluster::{PATIENCE, folder};
use rustix::process::{Pid, Signal, kill_process};

use super::BODY;

/// A run of this program that has come to its point.
struct Run {
    outer: Child,
    lines: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Run {
    /// Starts a body, and waits until it has said where its folder is.
    fn start(body: &str) -> Run {
        let mut outer = Command::new(std::env::current_exe().expect("this program"))
            .env(BODY, body)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut lines = BufReader::new(outer.stdout.take().expect("it was asked for"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("its output is read");
        let folder = PathBuf::from(line.trim_end());
        assert!(folder.is_absolute(), "{body} said {line:?}");
        assert!(folder.is_dir(), "{} is there", folder.display());
        assert!(!traces(&folder).is_empty(), "a run that lives has traces");
        Run {
            outer,
            lines,
            folder,
        }
    }

    /// Waits until the body has said this.
    fn said(&mut self, word: &str) {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("its output is read");
        assert_eq!(line.trim_end(), word);
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(self.outer.id()), signal).expect("the outer process is there");
    }

    /// The process between the outer one and the namespaces.
    fn guardian(&self) -> Pid {
        let outer = self.outer.id();
        let path = format!("/proc/{outer}/task/{outer}/children");
        let children = fs::read_to_string(path).expect("the outer process is there");
        let child = children.split_whitespace().next();
        pid(child
            .and_then(|child| child.parse().ok())
            .expect("it has a child"))
    }
}

impl Drop for Run {
    /// A test that failed leaves no run. After one that passed there is nothing to end.
    fn drop(&mut self) {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(raw.cast_signed()).expect("a process has a number")
}

/// What this machine has of a run: its folder, cgroups, processes by their environment or cgroup,
/// and mounts in whatever namespace.
fn traces(folder: &Path) -> Vec<String> {
    let name = folder.file_name().expect("it has a name").to_string_lossy();
    let mut traces = Vec::new();
    if folder.exists() {
        traces.push(folder.display().to_string());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts are told");
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let point = line.split(' ').nth(4).expect("a mount has a place");
        let cgroup = Path::new(point).join(&*name);
        if cgroup.exists() {
            traces.push(cgroup.display().to_string());
        }
    }
    for entry in fs::read_dir("/proc").expect("it is there").flatten() {
        for file in ["environ", "cgroup", "mountinfo"] {
            // Not every entry is a process, and a process may be gone by now.
            let text = fs::read(entry.path().join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(&*name) {
                traces.push(entry.path().join(file).display().to_string());
            }
        }
    }
    traces
}

fn nothing_left(folder: &Path) {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = traces(folder);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left: {left:#?}");
        sleep(Duration::from_millis(20));
    }
}

/// What the kubelet would set on the whole machine.
fn settings() -> Vec<String> {
    [
        "vm/overcommit_memory",
        "kernel/panic",
        "kernel/panic_on_oops",
    ]
    .map(|name| fs::read_to_string(Path::new("/proc/sys").join(name)).expect("it is there"))
    .to_vec()
}

/// The end that a body has by itself. All is gone when the outer process is.
pub fn normally(body: &str) {
    let before = settings();
    let mut run = Run::start(body);
    // What else it says is for whoever reads the log.
    let Run { lines, .. } = &mut run;
    for line in lines.lines() {
        println!("{}", line.expect("its output is read"));
    }
    let status = run.outer.wait().expect("it is this one's child");
    assert!(status.success(), "{body}: {status}");
    assert_eq!(traces(&run.folder), [""; 0], "left");
    assert_eq!(settings(), before, "the machine's settings");
    assert!(
        !Path::new("/var/lib/kubelet").exists() || !is_ours(),
        "a kubelet's folder is left"
    );
}

/// Whether the machine's own kubelet's folder would be one that a run has left: an empty one.
fn is_ours() -> bool {
    fs::read_dir("/var/lib/kubelet").is_ok_and(|mut entries| entries.next().is_none())
}

pub fn status() {
    let status = Command::new(std::env::current_exe().expect("this program"))
        .env(BODY, "status")
        .status();
    assert_eq!(status.expect("this program starts").code(), Some(7));
}

/// A body that has a process which does not end with it, and waits to be killed.
pub fn idle() -> ExitCode {
    let mut sleeper = Command::new("sleep")
        .arg("infinity")
        .spawn()
        .expect("sleep starts");
    println!("{}", folder().display());
    let _ = sleeper.wait();
    ExitCode::SUCCESS
}

/// The outer process ends the run when it is told to, and only then itself.
pub fn after_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut run = Run::start("idle");
        run.signal(signal);
        let status = run.outer.wait().expect("it is this one's child");
        assert!(!status.success(), "{signal:?}: {status}");
        assert_eq!(traces(&run.folder), [""; 0], "left after {signal:?}");
    }
}

/// If nobody is left to remove anything, no process is left, and the next run removes the rest. It
/// does not touch a run that lives.
pub fn after_the_next_run() {
    let mut killed = Run::start("idle");
    let guardian = killed.guardian();
    // Stopped it does not hear of the outer one's death.
    kill_process(guardian, Signal::STOP).expect("the guardian is there");
    killed.signal(Signal::KILL);
    killed.outer.wait().expect("it is this one's child");
    kill_process(guardian, Signal::KILL).expect("the guardian is there");
    let end = Instant::now() + PATIENCE;
    while traces(&killed.folder)
        .iter()
        .any(|trace| trace.starts_with("/proc"))
    {
        assert!(Instant::now() < end, "left: {:#?}", traces(&killed.folder));
        sleep(Duration::from_millis(20));
    }
    assert!(killed.folder.exists(), "nobody could remove it");

    let mut living = Run::start("idle");
    assert_eq!(traces(&killed.folder), [""; 0], "left by the next run");
    status();
    assert!(living.folder.exists(), "a run that lives has its folder");
    living.signal(Signal::KILL);
    living.outer.wait().expect("it is this one's child");
    nothing_left(&living.folder);
}

/// The outer process is killed while containers run.
pub fn after_a_kill() {
    let mut run = Run::start("pod");
    run.said("running");
    let containers = traces(&run.folder);
    assert!(
        containers.iter().any(|trace| trace.ends_with("/cgroup")),
        "no container runs: {containers:#?}"
    );
    run.signal(Signal::KILL);
    run.outer.wait().expect("it is this one's child");
    nothing_left(&run.folder);
}
