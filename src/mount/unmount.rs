//! `livemount unmount`: ends a mount that a keeper holds.
//!
//! It takes the mount over as any daemon does, so that whoever serves it ends first, and takes it away.

use std::path::Path;
use std::time::Duration;

use livemount_hand::Unbind;
use tracing::info;

use super::{MountError, target};
use crate::daemon::{self, Daemon, KeptBy};
use crate::volumes::CallError;

/// After how long without a sign of life the hand is given up.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Ends the mount at a mountpoint, or whatever the keeper holds.
///
/// # Errors
///
/// The keeper holds no such mount, or it cannot be taken away.
pub fn unmount(keeper: &Path, mountpoint: Option<&Path>) -> Result<(), MountError> {
    daemon::limits();
    let target = mountpoint.map(target::resolve).transpose()?;
    let keeper = KeptBy::Folder(keeper.to_owned());
    if let (Some(target), Some(served)) = (&target, daemon::served_by_another(&keeper))
        && !served.contains(target)
    {
        return Err(MountError::NotKept(target.clone()));
    }
    let mut daemon = Daemon::start(daemon::Options {
        roots: Vec::new(),
        heartbeat: HEARTBEAT,
        selinux_context: None,
        metrics: None,
        leave_dead: false,
        keeper: Some(keeper),
    })?;
    let mut ended = 0;
    for continued in std::mem::take(&mut daemon.continued) {
        let at = continued.target().to_owned();
        let published = daemon.publisher.take_up(continued, drop);
        if target.as_ref().is_some_and(|target| *target != at) {
            continue;
        }
        published
            .unpublish(Unbind::Detach)
            .map_err(CallError::Hand)?;
        info!("{} is unmounted", at.display());
        ended += 1;
    }
    for left in std::mem::take(&mut daemon.unreadable) {
        let at = left.target().to_owned();
        if target.as_ref().is_some_and(|target| *target != at) {
            continue;
        }
        let taken = daemon.publisher.take_away(left);
        taken.map_err(CallError::Hand)?;
        info!("{} is unmounted", at.display());
        ended += 1;
    }
    if let (0, Some(target)) = (ended, target) {
        return Err(MountError::NotKept(target));
    }
    Ok(())
}
