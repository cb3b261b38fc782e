//! What one daemon leaves and the next takes over: it names what it has, volume by volume, and then
//! says that this is all.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::HandProcess;
use super::connection::Connection;
use crate::HandError;
use crate::mounted_volume::Binding;
use crate::perform::{self, path};
use crate::protocol::{Last, VolumeNumber};
use crate::sweep;
use crate::target::TargetPath;
use crate::worker::{Lane, Turn};

/// Only for telling stuck ones from slow ones.
const PATIENCE: Duration = Duration::from_secs(10);

impl HandProcess {
    /// Takes over what a former hand or another daemon held.
    pub(super) fn adopt(
        &self,
        volume: VolumeNumber,
        target: Option<Vec<u8>>,
        (created, bound): (bool, bool),
        last: Option<Last>,
        beside: Vec<OwnedFd>,
    ) -> Result<(), HandError> {
        let found = target
            .map(|target| TargetPath::find(&self.volumes.roots, &path(target)))
            .transpose();
        // A volume whose target is not ours to touch has files all the same.
        let (target, refused) = match found {
            Ok(target) => (target, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let binding = Binding {
            target,
            created,
            bound,
        };
        let mount = beside.into_iter().next();
        self.volumes.adopt(volume, binding, last, mount)?;
        refused
    }

    /// The daemon has named all that it has. Nobody serves the rest, and what is dead beneath the
    /// roots is nobody's.
    pub(super) fn settle(&self, daemon: &Connection) {
        for (number, volume) in self.volumes.list() {
            if daemon.told.contains(&number) {
                continue;
            }
            tracing::warn!(volume = number.0, "no daemon knows this volume any more");
            let until = Instant::now() + PATIENCE;
            // Whoever waits in it waits for nobody. That may be an operation of ours, and what follows
            // waits for its end.
            self.pool.submit(Lane::Abort(number), until, move |turn| {
                if turn == Turn::Go
                    && let Err(error) = perform::abort(&volume, number)
                {
                    tracing::debug!(volume = number.0, %error, "a connection is not aborted");
                }
            });
            let volumes = Arc::clone(&self.volumes);
            let lane = Lane::Target(number);
            self.pool.submit_behind(lane, until, move |turn| {
                // Another daemon's coming is another occasion.
                if turn == Turn::Go
                    && let Err(error) = perform::give_up(&volumes, number)
                {
                    tracing::warn!(volume = number.0, %error, "a target is not as it was");
                }
            });
        }
        sweep::start(&self.volumes, &self.pool);
    }
}
