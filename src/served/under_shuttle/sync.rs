//! `sync` under shuttle: its locks and threads, and a clock that stands still until the test moves it.
//! So a wait that only its time would end is a deadlock, and no lost wake-up hides behind a timeout.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount_volume::{Monotonic, Now};

/// A lock whose guard can be lent to a condition, as parking_lot's.
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

pub(crate) struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self(shuttle::sync::Mutex::new(inner))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect("no test goes on after a panic")))
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is lent only within a wait")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is lent only within a wait")
    }
}

/// Told by others, and by the clock when it passes a time that is waited for.
#[derive(Default)]
pub(crate) struct Condvar(Arc<shuttle::sync::Condvar>);

impl Condvar {
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let lent = guard.0.take().expect("it is lent only within a wait");
        guard.0 = Some(self.0.wait(lent).expect("no test goes on after a panic"));
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, until: Monotonic) -> bool {
        if monotonic() < until {
            let sleeper = Clock::with(|clock| clock.sleep(until, Arc::clone(&self.0)));
            self.wait(guard);
            Clock::with(|clock| clock.sleepers.retain(|(number, ..)| *number != sleeper));
        }
        monotonic() >= until
    }
}

/// The clock of one execution. Shuttle's threads share one of the machine's, and this is no point at
/// which they change places.
#[derive(Default)]
struct Clock {
    now: Duration,
    last: u64,
    sleepers: Vec<(u64, Monotonic, Arc<shuttle::sync::Condvar>)>,
}

thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::default();
}

impl Clock {
    fn with<R>(ask: impl FnOnce(&mut Self) -> R) -> R {
        CLOCK.with_borrow_mut(ask)
    }

    fn sleep(&mut self, until: Monotonic, told: Arc<shuttle::sync::Condvar>) -> u64 {
        self.last += 1;
        self.sleepers.push((self.last, until, told));
        self.last
    }

    fn due(&self) -> Vec<Arc<shuttle::sync::Condvar>> {
        let due = |(_, until, told): &(_, Monotonic, Arc<_>)| {
            (*until <= Monotonic(self.now)).then(|| Arc::clone(told))
        };
        self.sleepers.iter().filter_map(due).collect()
    }
}

/// Sets the clock back, at the start of an execution.
pub(crate) fn reset() {
    Clock::with(|clock| *clock = Clock::default());
}

/// Lets time pass, and wakes whoever has waited for it.
pub(crate) fn pass(time: Duration) {
    Clock::with(|clock| clock.now += time);
    loop {
        // One may be about to wait and not be heard of by a condition yet: it is told until it wakes.
        let due = Clock::with(|clock| clock.due());
        if due.is_empty() {
            return;
        }
        for told in due {
            told.notify_all();
        }
        shuttle::thread::yield_now();
    }
}

pub(crate) fn monotonic() -> Monotonic {
    Monotonic(Clock::with(|clock| clock.now))
}

pub(crate) fn now() -> Now {
    let monotonic = monotonic();
    Now {
        monotonic,
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + monotonic.0,
    }
}

#[allow(clippy::unnecessary_wraps)] // The machine's may fail.
pub(crate) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    shuttle::thread::Builder::new()
        .name(name)
        .spawn(work)
        .map(drop)
}
