//! What is at a target, and taking exactly that away: by the descriptor that looked at it, not by a
//! path that may lead elsewhere by now.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::Device;
use crate::HandError;
use crate::error::During;
use crate::mountinfo::{self, MountEntry, MountId};

/// What is at a target: the root of the uppermost mount there, or a bare directory.
#[derive(Debug)]
pub(crate) struct TargetMount {
    /// The directory, or the root of the mount.
    pub(crate) directory: OwnedFd,
    pub(crate) device: Device,
    /// The mount, if it is the root of one.
    pub(super) mounted: Option<MountId>,
}

impl TargetMount {
    /// Whether it is the root of a mount at all.
    pub(crate) fn is_mounted(&self) -> bool {
        self.mounted.is_some()
    }

    /// Whether it is the root of one of these livemounts.
    pub(crate) fn is_among(&self, mounts: &[MountEntry]) -> bool {
        mounts
            .iter()
            .any(|mount| Some(mount.id) == self.mounted && mount.device == self.device)
    }

    /// Whether it is the root of a livemount, anybody's.
    pub(crate) fn is_livemount(&self) -> Result<bool, HandError> {
        Ok(self.mounted.is_some() && self.is_among(&mountinfo::read()?))
    }

    /// Whether the connection behind the mount has ended. Waits for its daemon if there is one:
    /// only a worker may ask.
    pub(crate) fn is_dead(&self) -> bool {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
        let asked = statx(&self.directory, c"", flags, StatxFlags::BASIC_STATS);
        matches!(asked, Err(Errno::NOTCONN | Errno::CONNABORTED))
    }

    /// Whether it is one that refuses whatever is asked, so that no container starts with it.
    pub(crate) fn refuses(&self) -> bool {
        let asked = statx(
            &self.directory,
            c"",
            AtFlags::EMPTY_PATH,
            StatxFlags::BASIC_STATS,
        );
        matches!(asked, Err(Errno::NOTCONN | Errno::CONNABORTED))
    }

    /// Takes away this mount and no other: what has been mounted at the target since then is not
    /// touched, and a mount that is gone is no error.
    pub(crate) fn detach(&self) -> Result<(), HandError> {
        detach(&self.directory)
    }

    /// Aborts the connection behind the mount, whoever waits in it.
    pub(crate) fn abort(&self) {
        // It unmounts nothing: our own descriptor keeps the mount busy. The abort comes first
        // (fs/namespace.c, do_umount).
        let _busy = unmount(descriptor_path(&self.directory), UnmountFlags::FORCE);
    }
}

/// Detaches the mount that a descriptor stands on.
pub(crate) fn detach(mount: impl AsFd) -> Result<(), HandError> {
    match unmount(descriptor_path(mount), UnmountFlags::DETACH) {
        // Not mounted in this namespace, or no longer.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno).during("umount2"),
    }
}

/// The device of the filesystem behind a descriptor, without asking it.
pub(crate) fn device(of: impl AsFd) -> Result<Device, HandError> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let seen = statx(of, c"", flags, StatxFlags::MNT_ID).during("statx of the mount")?;
    Ok((seen.stx_dev_major, seen.stx_dev_minor))
}

/// umount2 takes paths only; this one leads to exactly what the descriptor has open.
pub(super) fn descriptor_path(descriptor: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()))
}
