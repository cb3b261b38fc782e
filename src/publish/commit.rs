//! One commit, step by step, in the order that the promises depend on (design.md section 7): drain,
//! swap, invalidate, rename in, ring, unlink.
//!
//! Nothing here holds a lock across a system call or a message. The only system call on a FUSE
//! descriptor is the invalidation of attributes, which never waits; whatever can wait, the hand does.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fuser::{INodeNo, Notifier};
use livemount_engine::diff::{self, Op, Plan};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::Snapshot;
use livemount_hand::{Hand, HandError, HandOp, OpResult};

use super::Settings;
use crate::observe::{Committed, Fact, Facts};
use crate::volume::{ArmedOp, DOTDATA, Parker, Swapped, Volume};

/// After how long a step in the kernel is told as stuck. Nothing is given up then: the order of a
/// commit is a promise, and only this volume waits.
const STUCK: Duration = Duration::from_secs(5);

/// How long to wait before a dead hand's work is asked again.
const AGAIN: Duration = Duration::from_millis(20);

pub(super) struct Committer {
    pub(super) id: u64,
    pub(super) volume: Arc<Volume>,
    pub(super) hand: Hand,
    pub(super) parker: Parker,
    pub(super) notifier: Notifier,
    pub(super) facts: Facts,
    pub(super) settings: Settings,
}

impl Committer {
    /// Makes a snapshot current and lets the kernel tell of it.
    pub(super) fn commit(&self, next: Arc<Snapshot>) {
        let began = Instant::now();
        let volume = &self.volume;
        let plan = diff::plan(&volume.shown(), &next);
        if plan.is_empty() {
            volume.relabel(next);
            return;
        }
        let committing = volume.begin(&plan, self.settings.drain, &self.parker);
        let drain = volume.drain(&committing, self.settings.drain);
        let swapped = match volume.swap(&next, &plan, self.settings.compat, SystemTime::now()) {
            Ok(swapped) => swapped,
            Err(denied) => {
                // The plan was made from what the volume shows, so its paths are there.
                unreachable!("the plan does not fit the volume it was made for: {denied}");
            }
        };
        self.invalidate(&swapped);
        self.refresh(&plan);
        volume.unpark();
        let failed = self.bring(&plan, &next, &swapped);
        let objects = next.objects.clone();
        let older_handles = volume.finish(next, &plan, &failed);
        self.expire();
        self.tell(Committed {
            volume: volume.name().into(),
            version: swapped.version,
            objects,
            changed: plan.changed.len(),
            added: plan.added,
            removed: plan.removed,
            drained: drain.waited,
            unread: drain.unread,
            took: began.elapsed(),
            older_handles,
        });
    }

    fn tell(&self, committed: Committed) {
        self.facts.tell(Fact::Committed(committed));
    }

    /// Tells the kernel that attributes are wrong. Offset -1 leaves the page cache alone and so waits
    /// for nobody (`fuse_reverse_inval_inode`, `fs/fuse/inode.c`). An inode that the kernel does not
    /// know, or a connection that is gone, needs none.
    fn invalidate(&self, swapped: &Swapped) {
        for ino in &swapped.changed {
            let _ = self.notifier.inval_inode(INodeNo(*ino), -1, 0);
        }
    }

    /// Has the hand stat each changed file: the new mtime makes the kernel drop its page cache.
    fn refresh(&self, plan: &Plan) {
        let paths: Vec<&str> = plan.changed.iter().map(RelPath::as_str).collect();
        if paths.is_empty() {
            return;
        }
        self.until_done("statx", || {
            self.hand.refresh(self.id, &paths, STUCK).map(drop)
        });
    }

    /// Has the hand look at the folders of former versions, so that the kernel drops what it only
    /// caches of them. Nobody waits for this: it may fail.
    fn expire(&self) {
        let names = self.volume.expired_views();
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let _ = self.hand.refresh(self.id, &names, STUCK);
        }
    }

    /// Brings the armed changes through the hand. Returns those that could not be brought.
    fn bring(&self, plan: &Plan, next: &Snapshot, swapped: &Swapped) -> Vec<Op> {
        let ops = hand_ops(plan, next, swapped);
        let mut failed = Vec::new();
        while self.volume.done() < ops.len() {
            let answer = self.until_done("event", || {
                // A hand that died may have brought some: only the rest is asked.
                let from = self.volume.done();
                let first = u32::try_from(from).unwrap_or(u32::MAX);
                let commit = swapped.version.into();
                let results = match &ops[from..] {
                    // The last hand brought the last one before it died.
                    [] => Vec::new(),
                    rest => self.hand.run(self.id, commit, first, rest, STUCK)?,
                };
                Ok((from, results))
            });
            let done = self.volume.done();
            if done == ops.len() {
                break;
            }
            let refusal = answer
                .as_ref()
                .map(|(from, results)| refused(*from, results, done));
            match refusal {
                Some(None) => {}
                None | Some(Some(libc::ENOTCONN | libc::ECONNABORTED)) => {
                    // The connection is gone, and with it everybody who could be told.
                    failed.extend(plan.ops.iter().skip(done).cloned());
                    return failed;
                }
                Some(Some(errno)) => {
                    let op = plan.ops.get(done);
                    self.facts.tell(Fact::Unbrought {
                        volume: self.volume.name().into(),
                        what: op.map_or("replace ..data".into(), describe),
                        errno,
                    });
                    failed.extend(op.cloned());
                    self.volume.give_up();
                }
            }
        }
        failed
    }

    /// Asks the hand until it has answered: a hand that died is started again by its client, one that
    /// waits in the kernel is told of and waited for. Nothing where the mount itself is gone.
    fn until_done<T>(
        &self,
        step: &'static str,
        mut ask: impl FnMut() -> Result<T, HandError>,
    ) -> Option<T> {
        let began = Instant::now();
        let mut told = began;
        loop {
            match ask() {
                Ok(answer) => return Some(answer),
                Err(HandError::Died) => self.facts.tell(Fact::HandDied),
                Err(HandError::Slow { .. } | HandError::Stuck) => {
                    if told.elapsed() >= STUCK {
                        told = Instant::now();
                        self.facts.tell(Fact::Stuck {
                            volume: self.volume.name().into(),
                            step,
                            since: began.elapsed(),
                        });
                    }
                }
                Err(_) => return None,
            }
            std::thread::sleep(AGAIN);
        }
    }
}

/// Why the live change was not brought, where it was not. The hand stops at the first that fails;
/// `done` says what reached the volume, by whomever.
fn refused(from: usize, results: &[OpResult], done: usize) -> Option<i32> {
    let failure = results
        .iter()
        .zip(from..)
        .find_map(|(result, at)| match result {
            OpResult::Failed(errno) => Some((at, *errno)),
            _ => None,
        });
    match failure {
        // Somebody else brought it first, or an earlier asking of ours did.
        Some((at, _)) if at < done => None,
        Some((_, errno)) => Some(errno),
        // The kernel said yes without asking the volume: a name that was there already.
        None if done < from + results.len().max(1) => Some(0),
        None => None,
    }
}

fn hand_ops(plan: &Plan, next: &Snapshot, swapped: &Swapped) -> Vec<HandOp> {
    let mtime = swapped
        .mtime
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mtime_sec = i64::try_from(mtime.as_secs()).unwrap_or(i64::MAX);
    let mtime_nsec = mtime.subsec_nanos();
    // A file that may be executed is never opened for writing: an exec in that moment would fail
    // with ETXTBSY.
    let executable = |path: &RelPath| {
        next.file(path.as_str())
            .is_some_and(|file| file.mode & 0o111 != 0)
    };
    let brought = |(index, armed): (usize, &ArmedOp)| {
        let Some(path) = plan.ops.get(index).map(Op::path) else {
            // What compatibility adds stands behind the plan's own.
            return HandOp::Rename {
                stage: DOTDATA.into(),
                path: DOTDATA.into(),
            };
        };
        let ring = !executable(path);
        let path = path.to_string();
        match armed {
            ArmedOp::Rename { stage, .. } => HandOp::Rename {
                stage: stage.clone(),
                path,
            },
            ArmedOp::Ring { .. } if ring => HandOp::Ring {
                path,
                mtime_sec,
                mtime_nsec,
            },
            ArmedOp::Ring { .. } | ArmedOp::Dotdata => HandOp::Touch {
                path,
                mtime_sec,
                mtime_nsec,
            },
            ArmedOp::Unlink { .. } => HandOp::Unlink { path },
            ArmedOp::Rmdir { .. } => HandOp::Rmdir { path },
        }
    };
    swapped.ops.iter().enumerate().map(brought).collect()
}

fn describe(op: &Op) -> String {
    match op {
        Op::Rename(path) => format!("rename in {path}"),
        Op::Ring(path) => format!("ring {path}"),
        Op::Unlink(path) => format!("unlink {path}"),
        Op::Rmdir(path) => format!("rmdir {path}"),
    }
}
