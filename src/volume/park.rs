//! Drain and park: what keeps a size and the bytes behind it together (promise 4).
//!
//! `fstat` cannot be answered per handle, so a commit first waits, within a bound, for those who
//! opened a file and have not yet read it, and holds back new opens of that file meanwhile. A parked
//! open is a stored reply, never a waiting thread. A timer of its own lets parked opens go when the
//! publisher cannot, so that nobody hangs on a slow commit.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::error::FsError;
use super::handles::Opened;
use super::state::Volume;

/// What answers an open, now or when it is let go.
pub(super) type Opener = Box<dyn FnOnce(Result<Opened, FsError>) + Send>;

/// The opens that one commit holds back.
pub(super) struct Park {
    pub(super) inos: HashSet<u64>,
    pub(super) until: Instant,
    pub(super) waiting: Vec<(u64, Opener)>,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// How long the commit waited.
    pub waited: Duration,
    /// How many handles were still unread at the bound.
    pub unread: usize,
}

#[derive(Default)]
struct Due {
    volumes: Vec<(Instant, Weak<Volume>)>,
}

/// The timer of parked opens: one thread for all volumes of a process, asleep while nothing is
/// parked.
#[derive(Clone)]
pub struct Parker(Arc<(Mutex<Due>, Condvar)>);

impl Parker {
    /// Starts the timer's thread, which lives as long as the process.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new((Mutex::new(Due::default()), Condvar::new()));
        let timer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("parker".into())
            .spawn(move || run(&timer.0, &timer.1))?;
        Ok(Self(shared))
    }

    /// Sees to it that what a volume parks is let go at `until` at the latest.
    pub(super) fn watch(&self, volume: &Arc<Volume>, until: Instant) {
        self.0
            .0
            .lock()
            .volumes
            .push((until, Arc::downgrade(volume)));
        self.0.1.notify_one();
    }
}

fn run(due: &Mutex<Due>, changed: &Condvar) -> ! {
    let mut waiting = due.lock();
    loop {
        let now = Instant::now();
        let ripe: Vec<_> = waiting
            .volumes
            .extract_if(.., |(until, _)| *until <= now)
            .collect();
        if !ripe.is_empty() {
            // Replies are written without the lock.
            drop(waiting);
            for volume in ripe.iter().filter_map(|(_, volume)| volume.upgrade()) {
                volume.unpark_due(now);
            }
            waiting = due.lock();
            continue;
        }
        match waiting.volumes.iter().map(|(until, _)| *until).min() {
            Some(next) => {
                changed.wait_until(&mut waiting, next);
            }
            None => changed.wait(&mut waiting),
        }
    }
}
