//! The timer of parked opens: lets them go when the publisher cannot, so that nobody hangs on a slow
//! commit. It keeps no volume alive.

use std::io;
use std::sync::{Arc, Weak};

use livemount_volume::Monotonic;

use super::shared::SharedVolume;
use super::sync::{self, Condvar, Mutex};

#[derive(Default)]
struct Due {
    volumes: Vec<(Monotonic, Weak<SharedVolume>)>,
    /// Nobody is left who could ask for more.
    closed: bool,
}

#[derive(Default)]
struct Timer {
    due: Mutex<Due>,
    changed: Condvar,
}

/// One thread for all volumes of a process, asleep while nothing is parked. It ends when the last
/// clone is gone and nothing is parked any more.
#[derive(Clone)]
pub struct Parker(Arc<Owner>);

struct Owner(Arc<Timer>);

impl Parker {
    /// Starts the timer's thread.
    ///
    /// # Errors
    ///
    /// The machine gives no thread.
    pub fn start() -> io::Result<Self> {
        let timer = Arc::new(Timer::default());
        let running = Arc::clone(&timer);
        sync::spawn("parker".into(), move || running.run())?;
        Ok(Self(Arc::new(Owner(timer))))
    }

    /// Sees to it that what a volume parks is let go at `until` at the latest.
    pub(super) fn watch(&self, volume: &Arc<SharedVolume>, until: Monotonic) {
        let Owner(timer) = &*self.0;
        let watched = (until, Arc::downgrade(volume));
        timer.due.lock().volumes.push(watched);
        timer.changed.notify_one();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.due.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl Timer {
    fn run(&self) {
        let mut due = self.due.lock();
        loop {
            let now = sync::monotonic();
            let ripe: Vec<_> = due
                .volumes
                .extract_if(.., |(until, _)| *until <= now)
                .collect();
            if !ripe.is_empty() {
                // Replies are written without the lock.
                drop(due);
                for volume in ripe.iter().filter_map(|(_, volume)| volume.upgrade()) {
                    volume.unpark_due();
                }
                due = self.due.lock();
                continue;
            }
            match due.volumes.iter().map(|(until, _)| *until).min() {
                Some(next) => {
                    self.changed.wait_until(&mut due, next);
                }
                None if due.closed => return,
                None => self.changed.wait(&mut due),
            }
        }
    }
}
