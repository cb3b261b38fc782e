//! Where a path leads, and ears in every folder that it goes through.
//!
//! A manifest is replaced in many ways: a rename onto its name, a symlink that is swapped, a folder
//! above it that is moved away and made anew. All of them happen to a name in a folder, so each
//! folder that a step of the path is looked up in is watched before that step is taken: what
//! changes later is heard, what changed earlier is seen. The file's inode is watched too, for
//! writers who come by another name (hard links, a file mounted on its own).
//!
//! Knows names, not contents, and decides nothing: [`Heard`] says what happened to the path.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use inotify::{Event, EventMask, WatchDescriptor, WatchMask, Watches};
use tracing::debug;

use super::settle::is_absence;

/// How many symlinks a path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

/// The steps of a path as they were when it was last walked.
#[derive(Default)]
pub(super) struct Trail {
    steps: HashMap<WatchDescriptor, Vec<Step>>,
    /// Whether a file stands at the end.
    pub leads_to_file: bool,
}

/// A name that is looked up in a watched folder, or the file itself, which has none.
struct Step {
    name: Option<OsString>,
    last: bool,
}

/// What events mean for a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// A step may lead elsewhere now.
    pub moved: bool,
    /// A writer has closed the file.
    pub closed: bool,
}

impl Heard {
    /// Nothing is known of what happened: look again.
    pub(super) const UNKNOWN: Self = Self {
        moved: true,
        closed: true,
    };

    /// Whether nothing happened to the path.
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl std::ops::BitOrAssign for Heard {
    fn bitor_assign(&mut self, other: Self) {
        self.moved |= other.moved;
        self.closed |= other.closed;
    }
}

impl Trail {
    /// Walks an absolute path and watches its steps; watches that an earlier walk set and this one
    /// does not need are taken away. After an error the steps before it are watched.
    pub(super) fn walk(&mut self, watches: &mut Watches, path: &Path) -> io::Result<()> {
        let before = std::mem::take(self).steps;
        let walked = self.follow(watches, path);
        for wd in before.into_keys() {
            if !self.steps.contains_key(&wd) {
                // It is gone by itself where its folder is.
                let _ = watches.remove(wd);
            }
        }
        walked
    }

    fn follow(&mut self, watches: &mut Watches, path: &Path) -> io::Result<()> {
        let folder = WatchMask::CREATE
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ONLYDIR;
        let mut here = PathBuf::from("/");
        let mut rest = VecDeque::new();
        let mut links = 0;
        unfold(path, &mut here, &mut rest);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                here.push(name);
                continue;
            }
            let heard = Self::listen(watches, &here, folder)?;
            let at = here.join(&name);
            let found = fs::symlink_metadata(&at);
            let link = found.as_ref().is_ok_and(fs::Metadata::is_symlink);
            let last = !link && rest.is_empty();
            if let Some(wd) = heard {
                let name = Some(name);
                self.steps.entry(wd).or_default().push(Step { name, last });
            }
            let found = match found {
                Ok(found) => found,
                Err(error) if is_absence(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            if link {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::from_raw_os_error(libc::ELOOP));
                }
                match fs::read_link(&at) {
                    Ok(target) => unfold(&target, &mut here, &mut rest),
                    // Swapped since: that was heard.
                    Err(_) => return Ok(()),
                }
            } else if last {
                self.leads_to_file = true;
                if found.is_file() {
                    let file = WatchMask::CLOSE_WRITE | WatchMask::DONT_FOLLOW;
                    if let Some(wd) = Self::listen(watches, &at, file)? {
                        let last = Step { name: None, last };
                        self.steps.entry(wd).or_default().push(last);
                    }
                }
            } else {
                here = at;
            }
        }
        Ok(())
    }

    /// Sets a watch. One that may not be set, or whose folder has just gone, is done without.
    fn listen(
        watches: &mut Watches,
        path: &Path,
        mask: WatchMask,
    ) -> io::Result<Option<WatchDescriptor>> {
        match watches.add(path, mask) {
            Ok(wd) => Ok(Some(wd)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                debug!(path = %path.display(), "cannot be watched; changes there are not heard");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What an event means for the path.
    pub(super) fn hear(&self, event: &Event<&OsStr>) -> Heard {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return Heard::UNKNOWN;
        }
        let Some(steps) = self.steps.get(&event.wd) else {
            return Heard::default();
        };
        let mut heard = Heard::default();
        if event
            .mask
            .intersects(EventMask::IGNORED | EventMask::UNMOUNT)
        {
            heard.moved = true;
        }
        for step in steps
            .iter()
            .filter(|step| step.name.as_deref() == event.name)
        {
            let closed = event.mask.contains(EventMask::CLOSE_WRITE);
            heard.moved |= !closed;
            heard.closed |= closed && step.last;
        }
        heard
    }
}

/// Puts a path before what is left to walk.
fn unfold(path: &Path, here: &mut PathBuf, rest: &mut VecDeque<OsString>) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => rest.push_front(name.to_owned()),
            Component::ParentDir => rest.push_front("..".into()),
            Component::RootDir => *here = PathBuf::from("/"),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use inotify::Inotify;

    use super::*;

    #[test]
    fn a_walk_leaves_no_watch_of_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let inotify = Inotify::init().expect("inotify");
        let info = format!("/proc/self/fdinfo/{}", inotify.as_raw_fd());
        let watched = || {
            let info = fs::read_to_string(&info).expect("readable");
            info.lines().filter(|l| l.starts_with("inotify")).count()
        };
        let mut trail = Trail::default();
        let mut counts = Vec::new();
        for i in 0..3 {
            let target = format!("v{i}");
            fs::create_dir(at(&target)).expect("made");
            fs::write(at(&target).join("file"), "x").expect("written");
            symlink(&target, at("new")).expect("linked");
            fs::rename(at("new"), at("link")).expect("renamed");
            let walked = trail.walk(&mut inotify.watches(), &at("link/file"));
            walked.expect("walked");
            assert!(trail.leads_to_file);
            counts.push(watched());
        }
        // Every folder from the root on, the link's target and the file.
        let depth = folder.path().components().count();
        assert_eq!(counts, [depth + 2; 3]);
        fs::remove_file(at("link")).expect("removed");
        trail
            .walk(&mut inotify.watches(), &at("link/file"))
            .expect("walked");
        assert!(!trail.leads_to_file);
        assert_eq!(watched(), depth);
    }
}
