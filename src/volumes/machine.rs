//! The state machine: one input in, the actions that follow from it out, in order.
//!
//! It owns every volume's slot and the engine. It waits for nothing: what takes time is an action whose
//! end comes back as an input, and while one is under way for a volume, further calls for that volume
//! queue in its slot; no other volume notices. It looks at no clock: `now` is told with each input, and
//! [`Machine::due`] says when the next one has to come at the latest.

mod calls;
mod effects;
mod taking_over;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use livemount_engine::engine::{Engine, Event, VolumeId};
use livemount_engine::object::ObjectKey;

use super::action::Lack;
use super::slot::{HostedVolume, Mounted, Slot, Work};
use super::{Action, CallError, Input, MountingId, Notice};
use crate::source::Update;

/// What differs between hosts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// How long a volume without a first snapshot is kept when no call waits for it; for ever where
    /// nothing is said.
    pub forget: Option<Duration>,
    /// How often it is asked which pods stay, while a publish of one waits; never where nothing is said.
    pub ask_pods: Option<Duration>,
    /// How often it is said what a volume without a first snapshot waits for; once where nothing is said.
    pub remind: Option<Duration>,
}

/// The volumes of a daemon.
pub struct Machine {
    policy: Policy,
    engine: Engine,
    slots: BTreeMap<VolumeId, Slot>,
    /// Objects that cannot be read, and why not.
    failing: BTreeMap<ObjectKey, String>,
    last_mount: MountingId,
    pods: Pods,
}

/// Whether it may be asked which pods stay.
enum Pods {
    /// Not before then.
    AskFrom(Instant),
    /// The answer is awaited, since then.
    Asked(Instant),
}

impl Machine {
    /// A machine without volumes.
    pub fn new(engine: Engine, policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            engine,
            slots: BTreeMap::new(),
            failing: BTreeMap::new(),
            last_mount: MountingId(0),
            pods: Pods::AskFrom(now),
        }
    }

    /// Takes an input in and says what follows from it. `now` never goes back.
    pub fn step(&mut self, input: Input, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Call(call, ask) => self.call(call, ask, now, &mut actions),
            Input::Source(update) => self.update(update, now, &mut actions),
            Input::Mounted {
                volume,
                mount,
                result,
            } => {
                self.mounted(&volume, mount, result, now, &mut actions);
                self.go_on(&volume, now, &mut actions);
            }
            Input::Unmounted {
                volume,
                gone,
                result,
            } => {
                self.unmounted(&volume, gone, result, now, &mut actions);
                self.go_on(&volume, now, &mut actions);
            }
            Input::Rebound { volume, result } => {
                self.rebound(&volume, result, &mut actions);
                self.go_on(&volume, now, &mut actions);
            }
            Input::Ended { volume, mount } => self.ended(&volume, mount, &mut actions),
            Input::Staying(staying) => self.staying(staying.as_ref(), now, &mut actions),
            Input::Tick => {}
        }
        self.tick(now, &mut actions);
        actions
    }

    /// How many publish calls wait for a first snapshot.
    pub fn waiting(&self) -> u64 {
        self.hosted()
            .map(|hosted| hosted.waiters.len() as u64)
            .sum()
    }

    /// How many objects cannot be read.
    pub fn failing(&self) -> u64 {
        self.failing.len() as u64
    }

    /// Whether nothing is wanted, nothing under way and nothing left.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn hosted(&self) -> impl Iterator<Item = &HostedVolume> {
        self.slots.values().filter_map(|slot| slot.hosted.as_ref())
    }

    fn hosted_mut(&mut self, id: &VolumeId) -> Option<&mut HostedVolume> {
        self.slots.get_mut(id)?.hosted.as_mut()
    }

    fn hosted_of(&self, id: &VolumeId) -> Option<&HostedVolume> {
        self.slots.get(id)?.hosted.as_ref()
    }

    fn update(&mut self, update: Update, now: Instant, actions: &mut Vec<Action>) {
        match update {
            Update::Applied(object) => {
                self.failing.remove(&object.key);
                self.engine(Event::Applied(object), now, actions);
            }
            Update::Deleted(key) => {
                self.failing.remove(&key);
                self.engine(Event::Deleted(key), now, actions);
            }
            Update::Read(objects) => {
                for key in objects.keys() {
                    self.failing.remove(key);
                }
                self.engine(Event::Read(objects), now, actions);
            }
            Update::Working(key) => {
                self.failing.remove(&key);
            }
            Update::Failing { key, why } => {
                // A word that came too late, of an object that nobody wants any more, is no news.
                let wanted = |hosted: &HostedVolume| hosted.request.spec.objects().contains(&key);
                if self.failing.get(&key) != Some(&why) && self.hosted().any(wanted) {
                    self.unreadable(Some(&key), &why, actions);
                    self.failing.insert(key, why);
                }
            }
            Update::Unreadable { why } => self.unreadable(None, &why, actions),
        }
    }

    /// Says that an object, or a part of a source, cannot be read.
    fn unreadable(&self, key: Option<&ObjectKey>, why: &str, actions: &mut Vec<Action>) {
        let uses = |hosted: &&HostedVolume| {
            key.is_some_and(|key| hosted.request.spec.objects().contains(key))
        };
        let users = self.hosted().filter(uses);
        actions.push(Action::say(Notice::Unreadable {
            why: why.to_owned(),
            users: users
                .map(|hosted| (hosted.about(), hosted.mounted.is_some()))
                .collect(),
            serving: self.hosted().any(|hosted| hosted.mounted.is_some()),
        }));
    }

    /// The kernel has ended a connection. While its mount is being taken away that is no news.
    fn ended(&mut self, id: &VolumeId, mount: MountingId, actions: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(hosted) = &mut slot.hosted else {
            return;
        };
        let living = Mounted { mount, lost: false };
        if hosted.mounted != Some(living) {
            return;
        }
        hosted.mounted = Some(Mounted {
            lost: true,
            ..living
        });
        if slot.work.is_none() {
            hosted.say_lost(actions);
        }
    }

    /// Answers who waited for the end of a pod that is gone or on its way, so that the kubelet unpublishes.
    fn staying(
        &mut self,
        staying: Option<&BTreeSet<String>>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let pause = self.policy.ask_pods.unwrap_or_default();
        let before = std::mem::replace(&mut self.pods, Pods::AskFrom(now + pause));
        let (Some(staying), Pods::Asked(asked)) = (staying, before) else {
            return;
        };
        // Nobody waits for what is mounted. Of a pod that came after the question the answer says nothing.
        for slot in self.slots.values_mut() {
            let Some(hosted) = &mut slot.hosted else {
                continue;
            };
            let meant = hosted.waiters.iter().any(|waiter| waiter.since <= asked);
            let owner = hosted.request.owner.as_ref();
            if meant && owner.is_some_and(|owner| !staying.contains(&owner.pod.uid)) {
                hosted.asked = now;
                hosted.answer(Err(CallError::PodTerminating), actions);
            }
        }
    }

    /// Why a volume has no first snapshot.
    fn lack(&self, id: &VolumeId) -> Lack {
        let objects = self
            .hosted_of(id)
            .map(|hosted| hosted.request.spec.objects())
            .unwrap_or_default();
        Lack {
            unreadable: objects
                .iter()
                .find_map(|key| self.failing.get(*key))
                .cloned(),
            condition: self.engine.condition(id).cloned(),
            // What was rendered was read.
            first: objects
                .first()
                .filter(|_| self.engine.latest(id).is_none())
                .map(|key| (*key).clone()),
        }
    }
}

impl HostedVolume {
    /// Says that the connection was ended from outside, and answers who waited for it.
    fn say_lost(&mut self, actions: &mut Vec<Action>) {
        let volume = self.request.volume.clone();
        let why = Some("the mount was ended from outside".to_owned());
        actions.push(Action::Condition { volume, why });
        actions.push(Action::say(Notice::Lost {
            about: self.about(),
            target: self.request.target.clone(),
        }));
        for call in self.awaiting_end.drain(..) {
            actions.push(Action::Answer(call, Ok(())));
        }
    }
}
