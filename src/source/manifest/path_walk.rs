//! Where a path leads, and a watch on every directory that it goes through.
//!
//! A manifest is replaced in many ways: a rename onto its name, a symlink that is swapped, a directory
//! above it that is moved away and made anew. All of them happen to a name in a directory, so each
//! directory that a step of the path is looked up in is watched before that step is taken: what
//! changes later is heard, what changed earlier is seen. The file's inode is watched too, for
//! writers who come by another name (hard links, a file mounted on its own), and so are all names
//! in a directory that is the source.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::inotify_watches::{InotifyWatches, Interest, PathId, Position};
use super::stable_read::is_missing;

/// How many symlinks a path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathEnd {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// Something else.
    File,
}

/// Walks an absolute path and watches its steps, and no longer those of a former walk. After an
/// error the steps before it are watched.
pub(super) fn walk(watches: &mut InotifyWatches, id: &PathId, path: &Path) -> io::Result<PathEnd> {
    watches.rewatch(id, |watches| follow(watches, id, path))
}

fn follow(watches: &mut InotifyWatches, id: &PathId, path: &Path) -> io::Result<PathEnd> {
    let mut here = PathBuf::from("/");
    let mut rest = VecDeque::new();
    let mut links = 0;
    unfold(path, &mut here, &mut rest);
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            here.push(name);
            continue;
        }
        let at = here.join(&name);
        // Watched before it is looked at. Whether the step is the last one is known only then, and a
        // step that is taken for the last one hears more, not less.
        let position = if rest.is_empty() {
            Position::Last
        } else {
            Position::Inner
        };
        watches.add(id, &here, Interest::Entry(name, position))?;
        let found = match fs::symlink_metadata(&at) {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(PathEnd::Nothing),
            Err(error) => return Err(error),
        };
        if found.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            match fs::read_link(&at) {
                Ok(target) => unfold(&target, &mut here, &mut rest),
                // Swapped since: that was heard.
                Err(_) => return Ok(PathEnd::Nothing),
            }
        } else if rest.is_empty() {
            return watch_end(watches, id, &at, &found);
        } else {
            here = at;
        }
    }
    // The path ends in `..`, or is the root.
    match fs::metadata(&here) {
        Ok(found) => watch_end(watches, id, &here, &found),
        Err(error) if is_missing(&error) => Ok(PathEnd::Nothing),
        Err(error) => Err(error),
    }
}

/// Watches the end of a path.
fn watch_end(
    watches: &mut InotifyWatches,
    id: &PathId,
    at: &Path,
    found: &Metadata,
) -> io::Result<PathEnd> {
    if found.is_dir() {
        // Only what is the source itself is listed.
        if id.is_none() {
            watches.add(id, at, Interest::EveryEntry)?;
        }
        Ok(PathEnd::Directory)
    } else {
        if found.is_file() {
            watches.add(id, at, Interest::File)?;
        }
        Ok(PathEnd::File)
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

    fn watched(inotify: &Inotify) -> usize {
        let info = format!("/proc/self/fdinfo/{}", inotify.as_raw_fd());
        let info = fs::read_to_string(info).expect("readable");
        info.lines().filter(|l| l.starts_with("inotify")).count()
    }

    #[test]
    fn a_walk_leaves_no_watch_of_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let (inotify, mut watches) = InotifyWatches::new().expect("inotify");
        let mut go = |path: &str| walk(&mut watches, &None, &at(path)).expect("walked");
        let mut counts = Vec::new();
        for i in 0..3 {
            let target = format!("v{i}");
            fs::create_dir(at(&target)).expect("made");
            fs::write(at(&target).join("file"), "x").expect("written");
            symlink(&target, at("new")).expect("linked");
            fs::rename(at("new"), at("link")).expect("renamed");
            assert_eq!(go("link/file"), PathEnd::File);
            counts.push(watched(&inotify));
        }
        // Every directory from the root on, the link's target and the file.
        let depth = folder.path().components().count();
        assert_eq!(counts, [depth + 2; 3]);
        fs::remove_file(at("link")).expect("removed");
        assert_eq!(go("link/file"), PathEnd::Nothing);
        assert_eq!(watched(&inotify), depth);
        // A directory is watched for its names.
        assert_eq!(go("v0"), PathEnd::Directory);
        assert_eq!(watched(&inotify), depth + 1);
        assert_eq!(go("v0/.."), PathEnd::Directory);
        assert_eq!(watched(&inotify), depth);
    }

    #[test]
    fn a_watch_goes_with_its_last_path() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a"), "").expect("written");
        fs::write(folder.path().join("b"), "").expect("written");
        let (inotify, mut watches) = InotifyWatches::new().expect("inotify");
        let depth = folder.path().components().count();
        for name in ["a", "b"] {
            let path = folder.path().join(name);
            walk(&mut watches, &Some(name.into()), &path).expect("walked");
        }
        assert_eq!(watched(&inotify), depth + 2);
        watches.remove(&Some("a".into()));
        assert_eq!(watched(&inotify), depth + 1);
        watches.remove(&Some("b".into()));
        assert_eq!(watched(&inotify), 0);
    }
}
