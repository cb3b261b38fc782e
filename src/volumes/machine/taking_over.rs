//! Volumes that are there already: another process has published them.

use std::sync::Arc;
use std::time::Instant;

use livemount_engine::engine::Event;
use livemount_engine::snapshot::Snapshot;

use super::super::Request;
use super::super::slot::{HostedVolume, Mounted};
use super::{Action, Machine, MountingId};

impl Machine {
    /// Takes up a volume that is mounted and shows this. Says which mounting it is, and what follows. A
    /// volume of the same name must not be known yet.
    pub fn take_over(
        &mut self,
        request: Request,
        shown: Arc<Snapshot>,
        now: Instant,
    ) -> (MountingId, Vec<Action>) {
        let mut actions = Vec::new();
        self.last_mount = MountingId(self.last_mount.0 + 1);
        let mount = self.last_mount;
        let (volume, spec) = (request.volume.clone(), request.spec.clone());
        let mut hosted = HostedVolume::new(request, now, None);
        hosted.mounted = Some(Mounted { mount, lost: false });
        self.slots.entry(volume.clone()).or_default().hosted = Some(hosted);
        let event = Event::TakeOver {
            volume,
            spec,
            shown,
        };
        self.engine(event, now, &mut actions);
        (mount, actions)
    }
}
