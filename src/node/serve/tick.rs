//! What time alone brings: calls whose time is up, connections that have ended, pods that are gone, and
//! volumes that nobody has asked for again.

use std::collections::BTreeSet;
use std::time::Duration;

use livemount_engine::engine::VolumeId;
use tokio::time::Instant;
use tracing::info;

use super::super::{NodeError, terminating_pods};
use super::{Done, Serve};
use crate::observe::Note;

/// How long a volume without a first snapshot is kept when no call waits for it. The kubelet comes
/// again within two minutes, or unpublishes it.
const FORGOTTEN: Duration = Duration::from_mins(10);
/// How often it is asked which pods stay, while a publish waits.
const ASK_PODS: Duration = Duration::from_secs(2);

impl Serve {
    /// Answers the publish calls of pods that are gone or on their way, so that the kubelet unpublishes.
    pub(super) fn let_go(&mut self, staying: Option<&BTreeSet<String>>) {
        self.ask_again = Some(Instant::now() + ASK_PODS);
        let Some(staying) = staying else {
            return;
        };
        let hosted = self
            .slots
            .values_mut()
            .filter_map(|slot| slot.hosted.as_mut());
        for hosted in hosted.filter(|hosted| hosted.published.is_none()) {
            if !staying.contains(&hosted.request.pod.uid) {
                hosted.answer(Err(NodeError::PodTerminating));
            }
        }
    }

    pub(super) fn tick(&mut self) {
        self.parts.heartbeat.beat();
        let now = Instant::now();
        let mut forgotten = Vec::new();
        let late: Vec<VolumeId> = self
            .slots
            .iter()
            .filter(|(_, slot)| {
                let waiters = slot.hosted.iter().flat_map(|hosted| &hosted.waiters);
                waiters.into_iter().any(|waiter| waiter.until <= now)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            let why = self.why_not(&id);
            if let Some(hosted) = self
                .slots
                .get_mut(&id)
                .and_then(|slot| slot.hosted.as_mut())
            {
                hosted.give_up(now, &why);
            }
        }
        let mut waiting = 0;
        for (id, slot) in &mut self.slots {
            let Some(hosted) = &mut slot.hosted else {
                continue;
            };
            waiting += hosted.waiters.len() as u64;
            if !hosted.waiters.is_empty() {
                hosted.asked = now;
            }
            match &hosted.published {
                Some(published) if !hosted.lost && published.ended() => {
                    hosted.lost = true;
                    published.set_condition(Some("the mount was ended from outside".into()));
                    let note = Note::MountLost {
                        volume: hosted.request.name.clone(),
                        why: "its FUSE connection was ended from outside".into(),
                    };
                    self.parts.events.tell(&hosted.request.pod, note);
                }
                None if !slot.busy && now - hosted.asked > FORGOTTEN => forgotten.push(id.clone()),
                _ => {}
            }
        }
        let failing = self.failing.len() as u64;
        self.parts.volumes.note(waiting, failing);
        if waiting > 0 && self.ask_again.is_some_and(|at| at <= now) {
            self.ask_again = None;
            let (client, node) = (self.parts.client.clone(), self.parts.node.clone());
            let tell = self.tell.clone();
            tokio::spawn(async move {
                let _ = tell.send(Done::Asked(terminating_pods::staying(client, node).await));
            });
        }
        for id in forgotten {
            info!(volume = %id, "forgotten: the kubelet has not asked for it again");
            self.forget(&id);
            self.slots.remove(&id);
        }
    }
}
