//! What is done to a volume's files through its writable mount: every call is relative to the
//! mount's descriptor.
//!
//! Names come from the daemon, and so does what they lead to: a symbolic link that it serves could
//! lead out of the mount. So a parent directory is opened without following any and without leaving
//! the mount, and the last name is never followed. Everything here may wait for the daemon, or for
//! a lock that a pod holds.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, Timespec, Timestamps, UTIME_OMIT, openat,
    openat2, renameat, statx, unlinkat, utimensat,
};
use rustix::io::{Errno, pwrite};

use crate::protocol::{HandOp, OpResult};
use crate::volume_path::split;

/// Where the volume's files are, and where names are prepared.
const FILES: &str = "files";
const STAGE: &str = "stage";

/// Makes the kernel ask for each file's attributes afresh, which drops what it has cached of a file
/// whose time has moved; no event. The creation time is not asked for: FUSE has it only by a
/// request of its own.
pub(crate) fn refresh(mount: BorrowedFd<'_>, paths: &[String]) -> Vec<Option<i32>> {
    let mut last: Option<(&str, OwnedFd)> = None;
    let mut one = |path| {
        let (parent, name) = split(path)?;
        let directory = match &last {
            Some((open, directory)) if *open == parent => directory,
            _ => {
                &last
                    .insert((parent, open_directory(mount, FILES, parent)?))
                    .1
            }
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
        statx(directory, name, flags, StatxFlags::BASIC_STATS).map(drop)
    };
    paths
        .iter()
        .map(|path| one(path).err().map(Errno::raw_os_error))
        .collect()
}

/// Does one operation.
pub(crate) fn run(mount: BorrowedFd<'_>, op: &HandOp) -> OpResult {
    let done = match op {
        HandOp::Rename { stage, path } => rename(mount, stage, path),
        HandOp::Ring {
            path,
            mtime_sec,
            mtime_nsec,
        } => ring(mount, path, *mtime_sec, *mtime_nsec),
        HandOp::Touch {
            path,
            mtime_sec,
            mtime_nsec,
        } => at(mount, path)
            .and_then(|(directory, name)| touch(&directory, name, *mtime_sec, *mtime_nsec)),
        HandOp::Unlink { path } => remove(mount, path, AtFlags::empty()),
        HandOp::Rmdir { path } => remove(mount, path, AtFlags::REMOVEDIR),
    };
    done.unwrap_or_else(|errno| OpResult::Failed(errno.raw_os_error()))
}

fn rename(mount: BorrowedFd<'_>, stage: &str, path: &str) -> Result<OpResult, Errno> {
    let ("", staged) = split(stage)? else {
        return Err(Errno::INVAL);
    };
    let from = open_directory(mount, STAGE, "")?;
    let (directory, name) = at(mount, path)?;
    renameat(from, staged, directory, name).map(|()| OpResult::Done)
}

fn ring(mount: BorrowedFd<'_>, path: &str, seconds: i64, nanos: u32) -> Result<OpResult, Errno> {
    let (directory, name) = at(mount, path)?;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(&directory, name, flags, Mode::empty()) {
        Ok(file) => pwrite(file, b"\n", 0).map(|_| OpResult::Done),
        // It is being executed, or somebody has a lease on it.
        Err(Errno::TXTBSY | Errno::AGAIN) => {
            touch(&directory, name, seconds, nanos).map(|_| OpResult::Touched)
        }
        Err(errno) => Err(errno),
    }
}

fn touch(directory: &OwnedFd, name: &str, seconds: i64, nanos: u32) -> Result<OpResult, Errno> {
    if nanos >= 1_000_000_000 {
        // The kernel gives some of these numbers another meaning (UTIME_NOW).
        return Err(Errno::INVAL);
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanos.into(),
        },
    };
    utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW).map(|()| OpResult::Done)
}

fn remove(mount: BorrowedFd<'_>, path: &str, flags: AtFlags) -> Result<OpResult, Errno> {
    let (directory, name) = at(mount, path)?;
    unlinkat(directory, name, flags).map(|()| OpResult::Done)
}

/// The directory that a path of the volume is in, and its last name.
fn at<'a>(mount: BorrowedFd<'_>, path: &'a str) -> Result<(OwnedFd, &'a str), Errno> {
    let (parent, name) = split(path)?;
    Ok((open_directory(mount, FILES, parent)?, name))
}

fn open_directory(mount: BorrowedFd<'_>, top: &str, parent: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    openat2(
        mount.as_fd(),
        format!("{top}/{parent}"),
        flags,
        Mode::empty(),
        within,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a plain directory: what the calls do to FUSE is tested with a mount.
    #[test]
    fn no_way_out_through_a_link() {
        let top = tempfile::tempdir().expect("a temporary directory");
        let outside = tempfile::tempdir().expect("a temporary directory");
        for name in ["files", "stage"] {
            std::fs::create_dir(top.path().join(name)).expect("a directory");
        }
        std::fs::write(outside.path().join("kept"), b"x").expect("a file");
        std::os::unix::fs::symlink(outside.path(), top.path().join("files/link")).expect("a link");
        std::os::unix::fs::symlink(outside.path().join("kept"), top.path().join("files/kept"))
            .expect("a link");
        let mount = std::fs::File::open(top.path()).expect("opens");
        let run = |op| run(mount.as_fd(), &op);

        assert_eq!(
            run(HandOp::Unlink {
                path: "link/kept".into()
            }),
            OpResult::Failed(libc::ENOTDIR)
        );
        assert_eq!(
            run(HandOp::Unlink {
                path: "link/../kept".into()
            }),
            OpResult::Failed(libc::EINVAL)
        );
        assert_eq!(
            run(HandOp::Rmdir {
                path: "link/a/kept".into()
            }),
            OpResult::Failed(libc::ELOOP)
        );
        assert_eq!(
            run(HandOp::Ring {
                path: "kept".into(),
                mtime_sec: 1,
                mtime_nsec: 0
            }),
            OpResult::Failed(libc::ELOOP)
        );
        assert_eq!(
            run(HandOp::Rename {
                stage: "../files".into(),
                path: "x".into()
            }),
            OpResult::Failed(libc::EINVAL)
        );
        assert_eq!(
            refresh(mount.as_fd(), &["link/kept".into(), "kept".into()]),
            [Some(libc::ENOTDIR), None]
        );
        assert_eq!(
            std::fs::read(outside.path().join("kept")).expect("reads"),
            b"x"
        );
    }

    #[test]
    fn each_operation_on_a_plain_directory() {
        let top = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(top.path().join("files/sub")).expect("a directory");
        std::fs::create_dir(top.path().join("stage")).expect("a directory");
        std::fs::write(top.path().join("stage/1"), b"x").expect("a file");
        let mount = std::fs::File::open(top.path()).expect("opens");
        let run = |op| run(mount.as_fd(), &op);

        assert_eq!(
            run(HandOp::Rename {
                stage: "1".into(),
                path: "sub/a".into()
            }),
            OpResult::Done
        );
        assert_eq!(
            run(HandOp::Ring {
                path: "sub/a".into(),
                mtime_sec: 1,
                mtime_nsec: 0
            }),
            OpResult::Done
        );
        assert_eq!(
            run(HandOp::Touch {
                path: "sub/a".into(),
                mtime_sec: 7,
                mtime_nsec: 9
            }),
            OpResult::Done
        );
        let times = std::fs::metadata(top.path().join("files/sub/a")).expect("is there");
        assert_eq!(
            (
                std::os::unix::fs::MetadataExt::mtime(&times),
                std::os::unix::fs::MetadataExt::mtime_nsec(&times)
            ),
            (7, 9)
        );
        assert_eq!(
            run(HandOp::Touch {
                path: "sub/a".into(),
                mtime_sec: 7,
                mtime_nsec: u32::MAX
            }),
            OpResult::Failed(libc::EINVAL)
        );
        assert_eq!(
            run(HandOp::Rmdir { path: "sub".into() }),
            OpResult::Failed(libc::ENOTEMPTY)
        );
        assert_eq!(
            run(HandOp::Unlink {
                path: "sub/a".into()
            }),
            OpResult::Done
        );
        assert_eq!(run(HandOp::Rmdir { path: "sub".into() }), OpResult::Done);
        assert_eq!(
            run(HandOp::Unlink { path: "sub".into() }),
            OpResult::Failed(libc::ENOENT)
        );
        assert_eq!(
            refresh(mount.as_fd(), &["sub/a".into(), "..".into()]),
            [Some(libc::ENOENT), Some(libc::EINVAL)]
        );
    }

    #[test]
    fn a_running_program_is_touched_instead() {
        let top = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(top.path().join("files")).expect("a directory");
        std::fs::copy("/bin/sleep", top.path().join("files/sleep")).expect("a program");
        let mut child = std::process::Command::new(top.path().join("files/sleep"))
            .arg("60")
            .spawn()
            .expect("it runs");
        let mount = std::fs::File::open(top.path()).expect("opens");
        let result = run(
            mount.as_fd(),
            &HandOp::Ring {
                path: "sleep".into(),
                mtime_sec: 7,
                mtime_nsec: 0,
            },
        );
        child.kill().expect("ours to end");
        child.wait().expect("ours to reap");
        assert_eq!(result, OpResult::Touched);
    }
}
