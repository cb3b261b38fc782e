//! Who is wanted, and what is said of them until the caller hears it.
//!
//! For each object the last state and the last word on its health wait, no more: a caller that is
//! slow hears the newest, and memory does not grow with what it missed. What belongs to a former
//! watch of an object is gone the moment that the next one, or none, is wanted.

use std::collections::{HashMap, VecDeque};

use livemount_engine::object::ObjectKey;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::source::Said;

/// What the caller wants of one object now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    /// Counts the answers that were asked for.
    pub number: u64,
    /// False: it lingers.
    pub wanted: bool,
}

#[derive(Default)]
pub(super) struct Desk {
    papers: Mutex<Papers>,
    bell: Notify,
}

#[derive(Default)]
struct Papers {
    entries: HashMap<ObjectKey, Entry>,
    /// Objects of which something waits, or has waited.
    queue: VecDeque<ObjectKey>,
    closed: bool,
}

struct Entry {
    want: watch::Sender<Want>,
    state: Option<Said>,
    health: Option<Said>,
}

impl Entry {
    fn want(&mut self, change: impl FnOnce(&mut Want)) {
        self.state = None;
        self.health = None;
        self.want.send_modify(change);
    }
}

impl Desk {
    /// The object is wanted, and a fresh answer. Where nobody follows it yet: the orders for who will.
    pub fn want(&self, key: &ObjectKey) -> Option<watch::Receiver<Want>> {
        let mut papers = self.papers.lock();
        if let Some(entry) = papers.entries.get_mut(key) {
            entry.want(|want| {
                want.number += 1;
                want.wanted = true;
            });
            return None;
        }
        let (want, orders) = watch::channel(Want {
            number: 1,
            wanted: true,
        });
        let entry = Entry {
            want,
            state: None,
            health: None,
        };
        papers.entries.insert(key.clone(), entry);
        Some(orders)
    }

    /// Nobody wants it any more.
    pub fn unwant(&self, key: &ObjectKey) {
        if let Some(entry) = self.papers.lock().entries.get_mut(key) {
            entry.want(|want| want.wanted = false);
        }
    }

    /// Drops an object that lingered long enough; false where somebody has wanted it meanwhile.
    pub fn forget(&self, key: &ObjectKey, number: u64) -> bool {
        let mut papers = self.papers.lock();
        let Some(entry) = papers.entries.get(key) else {
            return true;
        };
        let want = *entry.want.borrow();
        let over = !want.wanted && want.number == number;
        if over {
            papers.entries.remove(key);
        }
        over
    }

    /// Leaves what is to be said, as the answer of that number.
    pub fn say(&self, number: u64, key: &ObjectKey, said: Said) {
        let mut papers = self.papers.lock();
        let Some(entry) = papers.entries.get_mut(key) else {
            return;
        };
        let want = *entry.want.borrow();
        if !want.wanted || want.number != number {
            return;
        }
        let first = entry.state.is_none() && entry.health.is_none();
        match said {
            Said::Applied(_) | Said::Deleted(_) => entry.state = Some(said),
            Said::Failing { .. } | Said::Working(_) => entry.health = Some(said),
        }
        if first {
            papers.queue.push_back(key.clone());
            drop(papers);
            self.bell.notify_one();
        }
    }

    /// The next thing to hear; None when the source is gone.
    pub async fn next(&self) -> Option<Said> {
        loop {
            {
                let mut papers = self.papers.lock();
                while let Some(key) = papers.queue.pop_front() {
                    let Some(entry) = papers.entries.get_mut(&key) else {
                        continue;
                    };
                    // A state first: that things work again means that it is the newest.
                    let said = entry.state.take().or_else(|| entry.health.take());
                    if entry.health.is_some() {
                        papers.queue.push_front(key);
                    }
                    if said.is_some() {
                        return said;
                    }
                }
                if papers.closed {
                    return None;
                }
            }
            self.bell.notified().await;
        }
    }

    /// Nobody will want anything any more: whoever follows an object ends.
    pub fn close(&self) {
        let mut papers = self.papers.lock();
        papers.closed = true;
        papers.entries.clear();
        drop(papers);
        self.bell.notify_one();
    }

    pub fn objects(&self) -> usize {
        self.papers.lock().entries.len()
    }
}
