//! What the hand knows of each volume. Every lock here is held for a few instructions and never
//! across a system call.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use rustix::fs::fstatfs;

use crate::HandError;
use crate::error::During;
use crate::process::HandArgs;
use crate::protocol::{Last, Progress, VolumeNumber};
use crate::target::{Device, TargetPath, device};

/// statfs(2), linux/magic.h.
const FUSE_SUPER_MAGIC: i128 = 0x6573_5546;

/// All that the threads of one hand share.
pub(crate) struct MountedVolumes {
    pub(crate) roots: Vec<PathBuf>,
    /// Clone as a kernel before 6.15 must (see `mounts`).
    pub(crate) clone_attached: bool,
    /// Dead mounts stay where they are (see `HandArgs`).
    pub(crate) leave_dead: bool,
    /// The SELinux context of every mount, where one was given.
    pub(crate) selinux_context: Option<String>,
    /// Whoever changes the mount table or makes a directory holds this for reading; who ends the
    /// hand takes it for writing and never gives it back, so that nothing appears after the last
    /// look. Only calls that no FUSE daemon can delay are made under it.
    pub(crate) gate: RwLock<()>,
    all: Mutex<HashMap<VolumeNumber, Arc<MountedVolume>>>,
}

/// One of them.
#[derive(Default)]
pub(crate) struct MountedVolume {
    pub(crate) binding: Mutex<Binding>,
    mount: Mutex<Option<Arc<WritableMount>>>,
    pub(crate) progress: Mutex<Progress>,
}

/// Where a volume is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Binding {
    pub(crate) target: Option<TargetPath>,
    /// The directory was made by a hand, who removes it again.
    pub(crate) created: bool,
    pub(crate) bound: bool,
}

/// A volume's writable mount, which has no path anywhere.
#[derive(Debug)]
pub(crate) struct WritableMount {
    pub(crate) descriptor: OwnedFd,
    pub(crate) device: Device,
    /// This hand made it: it is what it seems to be.
    pub(crate) made: bool,
    /// It is FUSE: we made it, or asked it.
    known: AtomicBool,
}

impl MountedVolumes {
    pub(crate) fn new(args: HandArgs) -> Self {
        Self {
            roots: args.roots,
            clone_attached: args.clone_attached,
            leave_dead: args.leave_dead,
            selinux_context: args.selinux_context,
            gate: RwLock::new(()),
            all: Mutex::default(),
        }
    }

    /// The volume of that number, a new one if there is none.
    pub(crate) fn enter(&self, volume: VolumeNumber) -> Arc<MountedVolume> {
        Arc::clone(self.all.lock().entry(volume).or_default())
    }

    /// The volume of that number.
    pub(crate) fn get(&self, volume: VolumeNumber) -> Option<Arc<MountedVolume>> {
        self.all.lock().get(&volume).map(Arc::clone)
    }

    pub(crate) fn remove(&self, volume: VolumeNumber) {
        self.all.lock().remove(&volume);
    }

    pub(crate) fn list(&self) -> Vec<(VolumeNumber, Arc<MountedVolume>)> {
        self.all
            .lock()
            .iter()
            .map(|(id, volume)| (*id, Arc::clone(volume)))
            .collect()
    }

    /// The devices of all mounts that are held.
    pub(crate) fn devices(&self) -> HashSet<Device> {
        self.list()
            .iter()
            .filter_map(|(_, volume)| Some(volume.held_mount()?.device))
            .collect()
    }

    /// Takes over what a former hand or another daemon held; its connection may be alive, dead or
    /// stuck, and is not asked here. Who holds the very mount knows better than who tells of it: where
    /// it is bound, and how far its operations are, one of them perhaps under way.
    pub(crate) fn adopt(
        &self,
        volume: VolumeNumber,
        binding: Binding,
        last: Option<Last>,
        mount: Option<OwnedFd>,
    ) -> Result<(), HandError> {
        let mount = mount
            .map(|mount| WritableMount::new(mount, false))
            .transpose()?;
        let volume = self.enter(volume);
        let held = volume.held_mount();
        // As long as both are held their numbers cannot be the same by chance.
        if let (Some(told), Some(held)) = (&mount, &held)
            && told.device == held.device
        {
            return Ok(());
        }
        drop(held);
        *volume.binding.lock() = binding;
        volume.set_mount(mount);
        *volume.progress.lock() = Progress {
            last,
            running: None,
        };
        Ok(())
    }
}

impl MountedVolume {
    /// Its mount, made sure of to be a FUSE one. The question waits for the daemon.
    pub(crate) fn checked_mount(
        &self,
        volume: VolumeNumber,
    ) -> Result<Arc<WritableMount>, HandError> {
        let mount = self.held_mount().ok_or(HandError::NoVolume(volume))?;
        if !mount.known.load(Ordering::Relaxed) {
            // A taken-over daemon could have handed us any directory that it can see, to have it
            // changed with our rights.
            if i128::from(
                fstatfs(&mount.descriptor)
                    .during("statfs of the mount")?
                    .f_type,
            ) != FUSE_SUPER_MAGIC
            {
                return Err(HandError::NotFuse);
            }
            mount.known.store(true, Ordering::Relaxed);
        }
        Ok(mount)
    }

    /// Its mount, as it is.
    pub(crate) fn held_mount(&self) -> Option<Arc<WritableMount>> {
        self.mount.lock().clone()
    }

    pub(crate) fn set_mount(&self, mount: Option<WritableMount>) {
        let former = std::mem::replace(&mut *self.mount.lock(), mount.map(Arc::new));
        // Perhaps the end of a superblock, so not under the lock.
        drop(former);
    }
}

impl WritableMount {
    /// `made` where this hand made it, and nobody gave it to us.
    pub(crate) fn new(descriptor: OwnedFd, made: bool) -> Result<Self, HandError> {
        let device = device(&descriptor)?;
        Ok(Self {
            descriptor,
            device,
            made,
            known: AtomicBool::new(made),
        })
    }
}
