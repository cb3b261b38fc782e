//! Publishes volumes, any number in one process: the phases one after the other, each of which takes
//! back what was begun where the next one fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_hand::{Hand, VolumeNumber};
use livemount_volume::State;
use parking_lot::Mutex;

use super::commit::Committer;
use super::error::PublishError;
use super::live::{Live, Registry, VolumeStats};
use super::prepared::Prepared;
use super::published::Published;
use super::queue::Queue;
use super::session::ConnectionEnd;
use super::settings::Settings;
use crate::observe::Facts;
use crate::report::VolumeReport;
use crate::served::{Parker, SharedVolume};

/// Publishes volumes, any number in one process.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    hand: Hand,
    parker: Parker,
    facts: Facts,
    key: HashKey,
    last_id: AtomicU64,
    live: Registry,
}

/// A volume that is to be published.
#[derive(Clone, Debug)]
pub struct NewVolume<'a> {
    /// Its name in logs and reports.
    pub name: &'a str,
    /// Where it shall be.
    pub target: &'a Path,
    /// Whether the target may hold something, which is hidden meanwhile; else it must be empty.
    pub over: bool,
    /// What it shows first.
    pub first: Arc<Snapshot>,
    /// How it behaves.
    pub settings: Settings,
}

impl Publisher {
    /// A publisher that works through a hand and tells its facts to a stream. The key hashes inode
    /// numbers.
    ///
    /// # Errors
    ///
    /// The machine gives no thread.
    pub fn new(hand: Hand, key: HashKey, facts: Facts) -> Result<Self, PublishError> {
        Ok(Self(Arc::new(Inner {
            hand,
            parker: Parker::start().map_err(PublishError::Thread)?,
            facts,
            key,
            last_id: AtomicU64::new(0),
            live: Registry::default(),
        })))
    }

    /// Mounts a volume. When this returns, its target shows it.
    ///
    /// `on_end` is called at most once, on a thread of the volume's own, when its connection ends and
    /// nobody has unpublished or dropped it: somebody aborted it, or took every mount of it away. That
    /// may be before this returns; after an error it is not called any more.
    ///
    /// # Errors
    ///
    /// The first thing that went wrong. What was begun is undone.
    pub fn publish(
        &self,
        new: NewVolume<'_>,
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> Result<Published, PublishError> {
        let inner = &self.0;
        let id = VolumeNumber(inner.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let settings = new.settings;
        let prepared = Prepared::new(id, inner.hand.clone(), new.target, new.over)?;
        let state = State::new(inner.key, new.first, settings.pins, SystemTime::now());
        let volume = SharedVolume::new(new.name, state);
        let serving = prepared
            .connect()?
            .serve(volume, inner.facts.clone(), on_end)?;
        let bound = serving.bind()?;
        let queue = Queue::new(Committer {
            id: bound.id,
            volume: Arc::clone(&bound.volume),
            hand: bound.hand.clone(),
            parker: inner.parker.clone(),
            notifier: bound.session.notifier(),
            facts: inner.facts.clone(),
            settings,
        });
        let live = Arc::new(Live {
            target: bound.target,
            volume: bound.volume,
            queue,
            condition: Mutex::default(),
        });
        inner.live.add(bound.id, &live);
        Ok(Published {
            id: bound.id,
            live,
            session: bound.session,
            hand: bound.hand,
        })
    }

    /// What there is to tell of every volume that is published now.
    pub fn report(&self) -> Vec<VolumeReport> {
        let live = self.0.live.all();
        live.iter().map(|live| live.report()).collect()
    }

    /// The numbers of every volume that is published now.
    pub fn stats(&self) -> Vec<VolumeStats> {
        let live = self.0.live.all();
        live.iter().map(|live| live.stats()).collect()
    }
}
