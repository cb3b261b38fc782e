//! Which Event a sentence stands in: a new one, or one that is counted up.
//!
//! As client-go does it (`tools/events/event_broadcaster.go`): what is told again while it is remembered
//! becomes the `series` of the Event that was made first, and what was not told again for six minutes is
//! forgotten (`finishTime`). There, what has the same pod, reason and action is one Event, which keeps the note
//! of the first: told of two volumes, it would say the first one's sentence twice. So the sentence belongs to
//! what is compared here. Plain data, with the time given; asks nobody.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::pod_event::PodEvent;
use crate::pod::PodRef;

/// How long an Event is remembered after it was last written.
const REMEMBERED: Duration = Duration::from_secs(360);
/// How many are remembered; each costs a few hundred bytes.
const MOST: usize = 1024;

/// What has to be alike for an Event to be counted up. Type and action belong to the reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    uid: String,
    reason: &'static str,
    sentence: String,
}

impl Key {
    pub(super) fn new(pod: &PodRef, event: &PodEvent) -> Self {
        Self {
            uid: pod.uid.clone(),
            reason: event.heading().reason,
            sentence: event.sentence(),
        }
    }
}

/// An Event that the API server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Its name, in the pod's namespace.
    pub(super) name: String,
    /// How often its sentence was told.
    pub(super) count: i32,
}

impl Written {
    /// The Event that was made.
    pub(super) fn first(event: Event) -> Self {
        let name = event.metadata.name.unwrap_or_default(); // Reporter::event names it
        Self { name, count: 1 }
    }

    /// The Event's `series` when it is told once more, now.
    pub(super) fn again(&self, now: Timestamp) -> (Self, EventSeries) {
        let count = self.count.saturating_add(1);
        let series = EventSeries {
            count,
            last_observed_time: MicroTime(now),
        };
        let name = self.name.clone();
        (Self { name, count }, series)
    }
}

/// The Events that may be counted up.
#[derive(Debug, Default)]
pub(super) struct Series {
    written: HashMap<Key, (Written, Instant)>,
}

impl Series {
    /// The Event that is to be counted up; without one, a new one is to be made.
    pub(super) fn former(&mut self, key: &Key, now: Instant) -> Option<Written> {
        let remembered = |at: Instant| now.saturating_duration_since(at) < REMEMBERED;
        self.written.retain(|_, (_, at)| remembered(*at));
        self.written.get(key).map(|(written, _)| written.clone())
    }

    /// The API server has it.
    pub(super) fn remember(&mut self, key: Key, written: Written, now: Instant) {
        if self.written.len() >= MOST && !self.written.contains_key(&key) {
            self.written.clear();
        }
        self.written.insert(key, (written, now));
    }

    /// The API server does not have it any more.
    pub(super) fn forget(&mut self, key: &Key) {
        self.written.remove(key);
    }
}

/// Who tells.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    pub(super) controller: String,
    pub(super) node: String,
}

impl Reporter {
    /// A new Event on a pod, which begins now. Its name is of the form that client-go gives: no other Event of
    /// the pod bears that time.
    pub(super) fn event(&self, pod: &PodRef, event: &PodEvent, now: Timestamp) -> Event {
        let heading = event.heading();
        let type_ = if heading.warning { "Warning" } else { "Normal" };
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", pod.name, now.as_nanosecond())),
                namespace: Some(pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(type_.to_owned()),
            reason: Some(heading.reason.to_owned()),
            action: Some(heading.action.to_owned()),
            note: Some(event.sentence()),
            regarding: Some(reference(pod)),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        }
    }
}

/// The pod as `kubectl describe pod` looks for it.
fn reference(pod: &PodRef) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name.clone()),
        namespace: Some(pod.namespace.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(sentence: &str) -> Key {
        Key {
            uid: "u".into(),
            reason: "MountLost",
            sentence: sentence.into(),
        }
    }

    fn written(count: i32) -> Written {
        Written {
            name: "web-0.1".into(),
            count,
        }
    }

    #[test]
    fn what_is_told_again_soon_enough_is_counted_up() {
        let start = Instant::now();
        let nearly = REMEMBERED
            .checked_sub(Duration::from_millis(1))
            .expect("longer");
        let mut series = Series::default();
        assert_eq!(series.former(&key("a"), start), None);
        series.remember(key("a"), written(1), start);
        assert_eq!(series.former(&key("b"), start), None);
        let later = start + nearly;
        let (again, told) = series
            .former(&key("a"), later)
            .expect("it is known")
            .again(Timestamp::UNIX_EPOCH);
        assert_eq!((again.clone(), told.count), (written(2), 2));
        assert_eq!(told.last_observed_time.0, Timestamp::UNIX_EPOCH);
        // It counts from the last time.
        series.remember(key("a"), again, later);
        assert_eq!(series.former(&key("a"), later + nearly), Some(written(2)));
        assert_eq!(series.former(&key("a"), later + REMEMBERED), None);
        assert!(series.written.is_empty(), "nobody asks for it any more");
    }

    #[test]
    fn what_the_server_has_not_is_forgotten() {
        let now = Instant::now();
        let mut series = Series::default();
        series.remember(key("a"), written(7), now);
        series.forget(&key("a"));
        assert_eq!(series.former(&key("a"), now), None);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let now = Instant::now();
        let mut series = Series::default();
        for sentence in 0..MOST {
            series.remember(key(&sentence.to_string()), written(1), now);
        }
        // One that is known needs no room.
        series.remember(key("0"), written(2), now);
        assert_eq!(series.written.len(), MOST);
        for sentence in 0..3 * MOST {
            series.remember(key(&sentence.to_string()), written(1), now);
            assert!(series.written.len() <= MOST);
        }
        series.remember(key("one more"), written(1), now);
        assert_eq!(series.former(&key("one more"), now), Some(written(1)));
    }
}
