//! Publishes volumes, any number in one process: the phases one after the other, each of which takes
//! back what was begun where the next one fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_hand::{Hand, HandError, Unbind, VolumeNumber};
use livemount_volume::{Replayed, State};
use parking_lot::Mutex;
use tracing::warn;

use super::commit::Committer;
use super::connected::Keep;
use super::error::PublishError;
use super::going_on::Continued;
use super::keeping::{About, Keeping, Left};
use super::live::{Live, Registry, VolumeStats};
use super::prepared::Prepared;
use super::published::Published;
use super::queue::Queue;
use super::serving::{Bound, Serving};
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
    keeping: Option<Keeping>,
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
    /// What whoever asks needs to go on with it in another process; kept with the volume, where volumes are.
    pub request: Vec<u8>,
}

impl Publisher {
    /// A publisher that works through a hand and tells its facts to a stream. The key hashes inode
    /// numbers. Where there is a keeper its volumes outlive this process.
    ///
    /// # Errors
    ///
    /// The machine gives no thread.
    pub fn new(
        hand: Hand,
        key: HashKey,
        facts: Facts,
        keeping: Option<Keeping>,
    ) -> Result<Self, PublishError> {
        Ok(Self(Arc::new(Inner {
            hand,
            parker: Parker::start().map_err(PublishError::Thread)?,
            facts,
            key,
            last_id: AtomicU64::new(first_number()),
            live: Registry::default(),
            keeping,
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
        let keep = inner.keeping.as_ref().map(|keeping| Keep {
            keeping,
            about: About::new(id, new.name, new.target, &settings, inner.key, new.request),
        });
        let bound = prepared
            .connect()
            .and_then(|connected| {
                connected.serve(Arc::clone(&volume), keep, inner.facts.clone(), on_end)
            })
            .and_then(Serving::bind)
            // Nobody was promised it.
            .inspect_err(|_| volume.keep_no_more())?;
        Ok(inner.published(bound, settings))
    }

    /// Takes up a volume that another process has left: what that one had begun is brought to its end, and
    /// it can be committed to. `on_end` is as for [`Publisher::publish`].
    pub fn take_up(
        &self,
        continued: Continued,
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> Published {
        let inner = &self.0;
        let Continued {
            about,
            volume,
            session,
            mount,
            next,
            end,
        } = continued;
        let id = about.number;
        inner.last_id.fetch_max(id.0, Ordering::Relaxed);
        let (target, created) = (&about.target, about.created);
        if let Err(error) = inner.hand.adopt(id, target, created, about.bound, mount) {
            // The next hand is told as well.
            warn!(
                volume = about.name,
                "the hand cannot take up {}: {error}",
                target.display()
            );
        }
        volume.watch_parked(&inner.parker);
        let bound = Bound {
            id,
            hand: inner.hand.clone(),
            target: about.target,
            session,
            volume,
            keeping: inner.keeping.clone(),
        };
        let published = inner.published(bound, about.settings);
        end.tell(on_end);
        Queue::resume(&published.live.queue);
        // What could not be brought of the one that is current is tried again by this.
        let next = next.unwrap_or_else(|| published.volume().target());
        published.offer(next);
        published
    }

    /// Has the hand know of a volume that another process has left, though nobody serves it yet: what it knows
    /// of nobody's it takes away.
    pub fn hold(&self, left: &Left) {
        let about = &left.about;
        self.0.last_id.fetch_max(about.number.0, Ordering::Relaxed);
        let held = left.mount.try_clone().map_err(|error| error.to_string());
        let (target, created) = (&about.target, about.created);
        let told = held.and_then(|mount| {
            let told = self
                .0
                .hand
                .adopt(about.number, target, created, about.bound, mount);
            told.map_err(|error| error.to_string())
        });
        if let Err(error) = told {
            warn!(
                volume = about.name,
                "the hand cannot hold {}: {error}",
                target.display()
            );
        }
    }

    /// Takes away a volume that another process has left and that nobody serves.
    ///
    /// # Errors
    ///
    /// The hand cannot take it away.
    pub fn take_away(&self, left: Left) -> Result<(), HandError> {
        let (inner, number) = (&self.0, left.about.number);
        inner.hand.unbind(number, Unbind::Detach)?;
        if let Some(keeping) = &inner.keeping {
            keeping.remove(number);
        }
        // Its last descriptors, so that who still waits in it hears of its end.
        drop(left);
        inner.hand.forget(number, true)
    }

    /// Serves a volume anew that another process has left and of which what it was cannot be read: those who
    /// use it see this snapshot from now on, and are told of all of it. `on_end` is as for
    /// [`Publisher::publish`].
    ///
    /// # Errors
    ///
    /// It cannot be served.
    pub fn render_anew(
        &self,
        left: Left,
        first: Arc<Snapshot>,
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> Result<Published, PublishError> {
        let inner = &self.0;
        let number = left.about.number;
        let mut anew = left;
        if let Some(keeping) = &inner.keeping {
            let file = keeping.file(&anew.about)?;
            keeping.store_file(number, file.descriptor())?;
            let (key, pins) = (anew.key(), anew.about.settings.pins);
            let state = State::anew(key, first, pins, SystemTime::now());
            anew.volume = Ok((Replayed::of(state), file));
        }
        Ok(self.take_up(anew.serve(&inner.facts)?, on_end))
    }

    /// Every volume is left to a successor of this process: commits under way are finished, all within that
    /// time, and nothing is committed any more.
    pub fn leave(&self, within: Duration) {
        let until = Instant::now() + within;
        let live = self.0.live.all();
        for live in &live {
            live.queue.close();
        }
        for live in &live {
            live.queue
                .rest(until.saturating_duration_since(Instant::now()));
        }
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

/// Where numbers of volumes begin: above all that any daemon before this one has given, for a hand that
/// outlives them may still know those.
fn first_number() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = since.unwrap_or_default().as_micros();
    u64::try_from(micros).unwrap_or(u64::MAX / 2)
}

impl Inner {
    fn published(&self, bound: Bound, settings: Settings) -> Published {
        let queue = Queue::new(Committer {
            id: bound.id,
            volume: Arc::clone(&bound.volume),
            hand: bound.hand.clone(),
            parker: self.parker.clone(),
            notifier: bound.session.notifier(),
            facts: self.facts.clone(),
            settings,
        });
        let live = Arc::new(Live {
            target: bound.target,
            volume: bound.volume,
            queue,
            condition: Mutex::default(),
        });
        self.live.add(bound.id, &live);
        Published {
            id: bound.id,
            live,
            session: bound.session,
            hand: bound.hand,
            keeping: bound.keeping,
        }
    }
}
