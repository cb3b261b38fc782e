//! What is said to people of their volumes, in which words and where: log, facts, Events on pods.
//!
//! The machine decides what there is to say; here it gets its sentence. A host says it to whoever looks at
//! its terminal, a node to the pods' owners as well. No sentence holds a value.

use std::sync::Arc;

use livemount_engine::engine::Condition;
use tracing::{info, warn};

use super::Notice;
use super::action::{About, Lack};
use crate::observe::{Fact, Facts, PodEvent, PodEvents};
use crate::pod::PodRef;

/// Who speaks.
pub enum Voice {
    /// `livemount mount`, whose volume comes from here.
    Host {
        /// The source, as it was written.
        origin: String,
    },
    /// `livemount node`, which tells pods as well.
    Node {
        /// The Events on pods.
        events: PodEvents,
    },
}

impl Voice {
    /// Says it.
    pub(super) fn say(&self, notice: Notice, facts: &Facts) {
        match notice {
            Notice::Published {
                about,
                target,
                files,
                objects,
            } => {
                let target = target.display();
                match self {
                    Self::Host { .. } => info!(files, "serving {objects} at {target}"),
                    Self::Node { .. } => info!(volume = about.name, files, "published at {target}"),
                }
            }
            Notice::PublishFailed { about, why } => {
                // A host's one volume is its last word.
                if let Self::Node { .. } = self {
                    warn!(volume = about.name, "cannot be published: {why}");
                }
            }
            Notice::Warnings { about, warnings } => {
                for warning in warnings {
                    match self {
                        Self::Host { .. } => warn!(volume = %about.name, "{warning}"),
                        Self::Node { .. } => warn!(volume = about.name, "{warning}"),
                    }
                }
            }
            Notice::Waiting { about, lack } => self.waiting(&about, &lack),
            Notice::Refused {
                about,
                refusal,
                published,
            } => {
                if let (Self::Host { origin }, false) = (self, published) {
                    return warn!("{refusal} in {origin}");
                }
                let why = refusal.to_string();
                facts.tell(Fact::Refused {
                    volume: Arc::from(about.name.as_str()),
                    refusal,
                });
                self.tell_pod(&about, |volume| {
                    if published {
                        PodEvent::Refused { volume, why }
                    } else {
                        PodEvent::Missing { volume, why }
                    }
                });
            }
            Notice::Recovered { about, published } => {
                // Of a host's volume that is not mounted yet, that it is now is the news.
                if matches!(self, Self::Node { .. }) || published {
                    let volume = Arc::from(about.name.as_str());
                    facts.tell(Fact::Recovered { volume });
                    self.tell_pod(&about, |volume| PodEvent::Recovered { volume });
                }
            }
            Notice::Unreadable {
                why,
                users,
                serving,
            } => match self {
                Self::Host { .. } => facts.tell(Fact::Unreadable { why, serving }),
                Self::Node { .. } => {
                    warn!("{why}");
                    for (about, published) in users {
                        let why = why.clone();
                        self.tell_pod(&about, |volume| {
                            if published {
                                PodEvent::Unreadable { volume, why }
                            } else {
                                PodEvent::Missing { volume, why }
                            }
                        });
                    }
                }
            },
            // The log has it from the connection itself.
            Notice::Lost { about, .. } => self.tell_pod(&about, |volume| PodEvent::MountLost {
                volume,
                why: "its FUSE connection was ended from outside".into(),
            }),
            Notice::Forgotten { about } => {
                info!(volume = %about.volume, "forgotten: the kubelet has not asked for it again");
            }
        }
    }

    /// Forgets what was told of a pod: its last volume is gone.
    pub(super) fn forget(&self, pod: &PodRef) {
        if let Self::Node { events } = self {
            events.forget(pod);
        }
    }

    fn waiting(&self, about: &About, lack: &Lack) {
        match self {
            Self::Host { origin } => match &lack.condition {
                Some(Condition::Waiting(object)) => warn!("waiting for {object} in {origin}"),
                Some(Condition::Refused(refusal)) => warn!("{refusal} in {origin}"),
                // That it cannot be read has been told.
                None => {}
            },
            Self::Node { .. } => {
                let why = lack.to_string();
                info!(volume = about.name, "{why}");
                self.tell_pod(about, |volume| PodEvent::Missing { volume, why });
            }
        }
    }

    fn tell_pod(&self, about: &About, event: impl FnOnce(String) -> PodEvent) {
        if let (Self::Node { events }, Some(owner)) = (self, &about.owner) {
            events.tell(&owner.pod, event(owner.volume.clone()));
        }
    }
}
