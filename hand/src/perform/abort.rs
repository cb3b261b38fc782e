//! Aborting a volume's connection: whoever waits in it is freed, and it answers nobody any more.
//!
//! Where the volume is uppermost at its target the mount there is told to (`MNT_FORCE`). Elsewhere the
//! kernel's folder of all connections leads to it (fusectl, Documentation/filesystems/fuse): it is
//! mounted without a path, for the one call, and names a connection by the device of its filesystem
//! (fs/fuse/control.c, `fuse_ctl_add_conn`).

use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::HandError;
use crate::error::During;
use crate::mounted_volume::MountedVolume;
use crate::mountinfo::{self, MountEntry};
use crate::protocol::VolumeNumber;
use crate::target::{Device, TargetMount};

/// Of a device number within the kernel (linux/kdev_t.h).
const MINOR_BITS: u32 = 20;

/// Only a connection that a hand made: this one did, or it is a livemount by the mount table. Waits for
/// nobody.
pub(crate) fn abort(volume: &MountedVolume, number: VolumeNumber) -> Result<(), HandError> {
    let writable = volume.held_mount().ok_or(HandError::NoVolume(number))?;
    // Somebody may have given us the descriptor of another's mount, to see it aborted.
    let is_mounted =
        |mounts: Vec<MountEntry>| mounts.iter().any(|mount| mount.device == writable.device);
    if !writable.made && !is_mounted(mountinfo::read()?) {
        return Err(HandError::NotFuse);
    }
    let target = volume.binding.lock().target.clone();
    let at_target = target.and_then(|target| target.look().ok());
    match at_target.filter(|uppermost| is_of(uppermost, writable.device)) {
        Some(uppermost) => {
            uppermost.abort();
            Ok(())
        }
        None => abort_device(writable.device),
    }
}

fn is_of(uppermost: &TargetMount, device: Device) -> bool {
    uppermost.is_mounted() && uppermost.device == device
}

/// The operator's last resort, without any hand or daemon: aborts the connection of the livemount at a
/// target, as the mount table has it. Everybody who waits in it is freed with an error, and it shows nothing
/// any more. Touches nothing that could wait.
///
/// # Errors
///
/// [`HandError::NotFuse`] where no livemount is there; [`HandError::Os`] where the kernel refuses.
pub fn abort_at(target: &Path) -> Result<(), HandError> {
    let mounts = mountinfo::read()?;
    let found = mounts.iter().rev().find(|mount| mount.point == target);
    abort_device(found.ok_or(HandError::NotFuse)?.device)
}

/// By its number among all connections. One that is not there has ended.
fn abort_device((major, minor): Device) -> Result<(), HandError> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC).during("fsopen of fusectl")?;
    fsconfig_create(&context).during("create fusectl")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let connections = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .during("fsmount of fusectl")?;
    let file = match openat(
        &connections,
        format!("{}/abort", major << MINOR_BITS | minor),
        OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        file => file.during("open the connection's abort")?,
    };
    rustix::io::write(file, b"1")
        .during("abort the connection")
        .map(drop)
}
