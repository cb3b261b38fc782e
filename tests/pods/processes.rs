//! The plugin's processes, as the node sees them: all run in PID namespaces below the test's own.

use rustix::process::{Pid, Signal, kill_process};

/// Those that were started as `livemount COMMAND`.
pub fn of(command: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("the processes");
    let mut found = Vec::new();
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let ours = matches!(
            words.next(),
            Some(b"/usr/local/bin/livemount" | b"/proc/self/exe")
        );
        if ours && words.next() == Some(command.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// The one of a command.
pub fn one(command: &str) -> i32 {
    let found = of(command);
    let [pid] = found.as_slice() else {
        panic!("livemount {command}: {found:?}");
    };
    *pid
}

/// Kills them all at once.
pub fn kill(pids: &[i32]) {
    for pid in pids {
        let pid = Pid::from_raw(*pid).expect("a process");
        // One may have ended with another.
        let _ended = kill_process(pid, Signal::KILL);
    }
}

/// What /proc says of a process under this heading.
pub fn status(pid: i32, heading: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(heading)?.strip_prefix(':'));
    value.expect("it is told").trim().to_owned()
}
