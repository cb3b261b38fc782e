//! Threads that may be stuck, and the order among them.
//!
//! Every operation of the hand can wait in the kernel for longer than anybody likes: for the
//! daemon, or for a lock that a pod holds. So the main thread does none; each runs on an idle
//! thread, or on a new one if none is idle. There is no limit of threads, for any limit could be
//! used up by blocked ones, and then one volume would delay another. The daemon bounds what it asks
//! for at a time.
//!
//! Operations of one lane run one after the other ([`lanes`]). What is asked for behind one that is
//! past its time is refused at once, and what has waited until its own time is past is refused
//! unbegun: "stuck" always means that nothing was done. (Only what comes at
//! the end of something waits behind what is at work there, however late that is.)

mod lanes;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

pub(crate) use lanes::Lane;
use lanes::{Entered, Lanes};

/// How long an idle thread stays.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes: no operation recurses or keeps large things on its stack.
const STACK: usize = 256 * 1024;

/// What a job is told when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Go,
    /// Do nothing, and say that it was refused. This may be on the main thread.
    Refused,
}

type Job = Box<dyn FnOnce(Turn) + Send>;
type Task = lanes::Task<Job>;

/// All of the threads. Nobody ever joins one.
#[derive(Default)]
pub(crate) struct Pool(Arc<Workers>);

#[derive(Default)]
struct Workers {
    queues: Mutex<Queues>,
    ready: Condvar,
}

#[derive(Default)]
struct Queues {
    lanes: Lanes<Job>,
    /// Begun lanes whose first job no thread has taken yet.
    ready: VecDeque<(Lane, Task)>,
    idle: usize,
    threads: usize,
}

impl Pool {
    /// Runs a job when its lane is free, or refuses it.
    pub(crate) fn submit(
        &self,
        lane: Lane,
        until: Instant,
        job: impl FnOnce(Turn) + Send + 'static,
    ) {
        self.bring(lane, until, false, Box::new(job));
    }

    /// Runs a job when its lane is free, also if what is at work there is past its time.
    pub(crate) fn submit_behind(
        &self,
        lane: Lane,
        until: Instant,
        job: impl FnOnce(Turn) + Send + 'static,
    ) {
        self.bring(lane, until, true, Box::new(job));
    }

    fn bring(&self, lane: Lane, until: Instant, patient: bool, job: Job) {
        let task = Task {
            until,
            patient,
            job,
        };
        if let Some(refused) = self.enqueue(lane, task) {
            (refused.job)(Turn::Refused);
        }
    }

    /// Refuses what has waited for too long. Says when the next will have.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let (expired, next) = self.0.queues.lock().lanes.expire(now);
        for task in expired {
            (task.job)(Turn::Refused);
        }
        next
    }

    /// Operations begun and not ended, and those of them that are past their time.
    pub(crate) fn load(&self, now: Instant) -> (usize, usize) {
        self.0.queues.lock().lanes.load(now)
    }

    /// Whether a job of the lane is at work.
    pub(crate) fn is_busy(&self, lane: &Lane) -> bool {
        self.0.queues.lock().lanes.is_busy(lane)
    }

    /// The task again if it is refused.
    fn enqueue(&self, lane: Lane, task: Task) -> Option<Task> {
        let mut queues = self.0.queues.lock();
        let task = match queues.lanes.enter(&lane, task, Instant::now()) {
            Entered::Begins(task) => task,
            Entered::Waits => return None,
            Entered::Refused(task) => return Some(task),
        };
        queues.ready.push_back((lane, task));
        if queues.ready.len() <= queues.idle {
            self.0.ready.notify_one();
            return None;
        }
        let workers = Arc::clone(&self.0);
        let spawned = std::thread::Builder::new()
            .name("hand-worker".into())
            .stack_size(STACK)
            .spawn(move || workers.work());
        match spawned {
            Ok(_) => queues.threads += 1,
            // No room for a thread: an old one will come to it, or there is none.
            Err(error) if queues.threads > 0 => tracing::warn!(%error, "no new thread"),
            Err(error) => {
                tracing::error!(%error, "no thread at all");
                let (lane, task) = queues.ready.pop_back()?;
                queues.lanes.leave(&lane);
                return Some(task);
            }
        }
        None
    }
}

impl Workers {
    fn work(&self) {
        while let Some((lane, task)) = self.take() {
            self.run(&lane, task);
        }
    }

    fn take(&self) -> Option<(Lane, Task)> {
        let mut queues = self.queues.lock();
        loop {
            if let Some(next) = queues.ready.pop_front() {
                return Some(next);
            }
            queues.idle += 1;
            let late = self.ready.wait_for(&mut queues, LINGER).timed_out();
            queues.idle -= 1;
            if late && queues.ready.is_empty() {
                queues.threads -= 1;
                return None;
            }
        }
    }

    /// A job, and whatever has come to wait behind it.
    fn run(&self, lane: &Lane, first: Task) {
        let mut next = Some(first);
        while let Some(task) = next {
            let turn = if task.until <= Instant::now() {
                Turn::Refused
            } else {
                Turn::Go
            };
            if catch_unwind(AssertUnwindSafe(|| (task.job)(turn))).is_err() {
                tracing::error!(?lane, "an operation panicked");
            }
            next = self.queues.lock().lanes.following(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::protocol::VolumeNumber;

    fn later(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    fn tell(to: &Sender<(u64, Turn)>, what: u64) -> impl FnOnce(Turn) + Send + 'static {
        let to = to.clone();
        move |turn| to.send((what, turn)).expect("the test listens")
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_blocked_volume_delays_no_other() {
        let pool = Pool::default();
        let (to, told) = channel();
        let (release, wait) = channel::<()>();
        pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), move |_| {
            wait.recv().expect("released");
        });
        pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), tell(&to, 1));
        for volume in 2..50 {
            pool.submit(
                Lane::Files(VolumeNumber(volume)),
                later(60_000),
                tell(&to, volume),
            );
        }
        pool.submit(Lane::Target(VolumeNumber(1)), later(60_000), tell(&to, 50));
        let mut done: Vec<_> = (0..49)
            .map(|_| told.recv_timeout(SOON).expect("not delayed"))
            .collect();
        done.sort_by_key(|(volume, _)| *volume);
        assert_eq!(
            done,
            (2..=50)
                .map(|volume| (volume, Turn::Go))
                .collect::<Vec<_>>()
        );
        assert!(told.try_recv().is_err(), "one operation a volume at a time");
        release.send(()).expect("it waits");
        assert_eq!(told.recv_timeout(SOON), Ok((1, Turn::Go)));
    }

    #[test]
    fn behind_a_stuck_one_nothing_is_begun() {
        let pool = Pool::default();
        let (to, told) = channel();
        let (release, wait) = channel::<()>();
        let now = Instant::now();
        let until = now + Duration::from_millis(300);
        pool.submit(Lane::Files(VolumeNumber(1)), until, move |_| {
            wait.recv().expect("released");
        });
        pool.submit(Lane::Files(VolumeNumber(1)), until, tell(&to, 1));
        assert!(pool.expire(now).is_some());
        assert!(told.try_recv().is_err(), "its time is not up");
        assert_eq!(pool.load(until), (1, 1));
        assert_eq!(pool.expire(until), None);
        assert_eq!(told.try_recv(), Ok((1, Turn::Refused)));
        // The pool looks at the clock itself when it takes something.
        while Instant::now() < until {
            std::thread::yield_now();
        }
        pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), tell(&to, 2));
        assert_eq!(told.try_recv(), Ok((2, Turn::Refused)), "refused at once");
        release.send(()).expect("it waits");
        while pool.is_busy(&Lane::Files(VolumeNumber(1))) {
            std::thread::yield_now();
        }
        pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), tell(&to, 3));
        assert_eq!(told.recv_timeout(SOON), Ok((3, Turn::Go)));
    }

    #[test]
    fn who_waits_for_the_end_of_a_stuck_one_hears_of_it() {
        let pool = Pool::default();
        let (to, told) = channel();
        let (release, wait) = channel::<()>();
        let past = Instant::now();
        pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), tell(&to, 0));
        assert_eq!(told.recv_timeout(SOON), Ok((0, Turn::Go)));
        while pool.is_busy(&Lane::Files(VolumeNumber(1))) {
            std::thread::yield_now();
        }
        let (begun, begins) = channel();
        let soon = later(200);
        pool.submit(Lane::Files(VolumeNumber(1)), soon, move |_| {
            begun.send(()).expect("the test listens");
            wait.recv().expect("released");
        });
        begins.recv_timeout(SOON).expect("begins");
        while Instant::now() < soon {
            std::thread::yield_now();
        }
        pool.submit_behind(Lane::Files(VolumeNumber(1)), past, tell(&to, 1));
        pool.expire(Instant::now());
        assert_eq!(
            told.try_recv(),
            Ok((1, Turn::Refused)),
            "until its time is up"
        );
        pool.submit_behind(Lane::Files(VolumeNumber(1)), later(60_000), tell(&to, 2));
        assert!(told.try_recv().is_err(), "it waits");
        release.send(()).expect("it waits");
        assert_eq!(told.recv_timeout(SOON), Ok((2, Turn::Go)));
    }

    #[test]
    fn order_within_a_lane_and_threads_used_again() {
        let pool = Pool::default();
        let (to, told) = channel();
        for what in 0..50 {
            pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), tell(&to, what));
        }
        let done: Vec<_> = (0..50)
            .map(|_| told.recv_timeout(SOON).expect("runs").0)
            .collect();
        assert_eq!(done, (0..50).collect::<Vec<_>>());
        assert!(pool.0.queues.lock().threads <= 50);
        let before = pool.0.queues.lock().threads;
        while pool.0.queues.lock().idle == 0 {
            std::thread::yield_now();
        }
        pool.submit(Lane::Files(VolumeNumber(2)), later(60_000), tell(&to, 0));
        told.recv_timeout(SOON).expect("runs");
        assert_eq!(pool.0.queues.lock().threads, before);
    }

    #[test]
    fn a_panic_frees_the_lane() {
        let pool = Pool::default();
        let (to, told) = channel();
        pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), |_| {
            panic!("of the test")
        });
        pool.submit(Lane::Files(VolumeNumber(1)), later(60_000), tell(&to, 1));
        assert_eq!(told.recv_timeout(SOON), Ok((1, Turn::Go)));
    }
}
