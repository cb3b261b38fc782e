//! The run's own cgroup, below which the kubelet puts its pods. Namespaces do not remove it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::{thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

/// The run's cgroup, as the kubelet is told: the name of its folder.
pub(crate) fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    format!("/{}", name.to_string_lossy())
}

/// Makes it in every hierarchy, for the kubelet wants to find it there.
pub(crate) fn create(folder: &Path) -> Result<(), String> {
    for path in paths(folder) {
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Kills every process in it, as often as new ones come. Only processes of the caller's own PID
/// namespace are seen, and all that are in it are.
pub(crate) fn kill(folder: &Path) {
    loop {
        let mut pids = Vec::new();
        for path in paths(folder) {
            processes(&path, &mut pids);
        }
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            // One that is gone by now is what is wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Removes it. All of its processes are dead or dying.
pub(crate) fn remove(folder: &Path) {
    for path in paths(folder) {
        remove_below(&path);
    }
}

/// Its folders: one for each hierarchy of version 1, and the one of version 2.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let name = name(folder);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let point = mount.split(' ').nth(4)?;
            kind.starts_with("cgroup")
                .then(|| PathBuf::from(format!("{point}{name}")))
        })
        .collect()
}

fn children(path: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn processes(path: &Path, found: &mut Vec<Pid>) {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    found.extend(
        text.lines()
            .filter_map(|line| Pid::from_raw(line.parse().ok()?)),
    );
    for child in children(path) {
        processes(&child, found);
    }
}

fn remove_below(path: &Path) {
    for child in children(path) {
        remove_below(&child);
    }
    // The last process of a cgroup has been waited for, and still counts for a moment.
    for _ in 0..200 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("cluster: {} is left: {error}", path.display());
                return;
            }
            _ => return,
        }
    }
    eprintln!("cluster: {} is left: it is busy", path.display());
}
