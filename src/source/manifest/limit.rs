//! Which of the machine's limits an error speaks of, and what to raise.
//!
//! The kernel says "no space left on device" for a lack of inotify watches and "too many open files"
//! for two different limits; nobody should have to know that.

use std::fmt;
use std::fs::{self, File};
use std::io;

/// A limit that was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of what there is no more.
    lack: &'static str,
    /// What is to be raised.
    name: &'static str,
    /// Its value, where that can be read.
    now: Option<u64>,
    /// How it is raised.
    how: &'static str,
}

impl Limit {
    /// The limit that kept a file from being opened.
    pub(super) fn of_opening(error: &io::Error) -> Option<Self> {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Some(Self {
                lack: "this process has no descriptors left",
                name: "the limit of open files",
                now: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
                how: "with ulimit -n or LimitNOFILE=",
            }),
            Some(libc::ENFILE) => Some(Self::of_sysctl(
                "the machine has no open files left",
                &["fs.file-max"],
            )),
            _ => None,
        }
    }

    /// The limit that kept a path from being watched.
    pub(super) fn of_watching(error: &io::Error) -> Option<Self> {
        match error.raw_os_error() {
            Some(libc::ENOSPC) => Some(Self::of_sysctl(
                "this user has no inotify watches left",
                &["fs.inotify.max_user_watches", "user.max_inotify_watches"],
            )),
            // One error for two limits: where a file can be opened it is not the descriptors.
            Some(libc::EMFILE) if File::open("/proc/self/stat").is_ok() => Some(Self::of_sysctl(
                "this user has no inotify instances left",
                &[
                    "fs.inotify.max_user_instances",
                    "user.max_inotify_instances",
                ],
            )),
            _ => Self::of_opening(error),
        }
    }

    /// The lowest of some limits: a user namespace has its own beside the machine's.
    fn of_sysctl(lack: &'static str, names: &[&'static str]) -> Self {
        let read = |name: &&'static str| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            let text = fs::read_to_string(path).ok()?;
            Some((text.trim().parse().ok()?, *name))
        };
        let lowest: Option<(u64, _)> = names.iter().filter_map(read).min_by_key(|(now, _)| *now);
        Self {
            lack,
            name: lowest.map_or(names[0], |(_, name)| name),
            now: lowest.map(|(now, _)| now),
            how: "with sysctl",
        }
    }

    /// What is said after the system's own words.
    pub(super) fn advice(limit: Option<&Self>) -> String {
        limit.map_or_else(String::new, |limit| format!("; {limit}"))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: raise {}", self.lack, self.name)?;
        if let Some(now) = self.now {
            write!(f, ", now {now},")?;
        }
        write!(f, " {}", self.how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_which_and_what_to_raise() {
        let opening = |code| Limit::of_opening(&io::Error::from_raw_os_error(code));
        let watching = |code| Limit::of_watching(&io::Error::from_raw_os_error(code));
        for (limit, words) in [
            (
                watching(libc::ENOSPC),
                "this user has no inotify watches left: raise fs.inotify.max_user_watches, now ",
            ),
            // A file can be opened here, so it is not the descriptors.
            (
                watching(libc::EMFILE),
                "this user has no inotify instances left: raise fs.inotify.max_user_instances, now ",
            ),
            (
                opening(libc::EMFILE),
                "this process has no descriptors left: raise the limit of open files, now ",
            ),
            (
                opening(libc::ENFILE),
                "the machine has no open files left: raise fs.file-max, now ",
            ),
        ] {
            let shown = limit.expect("a limit").to_string();
            assert!(shown.starts_with(words), "{shown}");
        }
        assert_eq!(opening(libc::ENOSPC), None);
        assert_eq!(watching(libc::EACCES), None);
    }
}
