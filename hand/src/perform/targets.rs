//! What is done at targets: making one ready, binding a volume there, and taking it away again.

use super::{Performed, known};
use crate::HandError;
use crate::mounted_volume::{Binding, MountedVolume, MountedVolumes, WritableMount};
use crate::mountinfo::{self, MountEntry};
use crate::mounts;
use crate::protocol::{Answer, Prepared, Unbind, VolumeNumber};
use crate::target::{TargetMount, TargetPath};

/// How many dead mounts may lie on top of each other at a target.
const LAYERS: usize = 64;

pub(super) fn prepare(
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
        replaced = true;
        // It may have been this volume's own, and aborted.
        volume.binding.lock().bound = false;
        if volumes.leave_dead {
            // Until there is something to put in its place.
            return Ok(Prepared { created, replaced });
        }
        uppermost.detach()?;
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

pub(super) fn bind(
    volumes: &MountedVolumes,
    number: VolumeNumber,
    target: TargetPath,
) -> Performed {
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
    let in_the_way = uppermost.is_livemount()?;
    if in_the_way && !(volumes.leave_dead && uppermost.is_dead()) {
        return Err(HandError::Occupied);
    }
    let cloned = mounts::clone_files(volumes, number, &writable)?;
    let mut beside = Vec::new();
    if let Some(mount) = cloned.replacement {
        beside.extend(mount.try_clone());
        volume.set_mount(Some(WritableMount::new(mount, writable.made)?));
    }
    let place = if in_the_way {
        bare(&target, uppermost)?
    } else {
        uppermost
    };
    let _gate = volumes.gate.read();
    mounts::attach(&cloned.files, &place.directory)?;
    set_bound(&volume, target, &before);
    Ok((Answer::Bound, beside))
}

/// Puts in the place of a dead mount one that no container can be started with.
pub(crate) fn refuse(
    volumes: &MountedVolumes,
    target: &TargetPath,
    dead: TargetMount,
) -> Result<(), HandError> {
    if dead.refuses() {
        return Ok(());
    }
    let refusing = mounts::make_refusing(volumes.selinux_context.as_deref())?;
    let place = bare(target, dead)?;
    let _gate = volumes.gate.read();
    mounts::attach(&refusing, &place.directory)
}

/// Takes away the dead mounts at a target, this one first, and says what is there then.
fn bare(target: &TargetPath, dead: TargetMount) -> Result<TargetMount, HandError> {
    let mut uppermost = dead;
    for _ in 0..LAYERS {
        uppermost.detach()?;
        uppermost = target.look()?;
        if !uppermost.is_livemount()? {
            return Ok(uppermost);
        }
        if !uppermost.is_dead() {
            break;
        }
    }
    Err(HandError::Occupied)
}

fn set_bound(volume: &MountedVolume, target: TargetPath, before: &Binding) {
    let created = before.created && before.target.as_ref() == Some(&target);
    *volume.binding.lock() = Binding {
        target: Some(target),
        created,
        bound: true,
    };
}

/// Takes a volume away from its target, if it is there. `mounts` are the livemounts of the moment.
pub(super) fn unbind(
    volume: &MountedVolume,
    how: Unbind,
    mounts: &[MountEntry],
) -> Result<(), HandError> {
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

pub(super) fn forget(
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
pub(super) fn clear(target: &TargetPath) -> Result<(), HandError> {
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

/// Takes away a volume that no daemon knows any more, and forgets it. Its connection has been aborted;
/// where dead mounts are to stay at their targets, one stays at this.
pub(crate) fn give_up(volumes: &MountedVolumes, number: VolumeNumber) -> Result<(), HandError> {
    let Some(volume) = volumes.get(number) else {
        return Ok(());
    };
    let binding = volume.binding.lock().clone();
    let taken = match (volumes.leave_dead && binding.bound, binding.target) {
        (true, Some(target)) => leave_at(volumes, &volume, &target),
        _ => mountinfo::read().and_then(|mounts| take_away(&volume, true, &mounts)),
    };
    volume.set_mount(None);
    volumes.remove(number);
    taken
}

fn leave_at(
    volumes: &MountedVolumes,
    volume: &MountedVolume,
    target: &TargetPath,
) -> Result<(), HandError> {
    let uppermost = target.look()?;
    let own = volume
        .held_mount()
        .is_some_and(|writable| writable.device == uppermost.device);
    if own {
        refuse(volumes, target, uppermost)?;
    }
    Ok(())
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
