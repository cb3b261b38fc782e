//! A published volume, for whoever asked for it: gives it snapshots, asks how it is, takes it away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::snapshot::Snapshot;
use livemount_hand::{Hand, HandError, Unbind, VolumeNumber};

use super::keeping::Keeping;
use super::live::Live;
use super::queue::Queue;
use super::session::Session;
use crate::served::SharedVolume;

/// A published volume. Dropped, it stays mounted and is served; only its end is no news any more.
pub struct Published {
    pub(super) id: VolumeNumber,
    pub(super) live: Arc<Live>,
    pub(super) session: Session,
    pub(super) hand: Hand,
    pub(super) keeping: Option<Keeping>,
}

impl Published {
    /// Where it is mounted.
    pub fn target(&self) -> &Path {
        &self.live.target
    }

    /// What the filesystem reads.
    pub fn volume(&self) -> &Arc<SharedVolume> {
        &self.live.volume
    }

    /// Notes for `livemount status` why the volume does not show the newest, or that it does again.
    pub fn set_condition(&self, condition: Option<String>) {
        *self.live.condition.lock() = condition;
    }

    /// Gives a snapshot to be committed. Returns at once; a snapshot that was still waiting is
    /// replaced.
    pub fn offer(&self, snapshot: Arc<Snapshot>) {
        Queue::offer(&self.live.queue, snapshot);
    }

    /// Waits until every snapshot offered so far is committed. False at the deadline.
    pub fn settle(&self, within: Duration) -> bool {
        self.live.queue.settle(within)
    }

    /// Sees to it that the target shows the volume, whoever took it away there, or left something dead.
    ///
    /// # Errors
    ///
    /// The hand cannot bind it there.
    pub fn rebind(&self, over: bool) -> Result<(), HandError> {
        let target = self.target();
        self.hand.prepare(self.id, target, over)?;
        let replaced = self.hand.bind(self.id, target)?;
        if let (Some(mount), Some(keeping)) = (replaced, &self.keeping) {
            keeping.store_mount(self.id, &*mount);
        }
        Ok(())
    }

    /// Whether the kernel has ended the connection.
    pub fn ended(&self) -> bool {
        self.session.ended()
    }

    /// Takes the mount away. A commit under way is finished first, in two seconds at the most; one that
    /// waits is dropped.
    ///
    /// # Errors
    ///
    /// Somebody uses it and `Unbind::IfIdle` minds that, or the hand cannot take it away. The volume goes
    /// on then.
    pub fn unpublish(&self, how: Unbind) -> Result<(), HandError> {
        const FINISH: Duration = Duration::from_secs(2);
        self.hand.unbind(self.id, how)?;
        self.live.queue.close();
        // Who has a file bound elsewhere still hears of it.
        self.live.queue.rest(FINISH);
        self.session.closing();
        if let Some(keeping) = &self.keeping {
            // Before the hand's, so that the mount's last descriptor is the hand's.
            keeping.remove(self.id);
            self.live.volume.keep_no_more();
        }
        self.hand.forget(self.id, true)
    }
}
