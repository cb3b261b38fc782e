//! What each call does, on a worker's thread. It knows nothing of messages, deadlines or other
//! volumes.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::HandError;
use crate::files;
use crate::mounted_volume::{Binding, MountedVolume, MountedVolumes, WritableMount};
use crate::mountinfo::{self, MountEntry};
use crate::mounts;
use crate::protocol::{
    Answer, CommitNumber, HandOp, Last, OpResult, Prepared, Unbind, VolumeNumber, Work,
};
use crate::target::TargetPath;

/// How many dead mounts may lie on top of each other at a target.
const LAYERS: usize = 64;

/// An answer and the descriptors that go with it.
pub(crate) type Performed = Result<(Answer, Vec<OwnedFd>), HandError>;

/// Does what is a worker's to do.
pub(crate) fn perform(volumes: &MountedVolumes, work: Work) -> Performed {
    let plain = |answer| Ok((answer, Vec::new()));
    match work {
        Work::Prepare {
            volume,
            target,
            over,
        } => {
            let target = TargetPath::find(&volumes.roots, &path(target))?;
            plain(Answer::Prepared(prepare(volumes, volume, &target, over)?))
        }
        Work::Mount { volume } => mount(volumes, volume),
        Work::Bind { volume, target } => bind(
            volumes,
            volume,
            TargetPath::find(&volumes.roots, &path(target))?,
        ),
        Work::Refresh { volume, paths } => {
            let writable = known(volumes, volume)?.checked_mount(volume)?;
            plain(Answer::Refreshed(files::refresh(
                writable.descriptor.as_fd(),
                &paths,
            )))
        }
        Work::Run {
            volume,
            commit,
            first,
            ops,
        } => {
            let entry = known(volumes, volume)?;
            plain(Answer::Ran(run(&entry, volume, commit, first, &ops)?))
        }
        Work::Unbind { volume, how } => {
            if let Some(volume) = volumes.get(volume) {
                unbind(&volume, how, &mountinfo::read()?)?;
            }
            plain(Answer::Done)
        }
        Work::Forget {
            volume,
            remove_target,
        } => forget(volumes, volume, remove_target).and_then(|()| plain(Answer::Done)),
        Work::Clear { target } => {
            clear(&TargetPath::find(&volumes.roots, &path(target))?)?;
            plain(Answer::Done)
        }
    }
}

/// The path that came as bytes.
pub(crate) fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

fn known(volumes: &MountedVolumes, volume: VolumeNumber) -> Result<Arc<MountedVolume>, HandError> {
    volumes.get(volume).ok_or(HandError::NoVolume(volume))
}

fn prepare(
    volumes: &MountedVolumes,
    number: VolumeNumber,
    target: &TargetPath,
    over: bool,
) -> Result<Prepared, HandError> {
    let volume = volumes.enter(number);
    let created = {
        // The directory and the note that it is ours are one thing to whoever ends the hand.
        let _gate = volumes.gate.read();
        let mut binding = volume.binding.lock().clone();
        let same = binding.target.as_ref() == Some(target);
        if binding.bound && !same {
            return Err(HandError::StillBound);
        }
        if let (false, true, Some(former)) = (same, binding.created, &binding.target) {
            former.remove()?;
        }
        let made = target.make(0o755)?;
        binding = Binding {
            target: Some(target.clone()),
            created: made || (same && binding.created),
            bound: binding.bound,
        };
        let created = binding.created;
        *volume.binding.lock() = binding;
        created
    };
    let mut replaced = false;
    for _ in 0..LAYERS {
        let uppermost = target.look()?;
        if !uppermost.is_livemount()? {
            break;
        }
        if !uppermost.is_dead() {
            let own = volume
                .held_mount()
                .is_some_and(|writable| writable.device == uppermost.device);
            return if own {
                Ok(Prepared { created, replaced })
            } else {
                Err(HandError::Occupied)
            };
        }
        uppermost.detach()?;
        replaced = true;
        // It may have been this volume's own, and aborted.
        volume.binding.lock().bound = false;
        tracing::info!(
            volume = number.0,
            "detached a dead livemount from the target"
        );
    }
    if !over && !created && !target.is_empty()? {
        return Err(HandError::NotEmpty);
    }
    Ok(Prepared { created, replaced })
}

fn mount(volumes: &MountedVolumes, volume: VolumeNumber) -> Performed {
    let entry = volumes.enter(volume);
    if entry.binding.lock().bound {
        return Err(HandError::StillBound);
    }
    let (device, mount) = mounts::make(volumes.selinux_context.as_deref())?;
    let copy = mount.try_clone().map_err(|_| HandError::Os {
        what: "copy the mount's descriptor".into(),
        errno: libc::EMFILE,
    })?;
    entry.set_mount(Some(WritableMount::new(mount, true)?));
    // In this order: the kernel closes a dying daemon's descriptors from the lowest, and the
    // connection should end before the mount does.
    Ok((Answer::Mounted, vec![device, copy]))
}

fn bind(volumes: &MountedVolumes, number: VolumeNumber, target: TargetPath) -> Performed {
    let volume = known(volumes, number)?;
    let writable = volume.checked_mount(number)?;
    let before = volume.binding.lock().clone();
    if before.bound && before.target.as_ref() != Some(&target) {
        return Err(HandError::StillBound);
    }
    let uppermost = target.look()?;
    if uppermost.device == writable.device {
        set_bound(&volume, target, &before);
        return Ok((Answer::Bound, Vec::new()));
    }
    if uppermost.is_livemount()? {
        return Err(HandError::Occupied);
    }
    let cloned = mounts::clone_files(volumes, number, &writable)?;
    let mut beside = Vec::new();
    if let Some(mount) = cloned.replacement {
        beside.extend(mount.try_clone());
        volume.set_mount(Some(WritableMount::new(mount, writable.made)?));
    }
    let _gate = volumes.gate.read();
    mounts::attach(&cloned.files, &uppermost.directory)?;
    set_bound(&volume, target, &before);
    Ok((Answer::Bound, beside))
}

fn set_bound(volume: &MountedVolume, target: TargetPath, before: &Binding) {
    let created = before.created && before.target.as_ref() == Some(&target);
    *volume.binding.lock() = Binding {
        target: Some(target),
        created,
        bound: true,
    };
}

fn run(
    volume: &MountedVolume,
    number: VolumeNumber,
    commit: CommitNumber,
    first: u32,
    ops: &[HandOp],
) -> Result<Vec<OpResult>, HandError> {
    let writable = volume.checked_mount(number)?;
    let mut results = Vec::with_capacity(ops.len());
    for (number, op) in ops.iter().enumerate() {
        let index = first.saturating_add(u32::try_from(number).unwrap_or(u32::MAX));
        volume.progress.lock().running = Some((commit, index));
        let result = files::run(writable.descriptor.as_fd(), op);
        let mut progress = volume.progress.lock();
        progress.last = Some(Last {
            commit,
            index,
            result,
        });
        progress.running = None;
        results.push(result);
        // What comes next is not armed as long as this has not been brought.
        if matches!(result, OpResult::Failed(_)) {
            break;
        }
    }
    Ok(results)
}

/// Takes a volume away from its target, if it is there. `mounts` are the livemounts of the moment.
fn unbind(volume: &MountedVolume, how: Unbind, mounts: &[MountEntry]) -> Result<(), HandError> {
    let (Some(target), Some(writable)) =
        (volume.binding.lock().target.clone(), volume.held_mount())
    else {
        return Ok(());
    };
    unmount(&target, &writable, how, mounts)?;
    volume.binding.lock().bound = false;
    Ok(())
}

fn unmount(
    target: &TargetPath,
    writable: &WritableMount,
    how: Unbind,
    mounts: &[MountEntry],
) -> Result<(), HandError> {
    let uppermost = match target.look() {
        // The directory is gone, or is another thing by now.
        Err(
            HandError::Os {
                errno: libc::ENOENT,
                ..
            }
            | HandError::NotADirectory,
        ) => return Ok(()),
        uppermost => uppermost?,
    };
    if uppermost.device != writable.device {
        return if target.is_under(mounts, writable.device) {
            Err(HandError::Covered)
        } else {
            Ok(())
        };
    }
    // A mount that was given to us may be of any filesystem, also of one that the daemon wants to
    // see unmounted.
    if !writable.made && !uppermost.is_among(mounts) {
        return Err(HandError::NotFuse);
    }
    match how {
        Unbind::IfIdle => {
            drop(uppermost);
            target.unmount_if_idle()
        }
        Unbind::Detach => uppermost.detach(),
        Unbind::Force => {
            uppermost.abort();
            uppermost.detach()
        }
    }
}

fn forget(
    volumes: &MountedVolumes,
    number: VolumeNumber,
    remove_target: bool,
) -> Result<(), HandError> {
    let Some(volume) = volumes.get(number) else {
        return Ok(());
    };
    let binding = volume.binding.lock().clone();
    let removed = match &binding.target {
        Some(target) if remove_target && binding.created => target.remove(),
        _ => Ok(()),
    };
    // The mount goes, whatever keeps its folder.
    volume.set_mount(None);
    volumes.remove(number);
    removed
}

/// Takes away whatever livemount is at a target, dead or alive, and the directory.
fn clear(target: &TargetPath) -> Result<(), HandError> {
    for _ in 0..LAYERS {
        let uppermost = match target.look() {
            Err(HandError::Os {
                errno: libc::ENOENT,
                ..
            }) => return Ok(()),
            uppermost => uppermost?,
        };
        if !uppermost.is_livemount()? {
            break;
        }
        uppermost.detach()?;
    }
    target.remove()
}

/// The last thing that is done for a volume: away from its target, whoever uses it. `abort` where
/// somebody may be stuck in it.
pub(crate) fn take_away(
    volume: &MountedVolume,
    abort: bool,
    mounts: &[MountEntry],
) -> Result<(), HandError> {
    let how = if abort { Unbind::Force } else { Unbind::Detach };
    let unbound = unbind(volume, how, mounts);
    let binding = volume.binding.lock().clone();
    if let (true, Some(target)) = (binding.created, binding.target) {
        target.remove()?;
    }
    unbound
}
