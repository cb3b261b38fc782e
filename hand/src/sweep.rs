//! What an earlier hand could not take away: where a whole container dies, hand and daemon die
//! together, and dead mounts stay at the targets.
//!
//! A new hand detaches those beneath its roots, in the background and each on a worker of its own,
//! because the only way to tell a dead connection from one whose daemon does not answer is to ask
//! it. One that is alive, or does not answer, is left alone: it is somebody's. Directories stay:
//! nobody knows any more who made them. A hand that outlives daemons looks only once a daemon has
//! named what it has, and not at that: a mount whose daemon is away is not dead.

use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mounted_volume::MountedVolumes;
use crate::mountinfo::{self, MountEntry};
use crate::target::TargetPath;
use crate::worker::{Lane, Pool, Turn};

/// Only for telling stuck ones from slow ones.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at every livemount beneath the roots.
pub(crate) fn start(volumes: &Arc<MountedVolumes>, pool: &Pool) {
    let mounts = match mountinfo::read() {
        Ok(mounts) => mounts,
        Err(error) => return tracing::warn!(%error, "cannot look for dead mounts"),
    };
    // The kernel writes real paths, and targets are found by the roots' given ones.
    let roots: Vec<_> = volumes
        .roots
        .iter()
        .filter_map(|root| root.canonicalize().ok())
        .collect();
    let held = volumes.devices();
    for mount in mounts {
        if held.contains(&mount.device) {
            continue;
        }
        let Ok(target) = TargetPath::find(&roots, &mount.point) else {
            continue;
        };
        pool.submit(
            Lane::Sweep(mount.id),
            Instant::now() + PATIENCE,
            move |turn| {
                if turn == Turn::Go {
                    sweep(&target, &mount);
                }
            },
        );
    }
}

fn sweep(target: &TargetPath, mount: &MountEntry) {
    // Detaching by what was opened here, so that a live mount that has come to the target meanwhile
    // stays.
    match target.look() {
        Ok(uppermost) if uppermost.is_among(slice::from_ref(mount)) && uppermost.is_dead() => {
            match uppermost.detach() {
                Ok(()) => tracing::info!(?target, "detached a dead livemount"),
                Err(error) => tracing::warn!(?target, %error, "cannot detach a dead livemount"),
            }
        }
        _ => {}
    }
}
