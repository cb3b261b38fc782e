//! The order among operations, without threads or a clock: operations of one lane run one after the
//! other, and nothing is begun behind one that is past its time.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

use crate::mountinfo::MountId;
use crate::protocol::VolumeNumber;

/// How many operations may wait in one lane.
const WAITING: usize = 64;

/// What is done one after the other. A volume has two, so that taking it away does not wait for
/// what is stuck in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// A volume's target and its mount.
    Target(VolumeNumber),
    /// A volume's files.
    Files(VolumeNumber),
    /// A dead mount that was found at start.
    Sweep(MountId),
    /// A target that is cleared of whatever is there, whose volume nobody knows.
    Clear(PathBuf),
    /// The end of a volume's connection by force.
    Abort(VolumeNumber),
}

/// Something to do, and when its time is past.
pub(super) struct Task<J> {
    pub(super) until: Instant,
    /// It also waits behind one that is past its time.
    pub(super) patient: bool,
    pub(super) job: J,
}

/// What became of a task that was brought.
pub(super) enum Entered<J> {
    /// It is its lane's first: to be run, and then [`Lanes::following`].
    Begins(Task<J>),
    /// It comes after those before it.
    Waits,
    /// It is not begun: the one at work is past its time, or too many wait.
    Refused(Task<J>),
}

/// The lanes that have something at work.
pub(super) struct Lanes<J>(HashMap<Lane, LaneQueue<J>>);

struct LaneQueue<J> {
    /// When the time of the job at work is past.
    until: Instant,
    waiting: VecDeque<Task<J>>,
}

impl<J> Default for Lanes<J> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<J> Lanes<J> {
    pub(super) fn enter(&mut self, lane: &Lane, task: Task<J>, now: Instant) -> Entered<J> {
        if let Some(queue) = self.0.get_mut(lane) {
            let past = queue.until <= now && !task.patient;
            if past || queue.waiting.len() >= WAITING {
                return Entered::Refused(task);
            }
            queue.waiting.push_back(task);
            return Entered::Waits;
        }
        let queue = LaneQueue {
            until: task.until,
            waiting: VecDeque::new(),
        };
        self.0.insert(lane.clone(), queue);
        Entered::Begins(task)
    }

    /// The lane's job at work has ended: the one behind it, or the lane is free.
    pub(super) fn following(&mut self, lane: &Lane) -> Option<Task<J>> {
        let queue = self.0.get_mut(lane)?;
        if let Some(task) = queue.waiting.pop_front() {
            queue.until = task.until;
            return Some(task);
        }
        self.leave(lane);
        None
    }

    /// The lane's job at work will not be run after all.
    pub(super) fn leave(&mut self, lane: &Lane) {
        self.0.remove(lane);
    }

    /// Takes out those that have waited for too long, and says when the next will have.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<Task<J>>, Option<Instant>) {
        let mut expired = Vec::new();
        let mut next: Option<Instant> = None;
        for queue in self.0.values_mut() {
            let (past, waiting): (Vec<_>, Vec<_>) =
                queue.waiting.drain(..).partition(|task| task.until <= now);
            expired.extend(past);
            queue.waiting = waiting.into();
            next = queue
                .waiting
                .iter()
                .map(|task| task.until)
                .chain(next)
                .min();
        }
        (expired, next)
    }

    /// Jobs at work, and those of them that are past their time.
    pub(super) fn load(&self, now: Instant) -> (usize, usize) {
        let late = self.0.values().filter(|queue| queue.until <= now).count();
        (self.0.len(), late)
    }

    pub(super) fn is_busy(&self, lane: &Lane) -> bool {
        self.0.contains_key(lane)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ONE: Lane = Lane::Files(VolumeNumber(1));

    struct Scene {
        lanes: Lanes<u32>,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                lanes: Lanes::default(),
                start: Instant::now(),
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// What is said of a job that comes at one second and may take until another.
        fn enter(&mut self, lane: &Lane, job: u32, now: u64, until: u64) -> &'static str {
            self.enter_as(lane, job, now, until, false)
        }

        fn enter_as(
            &mut self,
            lane: &Lane,
            job: u32,
            now: u64,
            until: u64,
            patient: bool,
        ) -> &'static str {
            let task = Task {
                until: self.at(until),
                patient,
                job,
            };
            match self.lanes.enter(lane, task, self.at(now)) {
                Entered::Begins(task) if task.job == job => "begins",
                Entered::Refused(task) if task.job == job => "refused",
                Entered::Waits => "waits",
                Entered::Begins(_) | Entered::Refused(_) => "another",
            }
        }

        fn following(&mut self, lane: &Lane) -> Option<u32> {
            self.lanes.following(lane).map(|task| task.job)
        }
    }

    #[test]
    fn a_lane_does_one_after_the_other_and_no_lane_waits_for_another() {
        let mut scene = Scene::new();
        assert_eq!(scene.enter(&ONE, 1, 0, 9), "begins");
        assert_eq!(scene.enter(&ONE, 2, 0, 9), "waits");
        assert_eq!(scene.enter(&ONE, 3, 0, 9), "waits");
        for other in [
            Lane::Target(VolumeNumber(1)),
            Lane::Files(VolumeNumber(2)),
            Lane::Sweep(MountId(1)),
            Lane::Clear("/a".into()),
            Lane::Clear("/b".into()),
        ] {
            assert_eq!(scene.enter(&other, 4, 0, 9), "begins", "{other:?}");
        }
        assert_eq!(scene.following(&ONE), Some(2));
        assert_eq!(scene.following(&ONE), Some(3));
        assert!(scene.lanes.is_busy(&ONE));
        assert_eq!(scene.following(&ONE), None);
        assert!(!scene.lanes.is_busy(&ONE));
        assert_eq!(scene.enter(&ONE, 5, 0, 9), "begins");
    }

    #[test]
    fn one_target_is_cleared_once_at_a_time_however_it_is_spelled() {
        let mut scene = Scene::new();
        assert_eq!(scene.enter(&Lane::Clear("/a/b".into()), 1, 0, 9), "begins");
        assert_eq!(scene.enter(&Lane::Clear("/a//b/".into()), 2, 0, 9), "waits");
    }

    #[test]
    fn behind_one_that_is_past_its_time_all_is_refused_until_it_ends() {
        let mut scene = Scene::new();
        assert_eq!(scene.enter(&ONE, 1, 0, 2), "begins");
        assert_eq!(scene.enter(&ONE, 2, 1, 9), "waits");
        assert_eq!(scene.lanes.load(scene.at(1)), (1, 0));
        assert_eq!(scene.lanes.load(scene.at(2)), (1, 1));
        assert_eq!(scene.enter(&ONE, 3, 2, 9), "refused");
        assert_eq!(scene.following(&ONE), Some(2));
        assert_eq!(scene.lanes.load(scene.at(2)), (1, 0), "of the one at work");
        assert_eq!(scene.enter(&ONE, 4, 2, 9), "waits");
    }

    #[test]
    fn a_patient_one_waits_behind_one_that_is_past_its_time() {
        let mut scene = Scene::new();
        assert_eq!(scene.enter(&ONE, 1, 0, 2), "begins");
        assert_eq!(scene.enter_as(&ONE, 2, 3, 9, true), "waits");
        assert_eq!(scene.enter(&ONE, 3, 3, 9), "refused", "it frees nothing");
        assert_eq!(scene.following(&ONE), Some(2));
    }

    #[test]
    fn what_has_waited_for_too_long_comes_out_unbegun() {
        let mut scene = Scene::new();
        assert_eq!(scene.enter(&ONE, 1, 0, 9), "begins");
        assert_eq!(scene.enter(&ONE, 2, 0, 3), "waits");
        assert_eq!(scene.enter(&ONE, 3, 0, 5), "waits");
        assert_eq!(scene.enter(&ONE, 4, 0, 3), "waits");
        // The next is the next of all lanes, whichever is looked at first.
        for other in 2..20 {
            let other = Lane::Files(VolumeNumber(other));
            assert_eq!(scene.enter(&other, 5, 0, 9), "begins");
            assert_eq!(scene.enter(&other, 6, 0, 7), "waits");
        }
        let now = scene.at(3);
        let (expired, next) = scene.lanes.expire(now);
        let expired: Vec<_> = expired.into_iter().map(|task| task.job).collect();
        assert_eq!((expired, next), (vec![2, 4], Some(scene.at(5))));
        assert_eq!(scene.following(&ONE), Some(3));
    }

    #[test]
    fn only_so_many_wait() {
        let mut scene = Scene::new();
        assert_eq!(scene.enter(&ONE, 0, 0, 9), "begins");
        for job in 1..=64 {
            assert_eq!(scene.enter(&ONE, job, 0, 9), "waits");
        }
        assert_eq!(scene.enter(&ONE, 65, 0, 9), "refused");
        scene.following(&ONE);
        assert_eq!(scene.enter(&ONE, 66, 0, 9), "waits");
    }

    #[test]
    fn a_lane_whose_job_is_never_run_is_free_again() {
        let mut scene = Scene::new();
        assert_eq!(scene.enter(&ONE, 1, 0, 9), "begins");
        scene.lanes.leave(&ONE);
        assert_eq!(scene.enter(&ONE, 2, 0, 9), "begins");
    }
}
