//! What the daemon remembers of each volume, to tell it to a new hand.
//!
//! It is changed only by the thread that reads answers, which is also the one that starts a new
//! hand: so a new hand is told exactly what was answered.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::protocol::{Answer, Call, CommitNumber, Control, Last, VolumeNumber, Work};

/// What a call changes if it is answered well.
#[derive(Debug, Clone)]
pub(super) enum AdoptionUpdate {
    None,
    Prepared {
        volume: VolumeNumber,
        target: Vec<u8>,
    },
    Mounted {
        volume: VolumeNumber,
    },
    Bound {
        volume: VolumeNumber,
        target: Vec<u8>,
    },
    Ran {
        volume: VolumeNumber,
        commit: CommitNumber,
        first: u32,
    },
    Unbound {
        volume: VolumeNumber,
    },
    Forgotten {
        volume: VolumeNumber,
    },
}

impl AdoptionUpdate {
    pub(super) fn of(call: &Call) -> Self {
        let work = match call {
            // Nothing that the main thread answers at once changes anything.
            Call::Control(Control::Ping | Control::Adopt { .. } | Control::Last { .. }) => {
                return Self::None;
            }
            Call::Work(work) => work,
        };
        match work {
            Work::Prepare { volume, target, .. } => Self::Prepared {
                volume: *volume,
                target: target.clone(),
            },
            Work::Mount { volume } => Self::Mounted { volume: *volume },
            Work::Bind { volume, target } => Self::Bound {
                volume: *volume,
                target: target.clone(),
            },
            Work::Run {
                volume,
                commit,
                first,
                ..
            } => Self::Ran {
                volume: *volume,
                commit: *commit,
                first: *first,
            },
            Work::Unbind { volume, .. } => Self::Unbound { volume: *volume },
            Work::Forget { volume, .. } => Self::Forgotten { volume: *volume },
            Work::Refresh { .. } | Work::Clear { .. } => Self::None,
        }
    }
}

/// What all volumes need to be adopted.
#[derive(Default)]
pub(super) struct Adoptions(BTreeMap<VolumeNumber, AdoptableVolume>);

#[derive(Default)]
struct AdoptableVolume {
    target: Option<Vec<u8>>,
    created: bool,
    bound: bool,
    mount: Option<Arc<OwnedFd>>,
    last: Option<Last>,
}

impl Adoptions {
    /// Records what an answer changed, and takes the descriptors that stay here out of `beside`. What
    /// they replace is given back, to be dropped where no lock is held: it may be the last of a
    /// superblock.
    pub(super) fn record(
        &mut self,
        update: AdoptionUpdate,
        answer: &Answer,
        beside: &mut Vec<OwnedFd>,
    ) -> Option<Arc<OwnedFd>> {
        let mut replaced = None;
        match (update, answer) {
            (AdoptionUpdate::Prepared { volume, target }, Answer::Prepared(prepared)) => {
                let volume = self.0.entry(volume).or_default();
                volume.target = Some(target);
                volume.created = prepared.created;
                volume.bound &= !prepared.replaced;
            }
            (AdoptionUpdate::Mounted { volume }, Answer::Mounted) if beside.len() == 2 => {
                let volume = self.0.entry(volume).or_default();
                replaced = std::mem::replace(&mut volume.mount, beside.pop().map(Arc::new));
            }
            (AdoptionUpdate::Bound { volume, target }, Answer::Bound) => {
                let volume = self.0.entry(volume).or_default();
                volume.target = Some(target);
                volume.bound = true;
                if let Some(mount) = beside.pop() {
                    replaced = volume.mount.replace(Arc::new(mount));
                }
            }
            (
                AdoptionUpdate::Ran {
                    volume,
                    commit,
                    first,
                },
                Answer::Ran(results),
            ) => {
                if let (Some(volume), [before @ .., result]) =
                    (self.0.get_mut(&volume), &results[..])
                {
                    let before = u32::try_from(before.len()).unwrap_or(u32::MAX);
                    let index = first.saturating_add(before);
                    volume.last = Some(Last {
                        commit,
                        index,
                        result: *result,
                    });
                }
            }
            (AdoptionUpdate::Unbound { volume }, Answer::Done) => {
                if let Some(volume) = self.0.get_mut(&volume) {
                    volume.bound = false;
                }
            }
            (AdoptionUpdate::Forgotten { volume }, Answer::Done) => {
                replaced = self.0.remove(&volume).and_then(|volume| volume.mount);
            }
            _ => {}
        }
        replaced
    }

    /// Gives up a mount's descriptor; the caller drops it where no lock is held.
    pub(super) fn take_mount(&mut self, volume: VolumeNumber) -> Option<Arc<OwnedFd>> {
        self.0.get_mut(&volume)?.mount.take()
    }

    /// What a new hand is told.
    pub(super) fn calls(&self) -> Vec<(Control, Option<Arc<OwnedFd>>)> {
        let adoption = |(id, volume): (&VolumeNumber, &AdoptableVolume)| {
            let target = volume.target.clone();
            let control = Control::Adopt {
                volume: *id,
                target,
                created: volume.created,
                bound: volume.bound,
                last: volume.last,
            };
            (control, volume.mount.clone())
        };
        self.0.iter().map(adoption).collect()
    }
}
