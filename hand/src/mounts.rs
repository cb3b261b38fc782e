//! Making a volume's mount, and binding its `files/` to a target.
//!
//! The mount of a volume has no path: it is made detached and lives behind a descriptor. What
//! appears at the target is a read-only clone of the subtree `files/`. Since Linux 6.15 a detached
//! mount can be cloned as it is (fs/namespace.c, `may_copy_tree`); before, only what is attached in
//! our namespace. There it is attached for a moment to a private bind of a private directory
//! beneath the first root, where propagation takes it nowhere, cloned twice and detached. A mount
//! that was attached and detached can never be attached again, so the second clone, which can,
//! takes its place.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree,
};

use crate::HandError;
use crate::error::During;
use crate::mounted_volume::{MountedVolumes, WritableMount};
use crate::protocol::VolumeNumber;
use crate::sys::set_mount_attributes;
use crate::target::{TargetPath, detach};

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_EMPTY_PATH);
const BY_DESCRIPTORS: MoveMountFlags =
    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH.union(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH);
/// Not noexec: people run scripts from a `ConfigMap`.
const OF_A_BIND: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// A clone of `files/` that is ready to be moved to a target.
pub(crate) struct Cloned {
    pub(crate) files: OwnedFd,
    /// The new mount of the volume, where cloning used up the old one.
    pub(crate) replacement: Option<OwnedFd>,
}

/// A new connection: its `/dev/fuse` and its mount. INIT is waiting in the former; nothing is asked
/// of the daemon here. With an SELinux context every file has that one (`context=`, mount(8)).
pub(crate) fn make(selinux_context: Option<&str>) -> Result<(OwnedFd, OwnedFd), HandError> {
    let device = open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .during("open /dev/fuse")?;
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).during("fsopen")?;
    let number = device.as_raw_fd().to_string();
    let options = [
        ("source", "livemount"),
        ("subtype", "livemount"),
        ("fd", &number),
        ("rootmode", "40000"),
        ("user_id", "0"),
        ("group_id", "0"),
    ];
    for (key, value) in options {
        fsconfig_set_string(&context, key, value).during("fsconfig")?;
    }
    if let Some(selinux_context) = selinux_context {
        fsconfig_set_string(&context, "context", selinux_context)
            .during("fsconfig of the SELinux context")?;
    }
    for flag in ["allow_other", "default_permissions"] {
        fsconfig_set_flag(&context, flag).during("fsconfig")?;
    }
    fsconfig_create(&context).during("create the filesystem")?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).during("fsmount")?;
    Ok((device, mount))
}

/// A mount that refuses everything with `ENOTCONN`: its connection ends before anybody serves it. A volume
/// that died does not refuse what the kernel remembers of it, its root's attributes first of all, so that
/// a container can be started with it.
pub(crate) fn make_refusing(selinux_context: Option<&str>) -> Result<OwnedFd, HandError> {
    let (device, mount) = make(selinux_context)?;
    drop(device);
    set_mount_attributes(&mount, OF_A_BIND, 0).during("mount_setattr")?;
    Ok(mount)
}

/// Clones `files/`, read-only. Looking the name up waits for the daemon, nothing else does.
pub(crate) fn clone_files(
    volumes: &MountedVolumes,
    volume: VolumeNumber,
    writable: &WritableMount,
) -> Result<Cloned, HandError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let files = openat2(&writable.descriptor, c"files", flags, Mode::empty(), within)
        .during("open files/")?;
    let cloned = if volumes.clone_attached {
        clone_attached(volumes, volume, writable, &files)?
    } else {
        match open_tree(&files, c"", CLONE) {
            Err(Errno::INVAL) => clone_attached(volumes, volume, writable, &files)?,
            clone => Cloned {
                files: clone.during("open_tree of files/")?,
                replacement: None,
            },
        }
    };
    set_mount_attributes(&cloned.files, OF_A_BIND, 0).during("mount_setattr")?;
    Ok(cloned)
}

/// Moves a clone to the target.
pub(crate) fn attach(clone: impl AsFd, target: impl AsFd) -> Result<(), HandError> {
    move_mount(clone, c"", target, c"", BY_DESCRIPTORS).during("move_mount to the target")
}

/// The way for kernels before 6.15.
fn clone_attached(
    volumes: &MountedVolumes,
    volume: VolumeNumber,
    writable: &WritableMount,
    files: &OwnedFd,
) -> Result<Cloned, HandError> {
    let _gate = volumes.gate.read();
    let first = volumes.roots.first().ok_or(HandError::OutsideRoots)?;
    let private = TargetPath::private(first, format!(".livemount-{}-{volume}", std::process::id()));
    private.make(0o700)?;
    let cloned = clone_at(&private, writable, files);
    // Also after a failure; what cannot be removed is an empty directory that says whose it was.
    let removed = private.remove();
    let cloned = cloned?;
    removed?;
    Ok(cloned)
}

fn clone_at(
    private: &TargetPath,
    writable: &WritableMount,
    files: &OwnedFd,
) -> Result<Cloned, HandError> {
    let directory = private.look()?.directory;
    let bind = open_tree(&directory, c"", CLONE).during("open_tree of the private directory")?;
    set_mount_attributes(&bind, 0, MountPropagationFlags::PRIVATE.bits().into())
        .during("make the private directory private")?;
    move_mount(&bind, c"", &directory, c"", BY_DESCRIPTORS)
        .during("attach the private directory")?;
    let cloned = clone_on(&bind, writable, files);
    detach(&bind)?;
    cloned
}

fn clone_on(
    bind: &OwnedFd,
    writable: &WritableMount,
    files: &OwnedFd,
) -> Result<Cloned, HandError> {
    move_mount(&writable.descriptor, c"", bind, c"", BY_DESCRIPTORS).during("attach the mount")?;
    let files = open_tree(files, c"", CLONE).during("open_tree of files/");
    let again = open_tree(&writable.descriptor, c"", CLONE).during("open_tree of the mount");
    detach(&writable.descriptor)?;
    Ok(Cloned {
        files: files?,
        replacement: Some(again?),
    })
}
