//! What an earlier hand could not take away: where a whole container dies, hand and daemon die
//! together, and dead mounts stay at the targets.
//!
//! A new hand detaches those beneath its roots, in the background and each on a worker of its own,
//! because the only way to tell a dead connection from one whose daemon does not answer is to ask
//! it. One that is alive, or does not answer, is left alone: it is somebody's. Directories stay:
//! nobody knows any more who made them. A hand that outlives daemons looks only once a daemon has
//! named what it has, and not at that: a mount whose daemon is away is not dead.
//!
//! Where dead mounts are to stay (`leave_dead`), they are only made to refuse everything, and that is
//! done sooner, too: one worker asks one after the other, and waits where somebody may come yet.

use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mounted_volume::MountedVolumes;
use crate::mountinfo::{self, MountEntry};
use crate::perform;
use crate::target::TargetPath;
use crate::worker::{Lane, Pool, Turn};

/// Only for telling stuck ones from slow ones.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at every livemount beneath the roots.
pub(crate) fn start(volumes: &Arc<MountedVolumes>, pool: &Pool) {
    for (target, mount) in found(volumes) {
        let (lane, volumes) = (Lane::Sweep(mount.id), Arc::clone(volumes));
        pool.submit(lane, Instant::now() + PATIENCE, move |turn| {
            if turn == Turn::Go {
                sweep(&volumes, &target, &mount);
            }
        });
    }
}

/// Before any daemon has come, to a hand that leaves the dead at their targets.
pub(crate) fn early(volumes: &Arc<MountedVolumes>, pool: &Pool) {
    let found = found(volumes);
    let Some((_, first)) = found.first() else {
        return;
    };
    let (lane, volumes) = (Lane::Sweep(first.id), Arc::clone(volumes));
    pool.submit(lane, Instant::now() + PATIENCE, move |turn| {
        if turn == Turn::Go {
            for (target, mount) in found {
                sweep(&volumes, &target, &mount);
            }
        }
    });
}

/// The livemounts beneath the roots that are nobody's, as far as is known.
fn found(volumes: &MountedVolumes) -> Vec<(TargetPath, MountEntry)> {
    let mounts = mountinfo::read().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot look for dead mounts");
        Vec::new()
    });
    // The kernel writes real paths, and targets are found by the roots' given ones.
    let roots: Vec<_> = volumes
        .roots
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .collect();
    let held = volumes.devices();
    mounts
        .into_iter()
        .filter(|mount| !held.contains(&mount.device))
        .filter_map(|mount| Some((TargetPath::find(&roots, &mount.point).ok()?, mount)))
        .collect()
}

fn sweep(volumes: &MountedVolumes, target: &TargetPath, mount: &MountEntry) {
    // Detaching by what was opened here, so that a live mount that has come to the target meanwhile
    // stays.
    match target.look() {
        Ok(uppermost) if uppermost.is_among(slice::from_ref(mount)) && uppermost.is_dead() => {
            if volumes.leave_dead {
                if let Err(error) = perform::refuse(volumes, target, uppermost) {
                    tracing::warn!(?target, %error, "a dead livemount is as it was");
                }
                return;
            }
            match uppermost.detach() {
                Ok(()) => tracing::info!(?target, "detached a dead livemount"),
                Err(error) => tracing::warn!(?target, %error, "cannot detach a dead livemount"),
            }
        }
        _ => {}
    }
}
