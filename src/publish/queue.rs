//! Latest wins: at most one commit running and one snapshot waiting for each volume.
//!
//! Knows nothing of what a commit is. Written against `sync`, so that its tests run it under shuttle.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::snapshot::Snapshot;
use livemount_volume::Monotonic;

use super::sync::{self, Condvar, Mutex, MutexGuard};
use crate::backoff::Backoff;

/// How long a volume's thread waits for more before it ends; a burst finds it awake.
const LINGER: Duration = Duration::from_secs(2);

/// How long until a commit that was not whole is tried again; twice as long each time.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it was brought, or nobody is left to bring it to.
    Whole,
    /// Some of it has to be tried again.
    Partly,
}

/// What is done with the snapshots, one at a time.
pub(super) trait Commit: Send + Sync + 'static {
    /// Commits one.
    fn commit(&self, next: &Arc<Snapshot>) -> Outcome;

    /// What the thread is called that does it.
    fn thread_name(&self) -> String;

    /// Goes on with a commit that another process has begun.
    fn resume(&self) -> Outcome {
        Outcome::Whole
    }

    /// Nothing has been committed for a while.
    fn rest(&self) {}

    /// The machine gave no such thread. The snapshot stays; the next offer tries again.
    fn no_thread(&self, error: &io::Error);
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
struct Waiting {
    next: Option<Arc<Snapshot>>,
    /// Since when the volume has not shown the newest snapshot.
    behind: Option<Monotonic>,
    /// A commit that another process has begun comes first.
    resume: bool,
    /// A thread is there and will look at `next`.
    attended: bool,
    /// A commit is under way.
    busy: bool,
    closed: bool,
}

pub(super) struct Queue<C> {
    pub(super) committer: C,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl<C: Commit> Queue<C> {
    pub(super) fn new(committer: C) -> Arc<Self> {
        Arc::new(Self {
            committer,
            waiting: Mutex::default(),
            changed: Condvar::default(),
        })
    }

    pub(super) fn offer(this: &Arc<Self>, snapshot: Arc<Snapshot>) {
        let mut waiting = this.waiting.lock();
        if waiting.closed {
            return;
        }
        waiting.next = Some(snapshot);
        waiting.behind.get_or_insert_with(sync::monotonic);
        Self::wake(this, waiting);
    }

    /// Goes on with what another process has begun, before anything else.
    pub(super) fn resume(this: &Arc<Self>) {
        let mut waiting = this.waiting.lock();
        waiting.resume = true;
        Self::wake(this, waiting);
    }

    fn wake(this: &Arc<Self>, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.attended {
            this.changed.notify_all();
            return;
        }
        waiting.attended = true;
        drop(waiting);
        let queue = Arc::clone(this);
        let name = this.committer.thread_name();
        if let Err(error) = sync::spawn(name, move || queue.attend()) {
            this.waiting.lock().attended = false;
            this.committer.no_thread(&error);
        }
    }

    fn attend(&self) {
        let mut waiting = self.waiting.lock();
        let mut retry = Backoff::new(RETRY, RETRY_MOST);
        let mut rested = false;
        loop {
            if waiting.resume {
                waiting.busy = true;
                drop(waiting);
                let _nothing_is_tried_again = self.committer.resume();
                waiting = self.waiting.lock();
                (waiting.busy, waiting.resume) = (false, false);
                self.changed.notify_all();
            } else if let Some(next) = waiting.next.take() {
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
                let again = sync::monotonic() + retry.next_pause();
                while waiting.next.is_none() && !waiting.closed {
                    if self.changed.wait_until(&mut waiting, again) {
                        waiting.next.get_or_insert(next);
                        break;
                    }
                }
            } else if waiting.closed || {
                let until = sync::monotonic() + LINGER;
                self.changed.wait_until(&mut waiting, until) && waiting.next.is_none()
            } {
                if !waiting.closed && !std::mem::replace(&mut rested, true) {
                    drop(waiting);
                    self.committer.rest();
                    waiting = self.waiting.lock();
                    continue;
                }
                waiting.attended = false;
                return;
            } else {
                rested = false;
            }
        }
    }

    /// For how long the volume has had a newer snapshot than it shows; zero where it shows the newest.
    pub(super) fn behind(&self) -> Duration {
        let behind = self.waiting.lock().behind;
        behind.map_or(Duration::ZERO, |since| sync::monotonic().since(since))
    }

    pub(super) fn settle(&self, within: Duration) -> bool {
        let deadline = sync::monotonic() + within;
        let mut waiting = self.waiting.lock();
        while waiting.busy || waiting.resume || waiting.next.is_some() {
            if self.changed.wait_until(&mut waiting, deadline) {
                return !waiting.busy && !waiting.resume && waiting.next.is_none();
            }
        }
        true
    }

    /// Waits until no commit is under way. False at the deadline.
    pub(super) fn rest(&self, within: Duration) -> bool {
        let deadline = sync::monotonic() + within;
        let mut waiting = self.waiting.lock();
        while waiting.busy {
            if self.changed.wait_until(&mut waiting, deadline) {
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
