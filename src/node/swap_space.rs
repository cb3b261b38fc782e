//! Whether what this process holds could be written to a swap device. Secrets never touch a disk,
//! so they are refused where it could (docs/OPERATIONS.md, Secrets, swap and core dumps).

use std::fs;
use std::path::{Path, PathBuf};

/// Whether memory of this process may be swapped: there is a swap device, and the cgroup's
/// `memory.swap.max` (or that of a cgroup above it) is not 0. Where this cannot be told, it may.
pub(super) fn may_swap() -> bool {
    let devices = fs::read_to_string("/proc/swaps");
    if devices.is_ok_and(|devices| !has_devices(&devices)) {
        return false;
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = unified(&own) else {
        return true;
    };
    !forbidden(Path::new("/sys/fs/cgroup"), &own)
}

/// The first line of /proc/swaps is a heading (proc_pid_swaps(5)).
fn has_devices(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

/// This process's cgroup in the unified hierarchy: the line that starts with `0::` (cgroups(7)).
fn unified(cgroups: &str) -> Option<PathBuf> {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(PathBuf::from(path.trim_start_matches('/')))
}

/// Whether a cgroup or one above it may not swap (`memory.swap.max`, cgroup-v2.rst).
fn forbidden(root: &Path, own: &Path) -> bool {
    own.ancestors().any(|group| {
        fs::read_to_string(root.join(group).join("memory.swap.max"))
            .is_ok_and(|most| most.trim() == "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_what_follows_the_heading() {
        let heading = "Filename\tType\tSize\tUsed\tPriority\n";
        assert!(!has_devices(heading));
        assert!(has_devices(&format!(
            "{heading}/dev/sda2 partition 1 0 -2\n"
        )));
    }

    #[test]
    fn a_limit_of_nothing_here_or_above_forbids() {
        let root = tempfile::tempdir().expect("a folder");
        let own = unified("12:memory:/x\n0::/pods/a/b\n").expect("a unified line");
        assert_eq!(own, Path::new("pods/a/b"));
        assert_eq!(unified("1:name=systemd:/\n"), None);
        fs::create_dir_all(root.path().join(&own)).expect("folders");
        assert!(!forbidden(root.path(), &own));
        let limit = |group: &str, most: &str| {
            fs::write(root.path().join(group).join("memory.swap.max"), most).expect("a file");
        };
        limit("pods/a/b", "max\n");
        limit("pods", "4096\n");
        assert!(!forbidden(root.path(), &own));
        limit("pods/a", "0\n");
        assert!(forbidden(root.path(), &own));
    }
}
