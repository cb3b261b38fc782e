//! Latest wins: at most one commit running and one snapshot waiting for each volume.

use std::sync::Arc;
use std::time::{Duration, Instant};

use livemount_engine::snapshot::Snapshot;
use parking_lot::{Condvar, Mutex};

use super::commit::{Committer, Outcome};
use crate::backoff::Backoff;
use crate::observe::Fact;

/// How long a volume's thread waits for more before it ends; a burst finds it awake.
const LINGER: Duration = Duration::from_secs(2);

/// How long until a commit that was not whole is tried again; twice as long each time.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Waiting {
    next: Option<Arc<Snapshot>>,
    /// Since when the volume has not shown the newest snapshot.
    behind: Option<Instant>,
    /// A thread is there and will look at `next`.
    attended: bool,
    /// A commit is under way.
    busy: bool,
    closed: bool,
}

pub(super) struct Queue {
    committer: Committer,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    pub(super) fn new(committer: Committer) -> Arc<Self> {
        Arc::new(Self {
            committer,
            waiting: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(super) fn offer(this: &Arc<Self>, snapshot: Arc<Snapshot>) {
        let mut waiting = this.waiting.lock();
        if waiting.closed {
            return;
        }
        waiting.next = Some(snapshot);
        waiting.behind.get_or_insert_with(Instant::now);
        if waiting.attended {
            this.changed.notify_all();
            return;
        }
        waiting.attended = true;
        drop(waiting);
        let queue = Arc::clone(this);
        let thread = std::thread::Builder::new().name(format!("commit-{}", this.committer.id));
        if let Err(error) = thread.spawn(move || queue.attend()) {
            // The snapshot stays; the next offer tries again.
            this.waiting.lock().attended = false;
            this.committer.facts.tell(Fact::NoThread {
                volume: this.committer.volume.name().into(),
                why: error.to_string(),
            });
        }
    }

    fn attend(&self) {
        let mut waiting = self.waiting.lock();
        let mut retry = Backoff::new(RETRY, RETRY_MOST);
        loop {
            if let Some(next) = waiting.next.take() {
                waiting.busy = true;
                drop(waiting);
                let outcome = self.committer.commit(&next);
                waiting = self.waiting.lock();
                waiting.busy = false;
                self.changed.notify_all();
                if outcome == Outcome::Whole {
                    retry.reset();
                    if waiting.next.is_none() {
                        waiting.behind = None;
                    }
                    continue;
                }
                // What the kernel refused is tried again, unless something newer comes first.
                let again = Instant::now() + retry.next_pause();
                while waiting.next.is_none() && !waiting.closed {
                    if self.changed.wait_until(&mut waiting, again).timed_out() {
                        waiting.next.get_or_insert(next);
                        break;
                    }
                }
            } else if waiting.closed
                || self.changed.wait_for(&mut waiting, LINGER).timed_out() && waiting.next.is_none()
            {
                waiting.attended = false;
                return;
            }
        }
    }

    /// For how long the volume has had a newer snapshot than it shows; zero where it shows the newest.
    pub(super) fn behind(&self) -> Duration {
        let behind = self.waiting.lock().behind;
        behind.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn settle(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut waiting = self.waiting.lock();
        while waiting.busy || waiting.next.is_some() {
            if self.changed.wait_until(&mut waiting, deadline).timed_out() {
                return !waiting.busy && waiting.next.is_none();
            }
        }
        true
    }

    /// Waits until no commit is under way. False at the deadline.
    pub(super) fn rest(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut waiting = self.waiting.lock();
        while waiting.busy {
            if self.changed.wait_until(&mut waiting, deadline).timed_out() {
                return !waiting.busy;
            }
        }
        true
    }

    /// Drops what waits and ends the volume's thread.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.next = None;
        self.changed.notify_all();
    }
}
