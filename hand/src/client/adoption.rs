//! What the daemon remembers of each volume, to tell it to a new hand.
//!
//! What was answered is recorded only by the thread that reads answers, which is also the one that
//! goes for a new hand: so a new hand is told exactly what was answered. A volume that another daemon
//! had is recorded before the hand is told of it, so that no hand is told less.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::protocol::{Answer, Call, CommitNumber, Control, Last, VolumeNumber, Work};

/// What a hand is told of one volume, with the descriptor of its mount.
pub(super) type Adoption = (Control, Option<Arc<OwnedFd>>);

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
    /// How far the volume is, which another daemon may have asked for.
    Learned {
        volume: VolumeNumber,
    },
}

impl AdoptionUpdate {
    pub(super) fn of(call: &Call) -> Self {
        let work = match call {
            Call::Control(Control::Last { volume }) => return Self::Learned { volume: *volume },
            // What these change is recorded before.
            Call::Control(
                Control::Ping | Control::Adopt { .. } | Control::Hello(_) | Control::Settle,
            ) => return Self::None,
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
            Work::Refresh { .. } | Work::Clear { .. } | Work::Idle { .. } | Work::Abort { .. } => {
                Self::None
            }
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

/// The descriptor of a mount that an answer brought, and the one that it replaces: to be dropped where
/// no lock is held, for it may be the last of a superblock.
#[derive(Default)]
pub(super) struct Brought {
    pub(super) mount: Option<Arc<OwnedFd>>,
    pub(super) replaced: Option<Arc<OwnedFd>>,
}

/// What another daemon had.
pub(super) struct Adopted {
    pub(super) target: Vec<u8>,
    pub(super) created: bool,
    pub(super) bound: bool,
    pub(super) mount: Arc<OwnedFd>,
}

impl AdoptableVolume {
    fn adoption(&self, volume: VolumeNumber) -> Adoption {
        let control = Control::Adopt {
            volume,
            target: self.target.clone(),
            created: self.created,
            bound: self.bound,
            last: self.last,
        };
        (control, self.mount.clone())
    }

    /// Takes a mount's descriptor over from what came beside an answer.
    fn keep(&mut self, beside: &mut Vec<OwnedFd>) -> Brought {
        let Some(mount) = beside.pop().map(Arc::new) else {
            return Brought::default();
        };
        Brought {
            replaced: self.mount.replace(Arc::clone(&mount)),
            mount: Some(mount),
        }
    }
}

impl Adoptions {
    /// Records what an answer changed, and takes the descriptors that stay here out of `beside`.
    pub(super) fn record(
        &mut self,
        update: AdoptionUpdate,
        answer: &Answer,
        beside: &mut Vec<OwnedFd>,
    ) -> Brought {
        let mut brought = Brought::default();
        match (update, answer) {
            (AdoptionUpdate::Prepared { volume, target }, Answer::Prepared(prepared)) => {
                let volume = self.0.entry(volume).or_default();
                volume.target = Some(target);
                volume.created = prepared.created;
                volume.bound &= !prepared.replaced;
            }
            (AdoptionUpdate::Mounted { volume }, Answer::Mounted) if beside.len() == 2 => {
                brought = self.0.entry(volume).or_default().keep(beside);
            }
            (AdoptionUpdate::Bound { volume, target }, Answer::Bound) => {
                let volume = self.0.entry(volume).or_default();
                volume.target = Some(target);
                volume.bound = true;
                brought = volume.keep(beside);
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
                brought.replaced = self.0.remove(&volume).and_then(|volume| volume.mount);
            }
            (AdoptionUpdate::Learned { volume }, Answer::Progress(progress)) => {
                // The answer to an operation may have overtaken this one.
                let place = |last: &Last| (last.commit, last.index);
                if let Some(volume) = self.0.get_mut(&volume)
                    && progress.last.as_ref().map(place) > volume.last.as_ref().map(place)
                {
                    volume.last = progress.last;
                }
            }
            _ => {}
        }
        brought
    }

    /// Records a volume that another daemon had, and says how a hand is told of it. The mount that
    /// this replaces is to be dropped where no lock is held.
    pub(super) fn take_over(
        &mut self,
        volume: VolumeNumber,
        adopted: Adopted,
    ) -> (Adoption, Option<Arc<OwnedFd>>) {
        let entry = self.0.entry(volume).or_default();
        entry.target = Some(adopted.target);
        (entry.created, entry.bound) = (adopted.created, adopted.bound);
        let replaced = entry.mount.replace(adopted.mount);
        (entry.adoption(volume), replaced)
    }

    /// Gives up a mount's descriptor; the caller drops it where no lock is held.
    pub(super) fn take_mount(&mut self, volume: VolumeNumber) -> Option<Arc<OwnedFd>> {
        self.0.get_mut(&volume)?.mount.take()
    }

    /// What a new hand is told.
    pub(super) fn calls(&self) -> Vec<Adoption> {
        self.0
            .iter()
            .map(|(volume, entry)| entry.adoption(*volume))
            .collect()
    }
}
