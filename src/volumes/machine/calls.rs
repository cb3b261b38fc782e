//! What hosts ask for, and what became of mounts: a volume's way from the first publish to its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use livemount_engine::engine::{Event, VolumeId};
use livemount_engine::snapshot::Snapshot;
use livemount_hand::{HandError, Unbind};

use super::super::slot::Waiter;
use super::super::{Ask, CallId, Request};
use super::{Action, CallError, HostedVolume, Machine, Mounted, MountingId, Notice, Work};
use crate::publish::PublishError;

impl Machine {
    pub(super) fn call(&mut self, call: CallId, ask: Ask, now: Instant, actions: &mut Vec<Action>) {
        let id = match &ask {
            Ask::Publish { request, .. } => request.volume.clone(),
            Ask::Unpublish { volume, .. } => volume.clone(),
            Ask::Lost { volume } => return self.wait_for_end(call, volume, actions),
            Ask::Stats { volume, target } => {
                let here = self.hosted_of(volume).is_some_and(|hosted| {
                    hosted.mounted.is_some() && hosted.request.target == *target
                });
                return actions.push(if here {
                    Action::AnswerStats(call, volume.clone())
                } else {
                    let error = CallError::NotPublished(target.clone());
                    Action::Answer(call, Err(error))
                });
            }
        };
        let slot = self.slots.entry(id.clone()).or_default();
        if slot.work.is_some() {
            slot.later.push_back((call, ask));
            return;
        }
        match ask {
            Ask::Publish { request, until } => {
                let waiter = Waiter {
                    call,
                    since: now,
                    until,
                };
                self.publish(*request, waiter, now, actions);
            }
            Ask::Unpublish {
                target, how, clear, ..
            } => {
                self.unpublish(&id, call, target, how, clear, now, actions);
                // Nothing may be under way where nothing had to be done.
                self.go_on(&id, now, actions);
            }
            Ask::Lost { .. } | Ask::Stats { .. } => {}
        }
    }

    fn wait_for_end(&mut self, call: CallId, id: &VolumeId, actions: &mut Vec<Action>) {
        match self.hosted_mut(id) {
            Some(hosted) if hosted.mounted.is_some_and(|mounted| mounted.lost) => {
                actions.push(Action::Answer(call, Ok(())));
            }
            Some(hosted) => hosted.awaiting_end.push(call),
            None => actions.push(Action::Answer(call, Err(CallError::Cancelled))),
        }
    }

    fn publish(
        &mut self,
        request: Request,
        waiter: Waiter,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let id = request.volume.clone();
        let remind = self.policy.remind.map(|pause| now + pause);
        let slot = self.slots.entry(id.clone()).or_default();
        let Some(hosted) = &mut slot.hosted else {
            let spec = request.spec.clone();
            let mut hosted = HostedVolume::new(request, now, remind);
            hosted.waiters.push(waiter);
            slot.hosted = Some(hosted);
            return self.engine(Event::Publish { volume: id, spec }, now, actions);
        };
        if hosted.request.target != request.target {
            let elsewhere = CallError::Elsewhere(hosted.request.target.clone());
            return actions.push(Action::Answer(waiter.call, Err(elsewhere)));
        }
        match hosted.mounted {
            // The kernel has ended its connection: a fresh one is what a republish is for.
            Some(Mounted { lost: true, .. }) => {
                hosted.mounted = None;
                hosted.waiters.push(waiter);
                slot.work = Some(Work::Unmounting(None));
                actions.push(Action::Unmount {
                    volume: id,
                    mounted: true,
                    how: Unbind::Detach,
                    clear: None,
                    abandon: true,
                });
            }
            // The kubelet asks again and again: whoever took the volume away from its target, it comes back.
            Some(Mounted { lost: false, .. }) => {
                let over = hosted.request.over;
                slot.work = Some(Work::Rebinding(waiter.call));
                actions.push(Action::Rebind { volume: id, over });
            }
            None => hosted.waiters.push(waiter),
        }
    }

    #[allow(clippy::too_many_arguments)] // a call's own fields
    fn unpublish(
        &mut self,
        id: &VolumeId,
        call: CallId,
        target: PathBuf,
        how: Unbind,
        clear: bool,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let mut mounted = false;
        if let Some(hosted) = self.hosted_mut(id)
            && hosted.request.target == target
        {
            hosted.answer(Err(CallError::Cancelled), actions);
            mounted = hosted.mounted.is_some();
            if !mounted {
                self.forget(id, now, actions);
            }
        }
        if !mounted && !clear {
            return actions.push(Action::Answer(call, Ok(())));
        }
        if let Some(slot) = self.slots.get_mut(id) {
            slot.work = Some(Work::Unmounting(Some(call)));
        }
        actions.push(Action::Unmount {
            volume: id.clone(),
            mounted,
            how,
            clear: clear.then_some(target),
            abandon: false,
        });
    }

    pub(super) fn mounted(
        &mut self,
        id: &VolumeId,
        mount: MountingId,
        result: Result<Arc<Snapshot>, PublishError>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.work = None;
        let Some(hosted) = &mut slot.hosted else {
            return;
        };
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(error) => {
                actions.push(Action::say(Notice::PublishFailed {
                    about: hosted.about(),
                    why: error.to_string(),
                }));
                hosted.answer(Err(error.into()), actions);
                return self.forget(id, now, actions);
            }
        };
        hosted.mounted = Some(Mounted { mount, lost: false });
        let objects = hosted.request.spec.objects();
        let objects: Vec<String> = objects.iter().map(ToString::to_string).collect();
        actions.push(Action::say(Notice::Published {
            about: hosted.about(),
            target: hosted.request.target.clone(),
            files: snapshot.files().count(),
            objects: objects.join(", "),
        }));
        if let Some(condition) = self.engine.condition(id) {
            let lack = super::Lack {
                unreadable: None,
                condition: Some(condition.clone()),
                first: None,
            };
            let (volume, why) = (id.clone(), Some(lack.to_string()));
            actions.push(Action::Condition { volume, why });
        }
        if let Some(latest) = self.engine.latest(id)
            && !Arc::ptr_eq(latest, &snapshot)
        {
            let (volume, snapshot) = (id.clone(), Arc::clone(latest));
            actions.push(Action::Offer { volume, snapshot });
        }
        hosted.answer(Ok(()), actions);
    }

    pub(super) fn rebound(
        &mut self,
        id: &VolumeId,
        result: Result<(), HandError>,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if let Some(Work::Rebinding(call)) = slot.work.take() {
            actions.push(Action::Answer(call, result.map_err(CallError::Hand)));
        }
        let lost = |mounted: Mounted| mounted.lost;
        if let Some(hosted) = &mut slot.hosted
            && hosted.mounted.is_some_and(lost)
        {
            // Its end came meanwhile.
            hosted.say_lost(actions);
        }
    }

    pub(super) fn unmounted(
        &mut self,
        id: &VolumeId,
        gone: bool,
        result: Result<(), HandError>,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        match slot.work.take() {
            Some(Work::Unmounting(Some(call))) => {
                let hosted = slot.hosted.as_mut();
                match hosted.filter(|hosted| hosted.mounted.is_some()) {
                    Some(_) if gone => self.forget(id, now, actions),
                    // It stays, and what became of it meanwhile is news by now.
                    Some(hosted) if hosted.mounted.is_some_and(|mounted| mounted.lost) => {
                        hosted.say_lost(actions);
                    }
                    _ => {}
                }
                // The kubelet asks again where it did not hear this.
                actions.push(Action::Answer(call, result.map_err(CallError::Hand)));
            }
            Some(Work::Unmounting(None) | Work::Mounting | Work::Rebinding(_)) | None => {}
        }
        // A new one takes the place of one that was lost in any case; and a first snapshot that came
        // meanwhile has waited.
        let waits = |hosted: &HostedVolume| hosted.mounted.is_none();
        if self.hosted_of(id).is_some_and(waits)
            && let Some(latest) = self.engine.latest(id).cloned()
        {
            self.show(id, latest, actions);
        }
    }

    /// Drops a volume from the engine and its slot; whatever is mounted is somebody else's task.
    pub(super) fn forget(&mut self, id: &VolumeId, now: Instant, actions: &mut Vec<Action>) {
        let former = self.slots.get_mut(id).and_then(|slot| slot.hosted.take());
        if let Some(mut former) = former {
            former.answer(Err(CallError::Cancelled), actions);
            for call in former.awaiting_end.drain(..) {
                actions.push(Action::Answer(call, Err(CallError::Cancelled)));
            }
            if let Some(owner) = former.request.owner {
                let pod = |hosted: &HostedVolume| {
                    let other = hosted.request.owner.as_ref();
                    other.is_some_and(|other| other.pod.uid == owner.pod.uid)
                };
                if !self.hosted().any(pod) {
                    actions.push(Action::ForgetPod(owner.pod));
                }
            }
        }
        let volume = id.clone();
        self.engine(Event::Unpublish { volume }, now, actions);
    }

    /// Does what was asked for while something was under way, and drops a slot that nobody needs.
    pub(super) fn go_on(&mut self, id: &VolumeId, now: Instant, actions: &mut Vec<Action>) {
        while let Some(slot) = self.slots.get_mut(id)
            && slot.work.is_none()
        {
            if let Some((call, ask)) = slot.later.pop_front() {
                self.call(call, ask, now, actions);
            } else {
                if slot.hosted.is_none() {
                    self.slots.remove(id);
                }
                return;
            }
        }
    }
}
