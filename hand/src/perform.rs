//! What each call does, on a worker's thread. It knows nothing of messages, deadlines or other
//! volumes.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::HandError;
use crate::files;
use crate::mountinfo::{self, Mount};
use crate::mounts;
use crate::place::Place;
use crate::protocol::{Answer, Call, HandOp, Last, OpResult, Prepared, Unbind};
use crate::volume::{Placed, Root, Volume, Volumes};

/// How many dead mounts may lie on top of each other at a target.
const LAYERS: usize = 64;

/// An answer and the descriptors that go with it.
pub(crate) type Performed = Result<(Answer, Vec<OwnedFd>), HandError>;

/// Does one call. Ping, Adopt and Last never come here: the main thread answers them.
pub(crate) fn perform(volumes: &Volumes, call: Call) -> Performed {
    let plain = |answer| Ok((answer, Vec::new()));
    match call {
        Call::Prepare {
            volume,
            target,
            over,
        } => {
            let place = Place::find(&volumes.roots, &path(target))?;
            plain(Answer::Prepared(prepare(volumes, volume, &place, over)?))
        }
        Call::Mount { volume } => mount(volumes, volume),
        Call::Bind { volume, target } => {
            bind(volumes, volume, Place::find(&volumes.roots, &path(target))?)
        }
        Call::Refresh { volume, paths } => {
            let root = known(volumes, volume)?.root(volume)?;
            plain(Answer::Refreshed(files::refresh(
                root.mount.as_fd(),
                &paths,
            )))
        }
        Call::Run {
            volume,
            commit,
            first,
            ops,
        } => {
            let entry = known(volumes, volume)?;
            plain(Answer::Ran(run(&entry, volume, commit, first, &ops)?))
        }
        Call::Unbind { volume, how } => {
            if let Some(volume) = volumes.get(volume) {
                unbind(&volume, how, &mountinfo::read()?)?;
            }
            plain(Answer::Done)
        }
        Call::Forget {
            volume,
            remove_target,
        } => forget(volumes, volume, remove_target).and_then(|()| plain(Answer::Done)),
        Call::Clear { target, .. } => {
            clear(&Place::find(&volumes.roots, &path(target))?)?;
            plain(Answer::Done)
        }
        Call::Ping | Call::Adopt { .. } | Call::Last { .. } => Err(HandError::Malformed),
    }
}

/// The path that came as bytes.
pub(crate) fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

fn known(volumes: &Volumes, volume: u64) -> Result<Arc<Volume>, HandError> {
    volumes.get(volume).ok_or(HandError::NoVolume(volume))
}

fn prepare(
    volumes: &Volumes,
    number: u64,
    place: &Place,
    over: bool,
) -> Result<Prepared, HandError> {
    let volume = volumes.enter(number);
    let created = {
        // The directory and the note that it is ours are one thing to whoever ends the hand.
        let _gate = volumes.gate.read();
        let mut placed = volume.placed.lock().clone();
        let same = placed.place.as_ref() == Some(place);
        if placed.bound && !same {
            return Err(HandError::StillBound);
        }
        if let (false, true, Some(former)) = (same, placed.created, &placed.place) {
            former.remove()?;
        }
        let made = place.make(0o755)?;
        placed = Placed {
            place: Some(place.clone()),
            created: made || (same && placed.created),
            bound: placed.bound,
        };
        let created = placed.created;
        *volume.placed.lock() = placed;
        created
    };
    let mut replaced = false;
    for _ in 0..LAYERS {
        let found = place.look()?;
        if !found.is_livemount()? {
            break;
        }
        if !found.is_dead() {
            let own = volume
                .held_root()
                .is_some_and(|root| root.device == found.device);
            return if own {
                Ok(Prepared { created, replaced })
            } else {
                Err(HandError::Occupied)
            };
        }
        found.detach()?;
        replaced = true;
        // It may have been this volume's own, and aborted.
        volume.placed.lock().bound = false;
        tracing::info!(volume = number, "detached a dead livemount from the target");
    }
    if !over && !created && !place.is_empty()? {
        return Err(HandError::NotEmpty);
    }
    Ok(Prepared { created, replaced })
}

fn mount(volumes: &Volumes, volume: u64) -> Performed {
    let entry = volumes.enter(volume);
    if entry.placed.lock().bound {
        return Err(HandError::StillBound);
    }
    let (device, mount) = mounts::make(volumes.selinux_context.as_deref())?;
    let copy = mount.try_clone().map_err(|_| HandError::Os {
        what: "copy the mount's descriptor".into(),
        errno: libc::EMFILE,
    })?;
    entry.set_root(Some(Root::new(mount, true)?));
    // In this order: the kernel closes a dying daemon's descriptors from the lowest, and the
    // connection should end before the mount does.
    Ok((Answer::Mounted, vec![device, copy]))
}

fn bind(volumes: &Volumes, number: u64, place: Place) -> Performed {
    let volume = known(volumes, number)?;
    let root = volume.root(number)?;
    let before = volume.placed.lock().clone();
    if before.bound && before.place.as_ref() != Some(&place) {
        return Err(HandError::StillBound);
    }
    let found = place.look()?;
    if found.device == root.device {
        set_bound(&volume, place, &before);
        return Ok((Answer::Bound, Vec::new()));
    }
    if found.is_livemount()? {
        return Err(HandError::Occupied);
    }
    let cloned = mounts::clone_files(volumes, number, &root)?;
    let mut beside = Vec::new();
    if let Some(mount) = cloned.root {
        beside.extend(mount.try_clone());
        volume.set_root(Some(Root::new(mount, root.made)?));
    }
    let _gate = volumes.gate.read();
    mounts::attach(&cloned.files, &found.directory)?;
    set_bound(&volume, place, &before);
    Ok((Answer::Bound, beside))
}

fn set_bound(volume: &Volume, place: Place, before: &Placed) {
    let created = before.created && before.place.as_ref() == Some(&place);
    *volume.placed.lock() = Placed {
        place: Some(place),
        created,
        bound: true,
    };
}

fn run(
    volume: &Volume,
    number: u64,
    commit: u64,
    first: u32,
    ops: &[HandOp],
) -> Result<Vec<OpResult>, HandError> {
    let root = volume.root(number)?;
    let mut results = Vec::with_capacity(ops.len());
    for (number, op) in ops.iter().enumerate() {
        let index = first.saturating_add(u32::try_from(number).unwrap_or(u32::MAX));
        volume.progress.lock().running = Some((commit, index));
        let result = files::run(root.mount.as_fd(), op);
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
fn unbind(volume: &Volume, how: Unbind, mounts: &[Mount]) -> Result<(), HandError> {
    let (Some(place), Some(root)) = (volume.placed.lock().place.clone(), volume.held_root()) else {
        return Ok(());
    };
    unmount(&place, &root, how, mounts)?;
    volume.placed.lock().bound = false;
    Ok(())
}

fn unmount(place: &Place, root: &Root, how: Unbind, mounts: &[Mount]) -> Result<(), HandError> {
    let found = match place.look() {
        // The directory is gone, or is another thing by now.
        Err(
            HandError::Os {
                errno: libc::ENOENT,
                ..
            }
            | HandError::NotADirectory,
        ) => return Ok(()),
        found => found?,
    };
    if found.device != root.device {
        return if place.is_under(mounts, root.device) {
            Err(HandError::Covered)
        } else {
            Ok(())
        };
    }
    // A mount that was given to us may be of any filesystem, also of one that the daemon wants to
    // see unmounted.
    if !root.made && !found.is_among(mounts) {
        return Err(HandError::NotFuse);
    }
    match how {
        Unbind::IfIdle => {
            drop(found);
            place.unmount_if_idle()
        }
        Unbind::Detach => found.detach(),
        Unbind::Force => {
            found.abort();
            found.detach()
        }
    }
}

fn forget(volumes: &Volumes, number: u64, remove_target: bool) -> Result<(), HandError> {
    let Some(volume) = volumes.get(number) else {
        return Ok(());
    };
    let placed = volume.placed.lock().clone();
    let removed = match &placed.place {
        Some(place) if remove_target && placed.created => place.remove(),
        _ => Ok(()),
    };
    // The mount goes, whatever keeps its folder.
    volume.set_root(None);
    volumes.remove(number);
    removed
}

/// Takes away whatever livemount is at a target, dead or alive, and the directory.
fn clear(place: &Place) -> Result<(), HandError> {
    for _ in 0..LAYERS {
        let found = match place.look() {
            Err(HandError::Os {
                errno: libc::ENOENT,
                ..
            }) => return Ok(()),
            found => found?,
        };
        if !found.is_livemount()? {
            break;
        }
        found.detach()?;
    }
    place.remove()
}

/// The last thing that is done for a volume: away from its target, whoever uses it. `abort` where
/// somebody may be stuck in it.
pub(crate) fn take_away(volume: &Volume, abort: bool, mounts: &[Mount]) -> Result<(), HandError> {
    let how = if abort { Unbind::Force } else { Unbind::Detach };
    let unbound = unbind(volume, how, mounts);
    let placed = volume.placed.lock().clone();
    if let (true, Some(place)) = (placed.created, placed.place) {
        place.remove()?;
    }
    unbound
}
