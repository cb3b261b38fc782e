//! What the source says, and what the engine asks for and tells: commits, facts, and Events on pods.

use std::sync::Arc;

use livemount_engine::engine::{Effect, Event, VolumeId};
use livemount_engine::object::ObjectKey;
use livemount_engine::snapshot::Snapshot;
use tracing::{info, warn};

use super::{Done, Serve};
use crate::observe::{Fact, Note};
use crate::publish::NewVolume;
use crate::source::kube::Said;

impl Serve {
    pub(super) fn hear(&mut self, said: Said) {
        match said {
            Said::Applied(object) => {
                self.failing.remove(&object.key);
                self.handle(Event::Applied(object));
            }
            Said::Deleted(key) => {
                self.failing.remove(&key);
                self.handle(Event::Deleted(key));
            }
            Said::Working(key) => {
                self.failing.remove(&key);
            }
            Said::Failing { key, why } => {
                if self.failing.get(&key) != Some(&why) {
                    self.tell_users_of(&key, &why);
                }
                self.failing.insert(key, why);
            }
        }
    }

    /// Tells the pods that use an object why it cannot be read.
    fn tell_users_of(&self, key: &ObjectKey, why: &str) {
        warn!("{why}");
        for slot in self.slots.values() {
            if let Some(hosted) = &slot.hosted
                && hosted.request.spec.objects().contains(key)
            {
                let (volume, why) = (hosted.request.name.clone(), why.to_owned());
                let note = if hosted.published.is_some() {
                    Note::Unreadable { volume, why }
                } else {
                    Note::Missing { volume, why }
                };
                self.parts.events.tell(&hosted.request.pod, note);
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        for effect in self.parts.engine.handle(event) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Watch(key) => self.parts.source.watch(key),
            Effect::Unwatch(key) => {
                self.failing.remove(&key);
                self.parts.source.unwatch(&key);
            }
            Effect::Commit { volume, snapshot } => self.show(&volume, snapshot),
            Effect::Warned { volume, warnings } => {
                if let Some(hosted) = self.hosted(&volume) {
                    for warning in warnings {
                        warn!(volume = hosted.name(), "{warning}");
                    }
                }
            }
            Effect::Waiting { volume, .. } => {
                let why = self.why_not(&volume);
                if let Some(hosted) = self.hosted(&volume) {
                    info!(volume = hosted.name(), "{why}");
                    let volume = hosted.request.name.clone();
                    let note = Note::Missing { volume, why };
                    self.parts.events.tell(&hosted.request.pod, note);
                }
            }
            Effect::Refused { volume, refusal } => {
                if let Some(hosted) = self.hosted(&volume) {
                    let why = refusal.to_string();
                    if let Some(published) = &hosted.published {
                        published.set_condition(Some(why.clone()));
                    }
                    let name = Arc::from(hosted.name());
                    let facts = &self.parts.facts;
                    facts.tell(Fact::Refused {
                        volume: name,
                        refusal,
                    });
                    let volume = hosted.request.name.clone();
                    let note = match hosted.published {
                        Some(_) => Note::Refused { volume, why },
                        None => Note::Missing { volume, why },
                    };
                    self.parts.events.tell(&hosted.request.pod, note);
                }
            }
            Effect::Recovered { volume } => {
                if let Some(hosted) = self.hosted(&volume) {
                    if let Some(published) = &hosted.published {
                        published.set_condition(None);
                    }
                    let name = Arc::from(hosted.name());
                    self.parts.facts.tell(Fact::Recovered { volume: name });
                    let volume = hosted.request.name.clone();
                    let note = Note::Recovered { volume };
                    self.parts.events.tell(&hosted.request.pod, note);
                }
            }
        }
    }

    /// Commits a snapshot, or mounts the volume with it where it is the first.
    pub(super) fn show(&mut self, id: &VolumeId, snapshot: Arc<Snapshot>) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(hosted) = &mut slot.hosted else {
            return;
        };
        if let Some(published) = &hosted.published {
            published.offer(snapshot);
        } else if !slot.busy {
            slot.busy = true;
            let (name, request) = (hosted.name(), &hosted.request);
            let (target, settings) = (request.target.clone(), request.settings);
            let publisher = self.parts.publisher.clone();
            let (tell, id) = (self.tell.clone(), id.clone());
            tokio::task::spawn_blocking(move || {
                let first = Arc::clone(&snapshot);
                let new = NewVolume {
                    name: &name,
                    target: &target,
                    over: false,
                    first,
                    settings,
                };
                // Its end is seen by `clock`.
                let result = publisher.publish(new, |_| {});
                let _ = tell.send(Done::Mounted {
                    id,
                    snapshot,
                    result,
                });
            });
        }
        // What comes while it is being mounted is offered when it is.
    }
}
