//! One volume's slot in the machine: what is wanted there, how far it is, who waits for it, and what was
//! asked for while something was under way. Calls for one volume are serialised here.

use std::collections::VecDeque;
use std::time::Instant;

use super::action::About;
use super::{Action, Ask, CallError, CallId, MountingId, Request};

/// A volume's slot.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// What is served or shall be; nothing while only something left behind is cleared.
    pub(super) hosted: Option<HostedVolume>,
    /// What is under way.
    pub(super) work: Option<Work>,
    /// What was asked for meanwhile.
    pub(super) later: VecDeque<(CallId, Ask)>,
}

/// What is under way for a volume, whose end is an input.
#[derive(Debug)]
pub(super) enum Work {
    Mounting,
    /// It is seen to that the target shows the volume, on behalf of a call.
    Rebinding(CallId),
    /// On behalf of a call; nobody's where the volume is to be mounted anew.
    Unmounting(Option<CallId>),
}

/// A volume that somebody wants.
#[derive(Debug)]
pub(super) struct HostedVolume {
    pub(super) request: Request,
    pub(super) mounted: Option<Mounted>,
    /// Publish calls that wait for the first snapshot.
    pub(super) waiters: Vec<Waiter>,
    /// Calls that wait for the connection's end.
    pub(super) awaiting_end: Vec<CallId>,
    /// When it was first asked for, or a publish call last gave up waiting for it.
    pub(super) asked: Instant,
    /// When it is said again what is waited for.
    pub(super) remind: Option<Instant>,
}

/// A volume's mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) mount: MountingId,
    /// The kernel has ended its connection.
    pub(super) lost: bool,
}

/// A publish call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) call: CallId,
    pub(super) since: Instant,
    pub(super) until: Option<Instant>,
}

impl Waiter {
    fn is_late(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl HostedVolume {
    pub(super) fn new(request: Request, now: Instant, remind: Option<Instant>) -> Self {
        Self {
            request,
            mounted: None,
            waiters: Vec::new(),
            awaiting_end: Vec::new(),
            asked: now,
            remind,
        }
    }

    pub(super) fn about(&self) -> About {
        About {
            volume: self.request.volume.clone(),
            name: self.request.name.clone(),
            owner: self.request.owner.clone(),
        }
    }

    /// Answers everybody who waits; an error goes to the first as it is, to others as a sentence.
    pub(super) fn answer(&mut self, result: Result<(), CallError>, actions: &mut Vec<Action>) {
        let sentence = result.as_ref().err().map(ToString::to_string);
        let mut result = Some(result);
        for waiter in self.waiters.drain(..) {
            let answer = match (result.take(), &sentence) {
                (Some(result), _) => result,
                (None, Some(sentence)) => Err(CallError::Waiting(sentence.clone())),
                (None, None) => Ok(()),
            };
            actions.push(Action::Answer(waiter.call, answer));
        }
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.waiters.iter().any(|waiter| waiter.is_late(now))
    }

    /// Answers those whose time is up.
    pub(super) fn give_up(&mut self, now: Instant, why: &str, actions: &mut Vec<Action>) {
        self.waiters.retain(|waiter| {
            let late = waiter.is_late(now);
            if late {
                let error = CallError::Waiting(why.to_owned());
                actions.push(Action::Answer(waiter.call, Err(error)));
            }
            !late
        });
    }

    /// When the first of those who wait has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiters.iter().filter_map(|waiter| waiter.until).min()
    }
}
