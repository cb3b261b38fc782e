//! The only writer of volumes: mounts them, commits snapshots to them, takes them down.
//!
//! Each volume commits on a thread of its own that exists while there is something to commit, so that
//! no volume ever waits for another's system call. A burst becomes one commit: the newest snapshot
//! wins. The publisher never touches a mount; the hand does, and answers.

mod commit;
mod queue;
mod session;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_hand::{Hand, HandError, Unbind};
use parking_lot::Mutex;
use thiserror::Error;

use crate::observe::Facts;
use crate::report::VolumeReport;
use crate::volume::{Parker, Volume};

pub use crate::volume::{Compat, Pins};
use queue::Queue;
use session::Session;

/// How a volume and its commits behave.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most that a commit waits for fresh readers (promise 4).
    pub drain: Duration,
    /// What a commit does beyond its own events.
    pub compat: Compat,
    /// How many older versions open handles may keep (promise 3).
    pub pins: Pins,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            drain: Duration::from_millis(250),
            compat: Compat::None,
            pins: Pins::DEFAULT,
        }
    }
}

/// What this kernel's FUSE lacks; nothing before the first volume.
pub fn kernel_lacks() -> &'static [&'static str] {
    crate::fs::lacks()
}

/// Why a volume could not be published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The hand could not do its part.
    #[error("{}: {source}", .target.display())]
    Hand {
        /// Where the volume was to be.
        target: PathBuf,
        /// Why not.
        source: HandError,
    },
    /// The kernel and we could not agree on a FUSE connection.
    #[error("the FUSE connection could not be made: {0}")]
    Session(std::io::Error),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Publishes volumes, any number in one process.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    hand: Hand,
    parker: Parker,
    facts: Facts,
    key: HashKey,
    last_id: AtomicU64,
    live: Mutex<BTreeMap<u64, Weak<Live>>>,
}

impl Publisher {
    /// A publisher that works through a hand and tells its facts to a stream. The key hashes inode
    /// numbers.
    pub fn new(hand: Hand, key: HashKey, facts: Facts) -> Result<Self, PublishError> {
        Ok(Self(Arc::new(Inner {
            hand,
            parker: Parker::start().map_err(PublishError::Thread)?,
            facts,
            key,
            last_id: AtomicU64::new(0),
            live: Mutex::default(),
        })))
    }

    /// Mounts a volume that shows `first` at `target`, which must be empty. When this returns, the
    /// target shows it.
    pub fn publish(
        &self,
        name: &str,
        target: &Path,
        first: Arc<Snapshot>,
        settings: Settings,
    ) -> Result<Published, PublishError> {
        self.publish_at(name, target, false, first, settings)
    }

    /// The same at a target that may hold something, which is hidden meanwhile.
    pub fn publish_over(
        &self,
        name: &str,
        target: &Path,
        first: Arc<Snapshot>,
        settings: Settings,
    ) -> Result<Published, PublishError> {
        self.publish_at(name, target, true, first, settings)
    }

    fn publish_at(
        &self,
        name: &str,
        target: &Path,
        over: bool,
        first: Arc<Snapshot>,
        settings: Settings,
    ) -> Result<Published, PublishError> {
        let id = self.0.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let hand = &self.0.hand;
        let failed = |source| PublishError::Hand {
            target: target.to_owned(),
            source,
        };
        hand.prepare(id, target, over).map_err(failed)?;
        match self.mount(id, name, target, first, settings) {
            Ok(published) => Ok(published),
            Err(error) => {
                // What was begun is taken back; the first error is the one to tell.
                let _ = hand.unbind(id, Unbind::Detach);
                let _ = hand.forget(id, true);
                Err(error)
            }
        }
    }

    /// What there is to tell of every volume that is published now.
    pub fn report(&self) -> Vec<VolumeReport> {
        self.live().iter().map(|live| live.report()).collect()
    }

    /// How every volume stands, in numbers.
    pub fn stats(&self) -> Vec<VolumeStats> {
        self.live().iter().map(|live| live.stats()).collect()
    }

    fn live(&self) -> Vec<Arc<Live>> {
        let all = self.0.live.lock();
        all.values().filter_map(Weak::upgrade).collect()
    }

    fn mount(
        &self,
        id: u64,
        name: &str,
        target: &Path,
        first: Arc<Snapshot>,
        settings: Settings,
    ) -> Result<Published, PublishError> {
        let inner = &self.0;
        let volume = Volume::new(name, inner.key, first, settings.pins, SystemTime::now());
        let failed = |source| PublishError::Hand {
            target: target.to_owned(),
            source,
        };
        let device = inner.hand.mount(id).map_err(failed)?;
        let session = Session::start(&volume, device, inner.facts.clone())?;
        inner.hand.bind(id, target).map_err(failed)?;
        let queue = Queue::new(commit::Committer {
            id,
            volume: Arc::clone(&volume),
            hand: inner.hand.clone(),
            parker: inner.parker.clone(),
            notifier: session.notifier(),
            facts: inner.facts.clone(),
            settings,
        });
        let live = Arc::new(Live {
            target: target.to_owned(),
            volume,
            queue,
            condition: Mutex::default(),
        });
        let mut all = inner.live.lock();
        all.retain(|_, live| live.strong_count() > 0);
        all.insert(id, Arc::downgrade(&live));
        Ok(Published {
            id,
            live,
            session,
            hand: inner.hand.clone(),
        })
    }
}

/// How a volume stands, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeStats {
    /// It does not show the newest, as [`Published::set_condition`] said.
    pub has_condition: bool,
    /// For how long it has had a newer snapshot than it shows.
    pub behind: Duration,
    /// Older versions that handles keep.
    pub pinned_versions: u64,
    /// What these hold, in bytes.
    pub pinned_bytes: u64,
}

/// What can be told of a volume.
struct Live {
    target: PathBuf,
    volume: Arc<Volume>,
    queue: Arc<Queue>,
    condition: Mutex<Option<String>>,
}

impl Live {
    fn stats(&self) -> VolumeStats {
        let (pinned_versions, pinned_bytes) = self.volume.pinned();
        VolumeStats {
            has_condition: self.condition.lock().is_some(),
            behind: self.queue.behind(),
            pinned_versions,
            pinned_bytes,
        }
    }

    fn report(&self) -> VolumeReport {
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

/// A published volume.
pub struct Published {
    id: u64,
    live: Arc<Live>,
    session: Session,
    hand: Hand,
}

impl Published {
    /// Where it is mounted.
    pub fn target(&self) -> &Path {
        &self.live.target
    }

    /// What the filesystem reads.
    pub fn volume(&self) -> &Arc<Volume> {
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

    /// Whether the kernel has ended the connection.
    pub fn ended(&self) -> bool {
        self.session.ended()
    }

    /// Takes the mount away. `Unbind::IfIdle` is an error while somebody uses it, and the volume goes
    /// on. A commit under way is finished first, in two seconds at the most; one that waits is dropped.
    pub fn unpublish(&self, how: Unbind) -> Result<(), HandError> {
        const FINISH: Duration = Duration::from_secs(2);
        self.hand.unbind(self.id, how)?;
        self.live.queue.close();
        // Who has a file bound elsewhere still hears of it.
        self.live.queue.rest(FINISH);
        self.session.closing();
        self.hand.forget(self.id, true)
    }
}
