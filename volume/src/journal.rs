//! What happened to a volume since it was written down, as data: each question that changed it, in the
//! order in which they were asked.
//!
//! A volume is a function of what it was asked, so a record and the steps after it are the volume of
//! the moment: who reads them back after a crash has lost nothing. A step holds no contents; the
//! snapshot of a commit goes before its steps ([`SnapshotRecord`]). The order of a plan's changes
//! (`livemount_engine::diff`) is part of what a step means: another order is another [`FORMAT`].
//!
//! [`FORMAT`]: crate::FORMAT

use std::sync::Arc;
use std::time::Duration;

use livemount_engine::diff::{self, Plan};
use livemount_engine::object::Bytes;
use livemount_engine::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use crate::armed::Change;
use crate::commit_ops::Compat;
use crate::handles::{Opened, Reader};
use crate::now::{Monotonic, Now};
use crate::number::{HandleNumber, Inode, Ticket, VersionNumber};
use crate::park::OpenAnswer;
use crate::record::{RecordError, Wall};
use crate::state::State;

/// The kernel's number of a request, by which it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestNumber(pub u64);

/// An open that is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedOpen {
    /// By which it is let go.
    pub ticket: Ticket,
    /// The file.
    pub ino: Inode,
    /// By which the kernel is answered.
    pub request: RequestNumber,
}

/// One question that changed a volume. The state's function of the same name says what it means.
#[allow(missing_docs)] // As the arguments there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step<'a> {
    Lookup {
        parent: Inode,
        name: &'a str,
        now: Moment,
        request: RequestNumber,
    },
    Forget {
        ino: Inode,
        count: u64,
    },
    Open {
        ino: Inode,
        write: bool,
        now: Moment,
        wall: Wall,
        request: RequestNumber,
    },
    /// A READ through the handle that reached the file's end.
    ReadToEnd {
        ino: Inode,
        handle: HandleNumber,
    },
    Release {
        handle: HandleNumber,
    },
    Ring {
        ino: Inode,
    },
    Rename {
        from: (Inode, &'a str),
        to: (Inode, &'a str),
    },
    Unlink {
        folder: Inode,
        leaf: &'a str,
    },
    Rmdir {
        folder: Inode,
        leaf: &'a str,
    },
    Unpark {
        now: Moment,
        wall: Wall,
    },
    Relabel,
    Begin {
        drain: u64,
        now: Moment,
    },
    EndDrain {
        now: Moment,
    },
    TouchShrinking {
        wall: Wall,
    },
    /// With the version that it made, so that a reader who would make another one notices.
    Swap {
        dotdata: bool,
        now: Moment,
        wall: Wall,
        version: VersionNumber,
        changes: u64,
    },
    GiveUp {
        index: u64,
    },
    Abandon,
    /// With the places of those that failed, among what was armed.
    Finish {
        failed: Vec<u64>,
    },
}

/// A moment of the machine's clock that never goes back, in nanoseconds: the same for all processes of
/// one boot, which a journal does not outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment(u64);

impl From<Monotonic> for Moment {
    fn from(Monotonic(at): Monotonic) -> Self {
        // Five centuries of uptime fit.
        Self(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Moment> for Monotonic {
    fn from(Moment(nanoseconds): Moment) -> Self {
        Self(Duration::from_nanos(nanoseconds))
    }
}

impl Step<'_> {
    /// A drain's bound as a step has it.
    pub fn drain(bound: Duration) -> u64 {
        u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Which of the armed changes failed, as a step has it.
    pub fn failed(armed: &[Change], failed: &[Change]) -> Vec<u64> {
        let places = (0..).zip(armed);
        let places = places.filter(|(_, change)| failed.contains(change));
        places.map(|(place, _)| place).collect()
    }
}

/// A snapshot written down, all but its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord(crate::record::Snapshot);

impl SnapshotRecord {
    /// Writes a snapshot down, and gives the contents that the record speaks of, in its order.
    pub fn write(snapshot: &Arc<Snapshot>) -> (Self, Vec<Bytes>) {
        let (record, contents) = crate::record::write_snapshot(snapshot);
        (Self(record), contents)
    }

    /// The snapshot that was written, with the contents that were given with it.
    ///
    /// # Errors
    ///
    /// It is not one that [`SnapshotRecord::write`] could have written.
    pub fn read(self, contents: &[Bytes]) -> Result<Snapshot, RecordError> {
        crate::record::read_snapshot(self.0, contents)
    }
}

/// A volume that takes the steps of its journal.
#[derive(Debug)]
pub struct Replay {
    state: State,
    /// What the steps of a commit speak of, and what led there.
    next: Option<(Arc<Snapshot>, Plan)>,
    /// The requests of the opens that are parked.
    parked: Vec<ParkedOpen>,
    /// Those of the opens that were let go last: they may not have been answered.
    let_go: Vec<ParkedOpen>,
    answered: Answered,
}

/// What was done for requests since the record, and before it by a predecessor that was asked again by nobody
/// yet. Answers of the last ones may not have reached the kernel: asked again, they get the same answer, and
/// nothing is counted twice. A request's number is never used again, so one answer too many harms nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Inodes that were looked up.
    pub looked_up: Vec<(RequestNumber, Inode)>,
    /// Handles that were opened.
    pub opened: Vec<(RequestNumber, Opened)>,
}

impl Answered {
    /// How many of each are kept: more than can be under way when a process ends.
    const MOST: usize = 4096;

    fn keep_newest(&mut self) {
        let older = |len: usize| ..len.saturating_sub(Self::MOST);
        self.looked_up.drain(older(self.looked_up.len()));
        self.opened.drain(older(self.opened.len()));
    }
}

/// A volume that has taken all steps of its journal.
#[derive(Debug)]
pub struct Replayed {
    /// The volume.
    pub state: State,
    /// What was being committed, or was last.
    pub next: Option<Arc<Snapshot>>,
    /// The requests of the opens that are parked, or were let go last.
    pub parked: Vec<ParkedOpen>,
    /// What was done for requests since the record.
    pub answered: Answered,
}

impl Replayed {
    /// A volume to which nothing happened.
    pub fn of(state: State) -> Self {
        Self {
            state,
            next: None,
            parked: Vec::new(),
            answered: Answered::default(),
        }
    }
}

impl Replay {
    /// The volume of a record, and what was written with it: the requests of the opens that were parked, and
    /// what a predecessor had done for requests.
    pub fn new(state: State, parked: Vec<ParkedOpen>, answered: Answered) -> Self {
        Self {
            state,
            next: None,
            parked,
            let_go: Vec::new(),
            answered,
        }
    }

    /// The snapshot that the steps after this one speak of.
    pub fn next(&mut self, next: Arc<Snapshot>) {
        let plan = diff::plan(&self.state.shown(), &next);
        self.next = Some((next, plan));
    }

    /// Takes one step.
    ///
    /// # Errors
    ///
    /// The volume answers otherwise than the one that wrote the journal.
    #[allow(clippy::too_many_lines)] // One arm for each question, in their order.
    pub fn step(&mut self, step: &Step<'_>) -> Result<(), RecordError> {
        const OTHERWISE: RecordError = RecordError::Wrong("what happened since");
        let Self {
            state,
            next,
            parked,
            let_go,
            answered,
        } = self;
        let next = || next.as_ref().ok_or(OTHERWISE);

        match *step {
            Step::Lookup {
                parent,
                name,
                now,
                request,
            } => {
                let looked = state.lookup(parent, name, now.into());
                let looked = looked.map_err(|_| OTHERWISE)?;
                answered.looked_up.push((request, looked.attr.ino));
            }
            Step::Forget { ino, count } => state.forget(ino, count),
            Step::Open {
                ino,
                write,
                now,
                wall,
                request,
            } => match state.open(ino, write, moments(now, wall)?) {
                OpenAnswer::Now(opened) => {
                    let opened = opened.map_err(|_| OTHERWISE)?;
                    answered.opened.push((request, opened));
                }
                OpenAnswer::Parked(ticket) => {
                    // One that a predecessor had parked, under a ticket of its own.
                    parked.retain(|parked| parked.request != request);
                    parked.push(ParkedOpen {
                        ticket,
                        ino,
                        request,
                    });
                }
            },
            Step::ReadToEnd { ino, handle } => {
                let all = (0, u32::MAX);
                let read = state.read(ino, handle, all, Reader::Handle);
                read.map(drop).map_err(|_| OTHERWISE)?;
            }
            Step::Release { handle } => {
                state.release(handle);
            }
            Step::Ring { ino } => state.ring(ino).map(drop).map_err(|_| OTHERWISE)?,
            Step::Rename { from, to } => state.rename(from, to).map_err(|_| OTHERWISE)?,
            Step::Unlink { folder, leaf } => state.unlink(folder, leaf).map_err(|_| OTHERWISE)?,
            Step::Rmdir { folder, leaf } => state.rmdir(folder, leaf).map_err(|_| OTHERWISE)?,
            Step::Unpark { now, wall } => {
                for (ticket, opened) in state.unpark(moments(now, wall)?) {
                    let parked = parked.iter().find(|parked| parked.ticket == ticket);
                    if let (Some(parked), Ok(opened)) = (parked, opened) {
                        answered.opened.push((parked.request, opened));
                    }
                }
                *let_go = std::mem::take(parked);
            }
            Step::Relabel => state.relabel(Arc::clone(&next()?.0)),
            Step::Begin { drain, now } => {
                let (next, plan) = next()?;
                state.begin(next, plan, Duration::from_nanos(drain), now.into());
            }
            Step::EndDrain { now } => {
                state.end_drain(now.into());
            }
            Step::TouchShrinking { wall } => {
                let (next, plan) = next()?;
                state.touch_shrinking(next, plan, wall.time()?);
            }
            Step::Swap {
                dotdata,
                now,
                wall,
                version,
                changes,
            } => {
                let (next, plan) = next()?;
                let compat = if dotdata {
                    Compat::Dotdata
                } else {
                    Compat::None
                };
                let swapped = state.swap(next, plan, compat, moments(now, wall)?);
                let swapped = swapped.map_err(|_| OTHERWISE)?;
                if swapped.version != version || swapped.changes.len() as u64 != changes {
                    return Err(OTHERWISE);
                }
            }
            Step::GiveUp { index } => {
                state.give_up(usize::try_from(index).map_err(|_| OTHERWISE)?);
            }
            Step::Abandon => state.abandon(),
            Step::Finish { ref failed } => {
                let armed = state.armed();
                let failed = failed.iter().map(|place| {
                    let place = usize::try_from(*place).ok();
                    place.and_then(|place| armed.get(place)).cloned()
                });
                let failed: Option<Vec<Change>> = failed.collect();
                state.finish(&failed.ok_or(OTHERWISE)?);
            }
        }
        Ok(())
    }

    /// All steps are taken.
    pub fn done(mut self) -> Replayed {
        self.answered.keep_newest();
        self.parked.append(&mut self.let_go);
        Replayed {
            state: self.state,
            next: self.next.map(|(next, _)| next),
            parked: self.parked,
            answered: self.answered,
        }
    }
}

fn moments(now: Moment, wall: Wall) -> Result<Now, RecordError> {
    Ok(Now {
        monotonic: now.into(),
        wall: wall.time()?,
    })
}
