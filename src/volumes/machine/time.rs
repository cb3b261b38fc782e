//! What time alone brings: calls whose time is up, what is said again, pods that may be gone, and volumes
//! that nobody has asked for again.

use std::time::{Duration, Instant};

use livemount_engine::engine::VolumeId;

use super::super::slot::Slot;
use super::{Action, Machine, Notice, Pods};

/// For how long a publish waits before it is asked whether its pod stays. A volume whose objects are there
/// is mounted by then, and costs the API server no question.
const PATIENCE: Duration = Duration::from_millis(500);

impl Machine {
    /// When [`Machine::step`] has to be called at the latest, though nothing happens.
    pub fn due(&self) -> Option<Instant> {
        let mut due: Option<Instant> = None;
        let mut earlier = |at: Option<Instant>| due = due.into_iter().chain(at).min();
        for slot in self.slots.values() {
            let Some(hosted) = &slot.hosted else {
                continue;
            };
            earlier(hosted.due());
            if hosted.mounted.is_none() {
                earlier(hosted.remind);
                earlier(self.forgotten_at(slot));
            }
        }
        earlier(self.pods_asked_at());
        due
    }

    /// When it is asked which pods stay: most who wait are answered before that.
    fn pods_asked_at(&self) -> Option<Instant> {
        self.policy.ask_pods?;
        let Pods::AskFrom(at) = self.pods else {
            return None;
        };
        let waiters = self.hosted().flat_map(|hosted| &hosted.waiters);
        let longest = waiters.map(|waiter| waiter.since).min()?;
        Some(at.max(longest + PATIENCE))
    }

    /// When a volume is dropped unless somebody asks for it again.
    fn forgotten_at(&self, slot: &Slot) -> Option<Instant> {
        let hosted = slot.hosted.as_ref()?;
        let waits = hosted.mounted.is_none() && hosted.waiters.is_empty() && slot.work.is_none();
        Some(hosted.asked + self.policy.forget?).filter(|_| waits)
    }

    pub(super) fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let is_late = |slot: &Slot| {
            slot.hosted
                .as_ref()
                .is_some_and(|hosted| hosted.is_late(now))
        };
        for id in self.ids(is_late) {
            let why = self.lack(&id).to_string();
            if let Some(hosted) = self.hosted_mut(&id) {
                hosted.asked = now;
                hosted.give_up(now, &why, actions);
            }
        }
        let is_due = |slot: &Slot| {
            let hosted = slot
                .hosted
                .as_ref()
                .filter(|hosted| hosted.mounted.is_none());
            hosted
                .and_then(|hosted| hosted.remind)
                .is_some_and(|at| at <= now)
        };
        for id in self.ids(is_due) {
            self.say_waiting(&id, now, actions);
        }
        let is_forgotten = |slot: &Slot| self.forgotten_at(slot).is_some_and(|at| at <= now);
        for id in self.ids(is_forgotten) {
            if let Some(hosted) = self.hosted_of(&id) {
                let about = hosted.about();
                actions.push(Action::say(Notice::Forgotten { about }));
            }
            self.forget(&id, now, actions);
            self.go_on(&id, now, actions);
        }
        if self.pods_asked_at().is_some_and(|at| at <= now) {
            self.pods = Pods::Asked(now);
            actions.push(Action::AskPods);
        }
    }

    fn ids(&self, which: impl Fn(&Slot) -> bool) -> Vec<VolumeId> {
        let which = self.slots.iter().filter(|(_, slot)| which(slot));
        which.map(|(id, _)| id.clone()).collect()
    }
}
