//! The one loop where calls, objects and effects meet: what the kubelet asks for and what the source
//! says become events, what the engine answers is done.
//!
//! It owns every volume's place and never waits: mounts and unmounts run on threads of their own and
//! come back as news, so no volume waits for another's.

mod effects;
mod tick;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::engine::{Condition, Engine, Event, VolumeId};
use livemount_engine::object::ObjectKey;
use livemount_engine::snapshot::Snapshot;
use livemount_hand::{Hand, Unbind};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::slot::{HostedVolume, Slot, Waiter};
use super::volumes::{Ask, Reply};
use super::{NodeError, PublishRequest, Volumes};
use crate::observe::http::Heartbeat;
use crate::observe::{Facts, PodEvents};
use crate::publish::{NewVolume, PublishError, Published, Publisher};
use crate::source::kube::{Heard, KubeSource};

/// How often it is looked whose time is up, and which connections have ended.
const TICK: Duration = Duration::from_millis(500);
/// What a volume's number in the hand is for a target that is only cleared: from here on up.
const CLEARED: u64 = 1 << 62;

/// What a thread has done.
enum Done {
    Mounted {
        id: VolumeId,
        snapshot: Arc<Snapshot>,
        result: Result<Published, PublishError>,
    },
    /// These pods of the node are there to stay, by uid; nothing where it could not be told.
    Asked(Option<BTreeSet<String>>),
    Left {
        id: VolumeId,
        /// The volume was published, and is not any more.
        gone: bool,
        /// Who asked; nobody where the volume is to be published anew.
        reply: Option<(Reply<()>, Result<(), NodeError>)>,
    },
}

/// What the loop needs from outside.
pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) source: KubeSource,
    pub(super) publisher: Publisher,
    pub(super) hand: Hand,
    pub(super) facts: Facts,
    pub(super) events: PodEvents,
    pub(super) volumes: Volumes,
    pub(super) heartbeat: Heartbeat,
    pub(super) client: kube::Client,
    /// This node's name.
    pub(super) node: String,
}

pub(super) struct Serve {
    parts: Parts,
    slots: BTreeMap<VolumeId, Slot>,
    /// Objects that cannot be read, and why not.
    failing: BTreeMap<ObjectKey, String>,
    tell: mpsc::UnboundedSender<Done>,
    cleared: u64,
    /// When it may be asked again which pods stay; nothing while the answer is awaited.
    ask_again: Option<Instant>,
}

impl Serve {
    /// Serves until nobody can ask any more, or the source ends.
    pub(super) async fn run(parts: Parts, mut asked: mpsc::Receiver<Ask>, mut heard: Heard) {
        // As many as there are threads at work, each of which tells once.
        let (tell, mut done) = mpsc::unbounded_channel();
        let mut serve = Self {
            parts,
            slots: BTreeMap::new(),
            failing: BTreeMap::new(),
            tell,
            cleared: CLEARED,
            ask_again: Some(Instant::now()),
        };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ask = asked.recv() => match ask {
                    Some(ask) => serve.take(ask),
                    None => return,
                },
                said = heard.next() => match said {
                    Some(said) => serve.hear(said),
                    None => return,
                },
                // Never closed: `serve` holds an end.
                Some(done) = done.recv() => serve.finish(done),
                _ = tick.tick() => serve.tick(),
            }
        }
    }

    fn take(&mut self, ask: Ask) {
        let id = match &ask {
            Ask::Publish { request, .. } => VolumeId::new(request.id.as_str()),
            Ask::Unpublish { id, .. } => VolumeId::new(id.as_str()),
            Ask::Stats { id, path, .. } => {
                let hosted = self
                    .slots
                    .get(&VolumeId::new(id.as_str()))
                    .and_then(|slot| slot.hosted.as_ref());
                let stats = hosted.map_or_else(
                    || Err(NodeError::NotPublished(path.clone())),
                    |hosted| hosted.stats(path),
                );
                if let Ask::Stats { reply, .. } = ask {
                    let _ = reply.send(stats);
                }
                return;
            }
        };
        let slot = self.slots.entry(id.clone()).or_default();
        if slot.busy {
            slot.later.push_back(ask);
            return;
        }
        match ask {
            Ask::Publish {
                request,
                until,
                reply,
            } => self.publish(&id, *request, Waiter { until, reply }),
            Ask::Unpublish { target, reply, .. } => self.unpublish(&id, target, reply),
            Ask::Stats { .. } => {}
        }
    }

    fn publish(&mut self, id: &VolumeId, request: PublishRequest, waiter: Waiter) {
        let slot = self.slots.entry(id.clone()).or_default();
        let Some(hosted) = &mut slot.hosted else {
            let spec = request.spec.clone();
            let mut hosted = HostedVolume::new(request);
            hosted.waiters.push(waiter);
            slot.hosted = Some(hosted);
            return self.handle(Event::Publish {
                volume: id.clone(),
                spec,
            });
        };
        if hosted.request.target != request.target {
            let elsewhere = NodeError::Elsewhere(hosted.request.target.clone());
            let _ = waiter.reply.send(Err(elsewhere));
            return;
        }
        hosted.asked = Instant::now();
        match hosted.published.take() {
            // The kernel has ended its connection: a fresh one is what a republish is for.
            Some(published) if published.ended() => {
                hosted.waiters.push(waiter);
                hosted.lost = false;
                slot.busy = true;
                let (tell, id) = (self.tell.clone(), id.clone());
                tokio::task::spawn_blocking(move || {
                    // The new one takes its place in any case.
                    let _ = published.unpublish(Unbind::Detach);
                    let _ = tell.send(Done::Left {
                        id,
                        gone: false,
                        reply: None,
                    });
                });
            }
            Some(published) => {
                hosted.published = Some(published);
                let _ = waiter.reply.send(Ok(()));
            }
            None => hosted.waiters.push(waiter),
        }
    }

    fn unpublish(&mut self, id: &VolumeId, target: PathBuf, reply: Reply<()>) {
        let slot = self.slots.entry(id.clone()).or_default();
        slot.busy = true;
        let mut published = None;
        if let Some(hosted) = &mut slot.hosted
            && hosted.request.target == target
        {
            hosted.answer(Err(NodeError::Cancelled));
            published.clone_from(&hosted.published);
            if published.is_none() {
                self.forget(id);
            }
        }
        self.cleared += 1;
        let (number, hand) = (self.cleared, self.parts.hand.clone());
        let (tell, id) = (self.tell.clone(), id.clone());
        tokio::task::spawn_blocking(move || {
            let left = published
                .as_ref()
                .map_or(Ok(()), |published| published.unpublish(Unbind::Detach));
            let gone = published.is_some() && left.is_ok();
            let result = left
                .and_then(|()| hand.clear(number, &target))
                .map_err(NodeError::Hand);
            let _ = tell.send(Done::Left {
                id,
                gone,
                reply: Some((reply, result)),
            });
        });
    }

    /// Drops a volume from the engine and its place; whatever is mounted is somebody else's task.
    fn forget(&mut self, id: &VolumeId) {
        let former = self.slots.get_mut(id).and_then(|slot| slot.hosted.take());
        if let Some(HostedVolume { request, .. }) = former {
            let mut others = self.slots.values().filter_map(|slot| slot.hosted.as_ref());
            if !others.any(|hosted| hosted.request.pod.uid == request.pod.uid) {
                self.parts.events.forget(&request.pod);
            }
        }
        self.handle(Event::Unpublish { volume: id.clone() });
    }

    fn hosted(&self, id: &VolumeId) -> Option<&HostedVolume> {
        self.slots.get(id)?.hosted.as_ref()
    }

    fn finish(&mut self, done: Done) {
        let id = match done {
            Done::Asked(staying) => return self.let_go(staying.as_ref()),
            Done::Mounted {
                id,
                snapshot,
                result,
            } => {
                self.mounted(&id, &snapshot, result);
                id
            }
            Done::Left { id, gone, reply } => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.busy = false;
                }
                if gone {
                    self.forget(&id);
                }
                if let Some((reply, result)) = reply {
                    // The kubelet asks again where it did not hear this.
                    let _ = reply.send(result);
                } else if let Some(latest) = self.parts.engine.latest(&id).cloned() {
                    self.show(&id, latest);
                }
                id
            }
        };
        self.go_on(&id);
    }

    fn mounted(
        &mut self,
        id: &VolumeId,
        snapshot: &Arc<Snapshot>,
        result: Result<Published, PublishError>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.busy = false;
        let Some(hosted) = &mut slot.hosted else {
            return;
        };
        match result {
            Ok(published) => {
                self.parts.volumes.has_mounted();
                info!(
                    volume = hosted.name(),
                    files = snapshot.files().count(),
                    "published at {}",
                    hosted.request.target.display()
                );
                let condition = self.parts.engine.condition(id);
                published.set_condition(condition.map(in_words));
                let published = Arc::new(published);
                if let Some(latest) = self.parts.engine.latest(id)
                    && !Arc::ptr_eq(latest, snapshot)
                {
                    published.offer(Arc::clone(latest));
                }
                hosted.published = Some(published);
                hosted.asked = Instant::now();
                hosted.answer(Ok(()));
            }
            Err(error) => {
                warn!(volume = hosted.name(), "cannot be published: {error}");
                hosted.answer(Err(error.into()));
                self.forget(id);
            }
        }
    }

    /// Does what was asked for while a thread was at work, and drops a place that nobody needs.
    fn go_on(&mut self, id: &VolumeId) {
        while let Some(slot) = self.slots.get_mut(id)
            && !slot.busy
        {
            if let Some(ask) = slot.later.pop_front() {
                self.take(ask);
            } else {
                if slot.hosted.is_none() {
                    self.slots.remove(id);
                }
                return;
            }
        }
    }

    /// Why a volume is not there, for the kubelet's `FailedMount`.
    fn why_not(&self, id: &VolumeId) -> String {
        let Some(hosted) = self.hosted(id) else {
            return "the volume is not wanted any more".into();
        };
        let objects = hosted.request.spec.objects();
        if let Some(why) = objects.iter().find_map(|key| self.failing.get(*key)) {
            return why.clone();
        }
        match (self.parts.engine.condition(id), objects.first()) {
            (Some(condition), _) => in_words(condition),
            (None, Some(key)) => format!("{key} could not be read yet"),
            (None, None) => "the mount has not finished yet".into(),
        }
    }
}

/// Mounts a volume of no files at `target` and takes it away again: whether this can be done at all.
pub(super) fn try_mount(
    publisher: &Publisher,
    target: &Path,
    empty: Snapshot,
) -> Result<(), NodeError> {
    let settings = crate::publish::Settings::default();
    let new = NewVolume {
        name: "probe",
        target,
        over: false,
        first: Arc::new(empty),
        settings,
    };
    let published = publisher.publish(new, |_| {})?;
    Ok(published.unpublish(Unbind::Detach)?)
}

fn in_words(condition: &Condition) -> String {
    match condition {
        Condition::Waiting(object) => format!("{object} does not exist"),
        Condition::Refused(refusal) => refusal.to_string(),
    }
}
