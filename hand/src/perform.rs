//! What each work does, on a worker's thread. It knows nothing of messages, deadlines or other
//! volumes.

mod abort;
mod targets;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::HandError;
use crate::files;
use crate::mounted_volume::{MountedVolume, MountedVolumes, WritableMount};
use crate::protocol::{Answer, CommitNumber, HandOp, Last, OpResult, VolumeNumber, Work};
use crate::target::TargetPath;
use crate::{mountinfo, mounts};
pub(crate) use abort::abort;
pub use abort::abort_at;
use targets::{bind, clear, forget, prepare, unbind};
pub(crate) use targets::{give_up, refuse, take_away};

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
        // What it waited for is over.
        Work::Idle { volume: _ } => plain(Answer::Done),
        Work::Abort { volume } => {
            abort(&*known(volumes, volume)?, volume)?;
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
