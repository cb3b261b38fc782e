//! What the concurrent files ask of the machine: a lock, a condition, a clock, a thread. Nothing else,
//! so that `under_shuttle` can put others in their place.

use std::io;
use std::time::{Duration, SystemTime};

use livemount_volume::{Monotonic, Now};
pub(crate) use parking_lot::{Mutex, MutexGuard};
use rustix::time::{ClockId, clock_gettime};

/// What threads wait for under a [`Mutex`].
#[derive(Default)]
pub(crate) struct Condvar(parking_lot::Condvar);

impl Condvar {
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        self.0.wait(guard);
    }

    /// Tells whether the time was up.
    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Monotonic) -> bool {
        let left = until.since(monotonic());
        self.0.wait_for(guard, left).timed_out()
    }
}

/// The machine's clock that never goes back, the same for all processes.
pub(crate) fn monotonic() -> Monotonic {
    let now = clock_gettime(ClockId::Monotonic);
    // Since the machine started: never negative.
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or_default();
    Monotonic(Duration::new(seconds, nanoseconds))
}

/// Both clocks.
pub(crate) fn now() -> Now {
    Now {
        monotonic: monotonic(),
        wall: SystemTime::now(),
    }
}

/// Starts a thread that nobody waits for.
pub(crate) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(work).map(drop)
}
