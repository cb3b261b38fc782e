//! What can be told of the volumes that are published now, to whoever asks: reports and numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use livemount_hand::VolumeNumber;
use parking_lot::Mutex;

use super::commit::Committer;
use super::queue::Queue;
use crate::report::VolumeReport;
use crate::served::SharedVolume;

/// A volume's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeStats {
    /// It does not show the newest, as [`set_condition`](super::Published::set_condition) said.
    pub has_condition: bool,
    /// For how long it has had a newer snapshot than it shows.
    pub behind: Duration,
    /// Older versions that handles keep.
    pub pinned_versions: u64,
    /// What these hold, in bytes.
    pub pinned_bytes: u64,
}

/// A volume for as long as somebody has it published.
pub(super) struct Live {
    pub(super) target: PathBuf,
    pub(super) volume: Arc<SharedVolume>,
    pub(super) queue: Arc<Queue<Committer>>,
    pub(super) condition: Mutex<Option<String>>,
}

impl Live {
    pub(super) fn stats(&self) -> VolumeStats {
        let (pinned_versions, pinned_bytes) = self.volume.pinned();
        VolumeStats {
            has_condition: self.condition.lock().is_some(),
            behind: self.queue.behind(),
            pinned_versions,
            pinned_bytes,
        }
    }

    pub(super) fn report(&self) -> VolumeReport {
        let shown = self.volume.shown();
        VolumeReport::new(
            self.volume.name(),
            &self.target,
            &shown,
            &self.volume.served(),
            self.volume.dropped_pins(),
            self.condition.lock().clone(),
        )
    }
}

/// All of them, by their numbers. It keeps none alive.
#[derive(Default)]
pub(super) struct Registry(Mutex<BTreeMap<VolumeNumber, Weak<Live>>>);

impl Registry {
    pub(super) fn add(&self, id: VolumeNumber, live: &Arc<Live>) {
        let mut all = self.0.lock();
        all.retain(|_, live| live.strong_count() > 0);
        all.insert(id, Arc::downgrade(live));
    }

    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        let all = self.0.lock();
        all.values().filter_map(Weak::upgrade).collect()
    }
}
