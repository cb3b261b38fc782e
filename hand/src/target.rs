//! A target: where a volume may appear. Every way from a path to a descriptor goes through here.
//!
//! The daemon chooses targets, and the daemon may have been taken over. So a target is a path
//! strictly beneath one of the roots given on the hand's own command line, and it is opened from
//! there by `openat2` without symbolic links and without a way up. Descriptors are opened for one
//! call and not kept: one that is kept would hold the mount that it is on.
//!
//! Nothing here waits for a FUSE daemon, [`TargetMount::is_dead`] excepted: an `O_PATH` open, a
//! `statx` that asks for nothing fresh and an unmount never send it a request.

mod mount;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, mkdirat, open,
    openat, openat2, statx, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::HandError;
use crate::error::During;
use crate::mountinfo::{MountEntry, MountId};
use mount::descriptor_path;
pub(crate) use mount::{TargetMount, detach, device};

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// A path strictly beneath a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetPath {
    root: PathBuf,
    /// From the root, `.` at least.
    parent: PathBuf,
    name: OsString,
}

/// A filesystem's device number: as long as a descriptor of the filesystem is held, no other has
/// the same.
pub(crate) type Device = (u32, u32);

impl TargetPath {
    /// Judges a path by the roots. It need not exist.
    pub(crate) fn find(roots: &[PathBuf], target: &Path) -> Result<Self, HandError> {
        for root in roots {
            let Ok(rest) = target.strip_prefix(root) else {
                continue;
            };
            if !rest
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
            {
                break;
            }
            let (Some(parent), Some(name)) = (rest.parent(), rest.file_name()) else {
                continue;
            };
            return Ok(Self {
                root: root.clone(),
                parent: Path::new(".").join(parent),
                name: name.to_owned(),
            });
        }
        Err(HandError::OutsideRoots)
    }

    /// The path of that name right beneath the first root: where the hand itself may put something
    /// for a moment.
    pub(crate) fn private(root: &Path, name: String) -> Self {
        Self {
            root: root.to_owned(),
            parent: PathBuf::from("."),
            name: name.into(),
        }
    }

    /// Makes the directory, unless there is something of that name.
    pub(crate) fn make(&self, mode: u32) -> Result<bool, HandError> {
        match mkdirat(self.open_parent()?, &self.name, Mode::from_raw_mode(mode)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno).during("make the target directory"),
        }
    }

    /// Removes the directory; one that is gone is no error.
    pub(crate) fn remove(&self) -> Result<(), HandError> {
        let parent = match self.open_parent() {
            Err(HandError::Os {
                errno: libc::ENOENT,
                ..
            }) => return Ok(()),
            parent => parent?,
        };
        match unlinkat(parent, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).during("remove the target directory"),
        }
    }

    /// Whether the directory has no entries. Asks the filesystem that it is on.
    pub(crate) fn is_empty(&self) -> Result<bool, HandError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(self.open_parent()?, &self.name, flags, Mode::empty())
            .during("open the target directory")?;
        for entry in Dir::new(directory).during("read the target directory")? {
            let entry = entry.during("read the target directory")?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is there now.
    pub(crate) fn look(&self) -> Result<TargetMount, HandError> {
        let root = self.open_root()?;
        let directory = match openat2(
            root,
            self.parent.join(&self.name),
            DIRECTORY,
            Mode::empty(),
            BENEATH,
        ) {
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(HandError::NotADirectory),
            opened => opened.during("open the target")?,
        };
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let seen =
            statx(&directory, c"", flags, StatxFlags::MNT_ID).during("statx of the target")?;
        let device = (seen.stx_dev_major, seen.stx_dev_minor);
        let mounted = seen
            .stx_attributes
            .contains(StatxAttributes::MOUNT_ROOT)
            .then_some(MountId(seen.stx_mnt_id));
        Ok(TargetMount {
            directory,
            device,
            mounted,
        })
    }

    /// Whether one of these mounts is of that device and at this path, under others perhaps.
    pub(crate) fn is_under(&self, mounts: &[MountEntry], device: Device) -> bool {
        // The kernel writes real paths there, and the root may have been given by another name.
        let root = self
            .root
            .canonicalize()
            .unwrap_or_else(|_| self.root.clone());
        let path: PathBuf = root
            .join(&self.parent)
            .join(&self.name)
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        mounts
            .iter()
            .any(|mount| mount.device == device && mount.point == path)
    }

    /// Unmounts what is uppermost at the target if nobody uses it.
    pub(crate) fn unmount_if_idle(&self) -> Result<(), HandError> {
        let parent = self.open_parent()?;
        let path = descriptor_path(&parent).join(&self.name);
        match unmount(path, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) => Err(HandError::Busy),
            done => done.during("umount2"),
        }
    }

    fn open_root(&self) -> Result<OwnedFd, HandError> {
        open(
            &self.root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .during("open the root")
    }

    fn open_parent(&self) -> Result<OwnedFd, HandError> {
        match openat2(
            self.open_root()?,
            &self.parent,
            DIRECTORY,
            Mode::empty(),
            BENEATH,
        ) {
            Err(Errno::NOTDIR | Errno::LOOP) => Err(HandError::NotADirectory),
            opened => opened.during("open the target's parent"),
        }
    }
}

/// Whether a directory can be opened at all, for a root at start.
pub(crate) fn is_directory(path: &Path) -> Result<(), HandError> {
    openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map(drop)
    .during("open the root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strictly_beneath_a_root() {
        let roots = [PathBuf::from("/var/lib/pods"), PathBuf::from("/srv/")];
        let find = |target: &str| TargetPath::find(&roots, Path::new(target));
        assert_eq!(find("/srv/a").map(|target| target.name), Ok("a".into()));
        assert_eq!(
            find("/var/lib/pods/1/v//x/").map(|target| target.parent),
            Ok("./1/v".into())
        );
        for outside in [
            "/srv",
            "/",
            "srv/a",
            "/srvx/a",
            "/srv/../etc",
            "/srv/a/../../etc",
            "/var/lib/pods/..",
            "",
            "/etc/a",
        ] {
            assert_eq!(find(outside), Err(HandError::OutsideRoots), "{outside}");
        }
    }

    #[test]
    fn a_symbolic_link_on_the_way_is_refused() {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::os::unix::fs::symlink("/etc", root.path().join("link")).expect("a link");
        let roots = [root.path().to_owned()];
        let through = TargetPath::find(&roots, &root.path().join("link/x"))
            .expect("beneath the root by its words");
        assert_eq!(through.make(0o755), Err(HandError::NotADirectory));
        let itself = TargetPath::find(&roots, &root.path().join("link"))
            .expect("beneath the root by its words");
        assert_eq!(itself.look().map(drop), Err(HandError::NotADirectory));
    }
}
