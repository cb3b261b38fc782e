//! What the engine asks for and tells, as actions.

use std::sync::Arc;
use std::time::Instant;

use livemount_engine::engine::{Effect, Event, VolumeId};
use livemount_engine::snapshot::Snapshot;

use super::{Action, Machine, MountingId, Notice, Work};

impl Machine {
    /// Tells the engine, and carries out what follows.
    pub(super) fn engine(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) {
        for effect in self.engine.handle(event) {
            self.effect(effect, now, actions);
        }
    }

    fn effect(&mut self, effect: Effect, now: Instant, actions: &mut Vec<Action>) {
        match effect {
            Effect::Watch(key) => actions.push(Action::Watch(key)),
            Effect::Unwatch(key) => {
                self.failing.remove(&key);
                actions.push(Action::Unwatch(key));
            }
            Effect::Commit { volume, snapshot } => self.show(&volume, snapshot, actions),
            Effect::Warned { volume, warnings } => {
                if let Some(hosted) = self.hosted_of(&volume) {
                    let about = hosted.about();
                    actions.push(Action::say(Notice::Warnings { about, warnings }));
                }
            }
            Effect::Waiting { volume, .. } => self.say_waiting(&volume, now, actions),
            Effect::Refused { volume, refusal } => {
                if let Some(hosted) = self.hosted_of(&volume) {
                    let (about, published) = (hosted.about(), hosted.mounted.is_some());
                    if published {
                        let why = Some(refusal.to_string());
                        actions.push(Action::Condition { volume, why });
                    }
                    actions.push(Action::say(Notice::Refused {
                        about,
                        refusal,
                        published,
                    }));
                }
            }
            Effect::Recovered { volume } => {
                if let Some(hosted) = self.hosted_of(&volume) {
                    let (about, published) = (hosted.about(), hosted.mounted.is_some());
                    if published {
                        actions.push(Action::Condition { volume, why: None });
                    }
                    actions.push(Action::say(Notice::Recovered { about, published }));
                }
            }
        }
    }

    /// Says what a volume waits for.
    pub(super) fn say_waiting(&mut self, id: &VolumeId, now: Instant, actions: &mut Vec<Action>) {
        let lack = self.lack(id);
        let remind = self.policy.remind.map(|pause| now + pause);
        if let Some(hosted) = self.hosted_mut(id) {
            hosted.remind = remind;
            let about = hosted.about();
            actions.push(Action::say(Notice::Waiting { about, lack }));
        }
    }

    /// Commits a snapshot, or mounts the volume with it where it is the first. What comes while it is being
    /// mounted is offered when it is.
    pub(super) fn show(
        &mut self,
        id: &VolumeId,
        snapshot: Arc<Snapshot>,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(hosted) = &slot.hosted else {
            return;
        };
        let volume = id.clone();
        if hosted.mounted.is_some() {
            actions.push(Action::Offer { volume, snapshot });
        } else if slot.work.is_none() {
            self.last_mount = MountingId(self.last_mount.0 + 1);
            slot.work = Some(Work::Mounting);
            let request = &hosted.request;
            actions.push(Action::Mount {
                volume,
                mount: self.last_mount,
                name: request.name.clone(),
                target: request.target.clone(),
                over: request.over,
                snapshot,
                settings: request.settings,
                request: request.to_bytes(),
            });
        }
    }
}
