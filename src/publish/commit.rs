//! One commit, step by step, in the order that the promises depend on (docs/ARCHITECTURE.md, "A commit"): drain,
//! swap, invalidate, rename in, ring, unlink.
//!
//! Nothing here holds a lock across a system call or a message. The only system call on a FUSE
//! descriptor is the invalidation of attributes, which never waits; whatever can wait, the hand does.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fuser::{INodeNo, Notifier};
use livemount_engine::diff::{self, Op, Plan};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{ObjectVersion, Snapshot};
use livemount_hand::{Hand, HandError, HandOp, OpResult};

use super::settings::Settings;
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
    pub(super) fn commit(&self, next: &Arc<Snapshot>) -> Outcome {
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let volume = &self.volume;
        let shown = volume.shown();
        let plan = diff::plan(&shown, next);
        if plan.is_empty() {
            volume.relabel(Arc::clone(next));
            return Outcome::Whole;
        }
        let committing = volume.begin(next, &plan, self.settings.drain, &self.parker);
        let drain = volume.drain(&committing, self.settings.drain);
        self.empty_caches(next, &plan);
        let swapped = match volume.swap(next, &plan, self.settings.compat, SystemTime::now()) {
            Ok(swapped) => swapped,
            Err(error) => {
                // A plan is made from what the volume shows, so this is a fault of ours; it must not
                // hold up the opens as well.
                volume.abandon(&plan);
                volume.unpark();
                self.failed_operation("make the new version current".into(), &error.to_string());
                return Outcome::Partly;
            }
        };
        self.invalidate(swapped.changed.iter().copied());
        self.refresh(plan.changed.iter());
        volume.unpark();
        let current = began.elapsed();
        let (failed, outcome) = self.bring(&plan, next, &swapped);
        let older_handles = volume.finish(Arc::clone(next), &plan, &failed);
        self.facts.tell(Fact::Committed(Committed {
            volume: volume.name().into(),
            version: swapped.version,
            objects: next.objects.clone(),
            changed: plan.changed.len(),
            added: plan.added,
            removed: plan.removed,
            failed: failed.len(),
            received: received(&shown, next),
            began: began_at,
            drained: drain.waited,
            unread: drain.unread,
            current,
            took: began.elapsed(),
            older_handles,
        }));
        if swapped.dropped {
            self.facts.tell(Fact::PinsDropped {
                volume: volume.name().into(),
                total: volume.dropped_pins(),
            });
        }
        self.expire();
        outcome
    }

    fn failed_operation(&self, what: String, why: &str) {
        self.facts.tell(Fact::FailedOperation {
            volume: self.volume.name().into(),
            what,
            why: why.to_owned(),
        });
    }

    /// Empties the page cache of the files that will be shorter, before they are.
    fn empty_caches(&self, next: &Snapshot, plan: &Plan) {
        let touched = self.volume.touch_shrinking(next, plan, SystemTime::now());
        self.invalidate(touched.iter().map(|(ino, _)| *ino));
        self.refresh(touched.iter().map(|(_, path)| path));
    }

    /// Tells the kernel that attributes are wrong. Offset -1 leaves the page cache alone and so waits
    /// for nobody (`fuse_reverse_inval_inode`, `fs/fuse/inode.c`). An inode that the kernel does not
    /// know, or a connection that is gone, needs none.
    fn invalidate(&self, inodes: impl Iterator<Item = u64>) {
        for ino in inodes {
            let _ = self.notifier.inval_inode(INodeNo(ino), -1, 0);
        }
    }

    /// Has the hand stat each file: the new mtime makes the kernel drop its page cache.
    fn refresh<'p>(&self, paths: impl Iterator<Item = &'p RelPath>) {
        let paths: Vec<&str> = paths.map(RelPath::as_str).collect();
        if paths.is_empty() {
            return;
        }
        let answers = self.until_done("statx", || self.hand.refresh(self.id, &paths, STUCK));
        match answers {
            Ok(answers) => {
                for (path, errno) in paths.iter().zip(answers) {
                    match errno {
                        // Without a name or a connection there is nothing to keep fresh.
                        None | Some(libc::ENOENT | libc::ENOTCONN | libc::ECONNABORTED) => {}
                        Some(errno) => self.failed_operation(format!("stat {path}"), &words(errno)),
                    }
                }
            }
            Err(error) if gone(&error) => {}
            Err(error) => {
                self.failed_operation("stat the changed files".into(), &error.to_string());
            }
        }
    }

    /// Has the hand look at the folders of former versions, so that the kernel drops what it only
    /// caches of them. Nobody waits for this: it may fail.
    fn expire(&self) {
        let names = self.volume.expired_version_dirs();
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let _ = self.hand.refresh(self.id, &names, STUCK);
        }
    }

    /// Brings the armed changes through the hand. Returns those that could not be brought, and whether
    /// it is worth trying them again.
    fn bring(&self, plan: &Plan, next: &Snapshot, swapped: &Swapped) -> (Vec<Op>, Outcome) {
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
            let op = plan.ops.get(done);
            let what = || op.map_or("replace ..data".into(), describe);
            match answer.map(|(from, results)| refused(from, &results, done)) {
                Ok(None) => {}
                Ok(Some(libc::ENOENT)) if matches!(op, Some(Op::Unlink(_) | Op::Rmdir(_))) => {
                    // It is gone, which is what was wanted.
                    self.volume.give_up(done);
                }
                Ok(Some(libc::ENOTCONN | libc::ECONNABORTED)) => {
                    // With the connection went everybody who could be told.
                    failed.extend(plan.ops.iter().skip(done).cloned());
                    return (failed, Outcome::Whole);
                }
                Ok(Some(errno)) => {
                    self.failed_operation(what(), &words(errno));
                    failed.extend(op.cloned());
                    self.volume.give_up(done);
                }
                Err(error) => {
                    failed.extend(plan.ops.iter().skip(done).cloned());
                    if gone(&error) {
                        return (failed, Outcome::Whole);
                    }
                    self.failed_operation(what(), &error.to_string());
                    return (failed, Outcome::Partly);
                }
            }
        }
        let outcome = if failed.is_empty() {
            Outcome::Whole
        } else {
            Outcome::Partly
        };
        (failed, outcome)
    }

    /// Asks the hand until it has answered: a hand that died is started again by its client, one that
    /// waits in the kernel is told of and waited for.
    fn until_done<T>(
        &self,
        step: &'static str,
        mut ask: impl FnMut() -> Result<T, HandError>,
    ) -> Result<T, HandError> {
        let began = Instant::now();
        let mut told = began;
        loop {
            match ask() {
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
                answer => return answer,
            }
            std::thread::sleep(AGAIN);
        }
    }
}

/// When the newest object that is not the one shown before was received.
fn received(shown: &Snapshot, next: &Snapshot) -> Option<SystemTime> {
    let changed = |object: &&ObjectVersion| !shown.objects.contains(object);
    let changed = next.objects.iter().filter(changed);
    changed.filter_map(|object| object.received).max()
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it was brought, or nobody is left to bring it to.
    Whole,
    /// Some of it has to be tried again.
    Partly,
}

/// Whether an error says that the connection, or this whole process's work, is over.
fn gone(error: &HandError) -> bool {
    matches!(error, HandError::Closed)
        || matches!(error.errno(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

/// An errno in words. 0 is the kernel's yes to what then did not happen.
fn words(errno: i32) -> String {
    match errno {
        0 => "the kernel did not ask for it".into(),
        errno => std::io::Error::from_raw_os_error(errno).to_string(),
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
