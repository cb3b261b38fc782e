//! How much is told of a pod: pure, with the time given.
//!
//! The API server keeps an Event for an hour and lists all of a namespace's at once, so a pod that is
//! told of every second is a burden for everybody. The numbers for a pod are client-go's
//! (`defaultSpamBurst`, `defaultSpamQPS`, `tools/record/events_cache.go`).

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::pod_event::PodEvent;

/// How many Events of one pod may come at once, and how long until one more may.
const POD: (u32, Duration) = (25, Duration::from_secs(300));
/// The same for all pods together. Whoever is above it waits.
const ALL: (u32, Duration) = (50, Duration::from_millis(200));
/// How long the same sentence is not told again of a volume of which nothing else was told.
const REPEAT: Duration = Duration::from_secs(60);
/// How many pods are remembered; more than a kubelet runs.
const PODS: usize = 1024;
/// How many volumes of one pod.
const VOLUMES: usize = 256;

/// A token bucket, kept as the time at which it is full again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    each: Duration,
    whole: Duration,
    full: Instant,
}

impl Bucket {
    /// The one that all pods share, full.
    pub(super) fn of_all(now: Instant) -> Self {
        Self::full(ALL, now)
    }

    fn full((most, each): (u32, Duration), now: Instant) -> Self {
        Self {
            each,
            whole: each * most,
            full: now,
        }
    }

    /// Takes a token, or tells after how long there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full = self.full.max(now) + self.each;
        match (full - now).checked_sub(self.whole) {
            None | Some(Duration::ZERO) => {
                self.full = full;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[derive(Debug)]
struct Pod {
    bucket: Bucket,
    /// What was told last of each volume, and when.
    last: BTreeMap<String, (PodEvent, Instant)>,
    seen: Instant,
}

/// What is to become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    Write,
    Repeated,
    Limited,
}

/// What was told of which pod, by uid.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pods: HashMap<String, Pod>,
}

impl Limits {
    /// Decides on an event of a pod, and remembers it where it is to be written.
    pub(super) fn admit(&mut self, uid: &str, event: &PodEvent, now: Instant) -> Admitted {
        if !self.pods.contains_key(uid) {
            self.make_room();
        }
        let pod = self.pods.entry(uid.to_owned()).or_insert_with(|| Pod {
            bucket: Bucket::full(POD, now),
            last: BTreeMap::new(),
            seen: now,
        });
        pod.seen = now;
        // Something else in between makes it news again: missing, found, missing.
        if let Some((last, at)) = pod.last.get(event.volume())
            && last == event
            && now.saturating_duration_since(*at) < REPEAT
        {
            return Admitted::Repeated;
        }
        if pod.bucket.take(now).is_err() {
            return Admitted::Limited;
        }
        if pod.last.len() >= VOLUMES {
            pod.last.clear();
        }
        pod.last
            .insert(event.volume().to_owned(), (event.clone(), now));
        Admitted::Write
    }

    /// Forgets a pod.
    pub(super) fn forget(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// Forgets whoever was told of least recently, where there is no room for another.
    fn make_room(&mut self) {
        if self.pods.len() < PODS {
            return;
        }
        let oldest = self.pods.iter().min_by_key(|(_, pod)| pod.seen);
        if let Some(uid) = oldest.map(|(uid, _)| uid.clone()) {
            self.pods.remove(&uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(volume: &str, why: u32) -> PodEvent {
        PodEvent::Refused {
            volume: volume.into(),
            why: why.to_string(),
        }
    }

    #[test]
    fn a_pod_is_told_of_so_often_at_once_and_once_more_after_each_pause() {
        let start = Instant::now();
        let mut limits = Limits::default();
        let mut admit = |pod, why, now| limits.admit(pod, &refused("v", why), now);
        for why in 0..25 {
            assert_eq!(admit("a", why, start), Admitted::Write, "{why}");
        }
        assert_eq!(admit("a", 25, start), Admitted::Limited);
        // Another pod has its own.
        assert_eq!(admit("b", 25, start), Admitted::Write);
        let pause = Duration::from_secs(300);
        let nearly = pause.checked_sub(Duration::from_millis(1)).expect("longer");
        assert_eq!(admit("a", 25, start + nearly), Admitted::Limited);
        assert_eq!(admit("a", 25, start + pause), Admitted::Write);
        assert_eq!(admit("a", 26, start + pause), Admitted::Limited);
        // A day fills it up to the brim and no further.
        let day = start + Duration::from_secs(86_400);
        let written = (0..100).filter(|why| admit("a", 100 + why, day) == Admitted::Write);
        assert_eq!(written.count(), 25);
    }

    #[test]
    fn the_same_is_told_again_after_a_while_or_when_something_else_was_told() {
        let start = Instant::now();
        let mut limits = Limits::default();
        let mut admit = |event: &PodEvent, now| limits.admit("a", event, now);
        let recovered = PodEvent::Recovered { volume: "v".into() };
        let second = Duration::from_secs(1);
        assert_eq!(admit(&refused("v", 1), start), Admitted::Write);
        assert_eq!(admit(&refused("v", 1), start + second), Admitted::Repeated);
        assert_eq!(admit(&refused("w", 1), start + second), Admitted::Write);
        assert_eq!(admit(&recovered, start + second), Admitted::Write);
        assert_eq!(admit(&refused("v", 1), start + 2 * second), Admitted::Write);
        assert_eq!(
            admit(&refused("v", 1), start + 61 * second),
            Admitted::Repeated
        );
        assert_eq!(
            admit(&refused("v", 1), start + 62 * second),
            Admitted::Write
        );
    }

    #[test]
    fn repetitions_cost_nothing_of_the_limit() {
        let start = Instant::now();
        let mut limits = Limits::default();
        assert_eq!(limits.admit("a", &refused("v", 1), start), Admitted::Write);
        for _ in 0..1000 {
            let repeated = limits.admit("a", &refused("v", 1), start);
            assert_eq!(repeated, Admitted::Repeated);
        }
        let recovered = PodEvent::Recovered { volume: "v".into() };
        assert_eq!(limits.admit("a", &recovered, start), Admitted::Write);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let start = Instant::now();
        let mut limits = Limits::default();
        let pods = u32::try_from(PODS).expect("few");
        for pod in 0..pods {
            let now = start + Duration::from_millis(pod.into());
            limits.admit(&pod.to_string(), &refused("v", 1), now);
        }
        // The first was told of again, so the second is the oldest.
        let late = start + Duration::from_secs(2);
        assert_eq!(
            limits.admit("0", &refused("v", 1), late),
            Admitted::Repeated
        );
        limits.admit("one more", &refused("v", 1), late);
        assert_eq!(limits.pods.len(), PODS);
        assert!(limits.pods.contains_key("0") && !limits.pods.contains_key("1"));
        limits.forget("0");
        assert_eq!(limits.admit("0", &refused("v", 1), late), Admitted::Write);
        for volume in 0..10 * VOLUMES {
            let day = late + Duration::from_secs(86_400) * u32::try_from(volume).expect("few");
            limits.admit("0", &refused(&volume.to_string(), 1), day);
        }
        assert!(limits.pods["0"].last.len() <= VOLUMES);
    }

    #[test]
    fn all_pods_together_wait_for_their_turn() {
        let start = Instant::now();
        let mut all = Bucket::of_all(start);
        for _ in 0..50 {
            assert_eq!(all.take(start), Ok(()));
        }
        let later = start + Duration::from_millis(50);
        let wait = all.take(later).expect_err("none is left");
        assert_eq!(wait, Duration::from_millis(150));
        assert_eq!(all.take(later + wait), Ok(()));
    }
}
