//! What the kernel knows about a program: whether it watches, and whether it has nothing left to do.

use std::fs;
use std::path::Path;

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::support::process::{self, Process};
use crate::support::scratch::Scratch;
use crate::support::{PATIENCE, wait_until};

/// Waits until one of a test's programs watches something by inotify, and has done what it had to: the
/// kernel knows of a watch a moment before the program does, which drops what it hears between the two.
pub fn wait_until_watching(scratch: &Scratch) {
    wait_until("the program watches", PATIENCE, || {
        watches(scratch) > 0 && idle(scratch)
    });
}

/// Waits until none of a test's programs watches anything by inotify any more, and all have done what
/// they had to: then nothing can ever make them react again.
pub fn wait_until_deaf(scratch: &Scratch) {
    wait_until("the program has lost its watch", PATIENCE, || {
        watches(scratch) == 0 && idle(scratch)
    });
}

/// Waits until all of a test's programs have done what they had to.
pub fn wait_until_idle(scratch: &Scratch) {
    wait_until("the program is idle", PATIENCE, || idle(scratch));
}

fn watches(scratch: &Scratch) -> usize {
    let queues = programs(scratch).flat_map(inotify_fds);
    queues
        .map(|(process, fd)| {
            let info = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", process.pid));
            let info = info.unwrap_or_default();
            info.lines()
                .filter(|line| line.starts_with("inotify "))
                .count()
        })
        .sum()
}

/// The test's processes without its daemon and the daemon's hand.
fn programs(scratch: &Scratch) -> impl Iterator<Item = Process> {
    process::of_scratch(scratch.path())
        .into_iter()
        .filter(|process| {
            let program = fs::read_link(format!("/proc/{}/exe", process.pid));
            program.is_ok_and(|program| program != Path::new(crate::support::daemon::BINARY))
        })
}

fn inotify_fds(process: Process) -> Vec<(Process, i32)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", process.pid)) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|link| link == Path::new("anon_inode:inotify"))
        })
        .filter_map(|entry| Some((process, entry.file_name().to_str()?.parse().ok()?)))
        .collect()
}

/// Whether every thread sleeps, slept all the time between two looks, and no queue holds an event.
fn idle(scratch: &Scratch) -> bool {
    let first = switches(scratch);
    let empty = programs(scratch)
        .flat_map(inotify_fds)
        .all(|(process, fd)| queued(process, fd) == Some(0));
    empty && first.is_some() && first == switches(scratch)
}

/// How many bytes of events wait in another process's inotify instance.
fn queued(process: Process, fd: i32) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let queue = pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty()).ok()?;
    ioctl_fionread(queue).ok()
}

/// How often the threads of a test's programs have been switched to; nothing where one runs.
fn switches(scratch: &Scratch) -> Option<u64> {
    let mut sum = 0;
    for process in programs(scratch) {
        for task in fs::read_dir(format!("/proc/{}/task", process.pid)).ok()? {
            let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            for line in status.lines() {
                match line.split_once(":\t") {
                    Some(("State", state)) if !state.starts_with('S') => return None,
                    Some(("voluntary_ctxt_switches" | "nonvoluntary_ctxt_switches", count)) => {
                        sum += count.parse::<u64>().ok()?;
                    }
                    _ => {}
                }
            }
        }
    }
    Some(sum)
}
