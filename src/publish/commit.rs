//! One commit, step by step, in the order that the promises depend on (docs/ARCHITECTURE.md, "A commit"): drain,
//! swap, invalidate, rename in, ring, unlink.
//!
//! Nothing here holds a lock across a system call or a message. The only system call on a FUSE
//! descriptor is the invalidation of attributes, which never waits; whatever can wait, the hand does.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fuser::Notifier;
use livemount_engine::diff::{self, Plan};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{ObjectVersion, Snapshot};
use livemount_hand::{CommitNumber, Hand, HandError, HandOp, OpResult, VolumeNumber};
use livemount_volume::{Change, Committing, DOTDATA, Inode, Swapped};

use super::queue::{Commit, Outcome};
use super::settings::Settings;
use crate::fs::nodeid;
use crate::observe::{Committed, Fact, Facts};
use crate::served::{Parker, SharedVolume};

/// After how long a step in the kernel is told as stuck. Nothing is given up then: the order of a
/// commit is a promise, and only this volume waits.
const STUCK: Duration = Duration::from_secs(5);

/// How long to wait before a dead hand's work is asked again.
const AGAIN: Duration = Duration::from_millis(20);

pub(super) struct Committer {
    pub(super) id: VolumeNumber,
    pub(super) volume: Arc<SharedVolume>,
    pub(super) hand: Hand,
    pub(super) parker: Parker,
    pub(super) notifier: Notifier,
    pub(super) facts: Facts,
    pub(super) settings: Settings,
}

impl Commit for Committer {
    /// Makes a snapshot current and lets the kernel tell of it.
    fn commit(&self, next: &Arc<Snapshot>) -> Outcome {
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let volume = &self.volume;
        let shown = volume.shown();
        volume.store_next(next);
        self.tell_unkept();
        let plan = diff::plan(&shown, next);
        if plan.is_empty() {
            volume.relabel(Arc::clone(next));
            return Outcome::Whole;
        }
        volume.begin(next, &plan, self.settings.drain, &self.parker);
        let drain = volume.drain(self.settings.drain);
        self.empty_caches(next, &plan);
        let swapped = match volume.swap(next, &plan, self.settings.compat) {
            Ok(swapped) => swapped,
            Err(error) => {
                // A plan is made from what the volume shows, so this is a fault of ours; it must not
                // hold up the opens as well.
                volume.abandon();
                volume.unpark();
                self.failed_operation("make the new version current".into(), &error.to_string());
                return Outcome::Partly;
            }
        };
        self.invalidate(swapped.changed.iter().copied());
        self.refresh(plan.changed.iter());
        volume.unpark();
        let current = began.elapsed();
        let (failed, outcome) = self.bring(&swapped);
        let older_handles = volume.finish(&failed);
        self.facts.tell(Fact::Committed(Committed {
            volume: volume.name().into(),
            version: swapped.version.0,
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

    /// Takes up a commit whose bytes were made current by another process, or gives up one whose bytes were
    /// not: nothing of it could be seen, and what it was of is offered again.
    fn resume(&self) -> Outcome {
        let volume = &self.volume;
        match volume.committing() {
            Committing::No => return Outcome::Whole,
            Committing::Begun => {
                // Its readers have not had their delay: the commit that is offered again waits for them.
                volume.abandon();
                volume.unpark();
                return Outcome::Whole;
            }
            Committing::Swapped => {}
        }
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let (swapped, names) = volume.swapped();
        // First, for it waits for nobody: whoever asks for a size has the new one from here on.
        self.invalidate(swapped.changed.iter().copied());
        // The hand may still be at it, and goes on now that it is answered.
        let _gone = self.until_done("wait for the hand", || self.hand.idle(self.id, STUCK));
        self.refresh(names.iter());
        volume.unpark();
        let current = began.elapsed();
        let (failed, outcome) = self.bring(&swapped);
        let older_handles = volume.finish(&failed);
        let shown = volume.shown();
        let count = |wanted: fn(&Change) -> bool| {
            swapped
                .changes
                .iter()
                .filter(|change| wanted(change))
                .count()
        };
        self.facts.tell(Fact::Committed(Committed {
            volume: volume.name().into(),
            version: swapped.version.0,
            objects: shown.objects.clone(),
            changed: count(|change| matches!(change, Change::Ring { .. })),
            added: count(|change| matches!(change, Change::Rename { .. })),
            removed: count(|change| matches!(change, Change::Unlink { .. })),
            failed: failed.len(),
            received: None,
            began: began_at,
            drained: Duration::ZERO,
            unread: 0,
            current,
            took: began.elapsed(),
            older_handles,
        }));
        self.expire();
        outcome
    }

    fn rest(&self) {
        self.volume.tidy_up();
        self.tell_unkept();
    }

    fn thread_name(&self) -> String {
        format!("commit-{}", self.id)
    }

    fn no_thread(&self, error: &io::Error) {
        self.facts.tell(Fact::NoThread {
            volume: self.volume.name().into(),
            why: error.to_string(),
        });
    }
}

impl Committer {
    fn failed_operation(&self, what: String, why: &str) {
        self.facts.tell(Fact::FailedOperation {
            volume: self.volume.name().into(),
            what,
            why: why.to_owned(),
        });
    }

    /// Tells once that the volume is not kept though it should be.
    fn tell_unkept(&self) {
        if let Some(error) = self.volume.kept_failure() {
            self.failed_operation("keep the volume for a restart".into(), &error.to_string());
        }
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
    fn invalidate(&self, inodes: impl Iterator<Item = Inode>) {
        for ino in inodes {
            let _ = self.notifier.inval_inode(nodeid(ino), -1, 0);
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
    fn bring(&self, swapped: &Swapped) -> (Vec<Change>, Outcome) {
        let changes = &swapped.changes;
        let mtime = Mtime::of(swapped.mtime);
        let ops: Vec<HandOp> = changes
            .iter()
            .map(|change| hand_op(change, mtime))
            .collect();
        // What compatibility adds shows in no snapshot, and comes with the next commit anyway.
        let shows = |change: &&Change| **change != Change::Dotdata;
        let mut failed = Vec::new();
        while self.volume.done() < changes.len() {
            let answer = self.until_done("event", || {
                // A hand that died may have brought some: only the rest is asked.
                let from = self.volume.done();
                let first = u32::try_from(from).unwrap_or(u32::MAX);
                let commit = CommitNumber(swapped.version.0.into());
                let results = match &ops[from..] {
                    // The last hand brought the last one before it died.
                    [] => Vec::new(),
                    rest => self.hand.run(self.id, commit, first, rest, STUCK)?,
                };
                Ok((from, results))
            });
            let done = self.volume.done();
            let Some(change) = changes.get(done) else {
                break;
            };
            match answer.map(|(from, results)| refused(from, &results, done)) {
                Ok(None) => {}
                Ok(Some(libc::ENOENT))
                    if matches!(change, Change::Unlink { .. } | Change::Rmdir { .. }) =>
                {
                    // It is gone, which is what was wanted.
                    self.volume.give_up(done);
                }
                Ok(Some(libc::ENOTCONN | libc::ECONNABORTED)) => {
                    // With the connection went everybody who could be told.
                    failed.extend(changes.iter().skip(done).filter(shows).cloned());
                    return (failed, Outcome::Whole);
                }
                Ok(Some(errno)) => {
                    self.failed_operation(describe(change), &words(errno));
                    failed.extend(Some(change).filter(shows).cloned());
                    self.volume.give_up(done);
                }
                Err(error) => {
                    failed.extend(changes.iter().skip(done).filter(shows).cloned());
                    if gone(&error) {
                        return (failed, Outcome::Whole);
                    }
                    self.failed_operation(describe(change), &error.to_string());
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
                Err(HandError::Died) => {
                    self.facts.tell(Fact::HandDied);
                    // One that runs apart may live, and be at it still: only its connection went.
                    let _nothing_under_way = self.hand.idle(self.id, STUCK);
                }
                Err(
                    HandError::Slow { .. }
                    | HandError::Stuck
                    | HandError::Replaced
                    | HandError::Unreachable { .. },
                ) => {
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

/// Whether an error says that the connection, or this whole process's work, is over.
fn gone(error: &HandError) -> bool {
    matches!(error, HandError::Closed)
        || matches!(error.errno(), Some(libc::ENOTCONN | libc::ECONNABORTED))
}

/// An errno in words. 0 is the kernel's yes to what then did not happen.
fn words(errno: i32) -> String {
    match errno {
        0 => "the kernel did not ask for it".into(),
        errno => io::Error::from_raw_os_error(errno).to_string(),
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

/// A modification time as the hand is told it.
#[derive(Clone, Copy)]
struct Mtime {
    sec: i64,
    nsec: u32,
}

impl Mtime {
    fn of(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nsec: since.subsec_nanos(),
        }
    }
}

/// What the hand is asked for a change.
fn hand_op(change: &Change, mtime: Mtime) -> HandOp {
    let (mtime_sec, mtime_nsec) = (mtime.sec, mtime.nsec);
    let path = change.path().to_owned();
    match change {
        Change::Rename { stage, .. } => HandOp::Rename {
            stage: stage.clone(),
            path,
        },
        Change::Ring {
            executable: false, ..
        } => HandOp::Ring {
            path,
            mtime_sec,
            mtime_nsec,
        },
        Change::Ring {
            executable: true, ..
        } => HandOp::Touch {
            path,
            mtime_sec,
            mtime_nsec,
        },
        Change::Unlink { .. } => HandOp::Unlink { path },
        Change::Rmdir { .. } => HandOp::Rmdir { path },
        Change::Dotdata => HandOp::Rename {
            stage: DOTDATA.into(),
            path,
        },
    }
}

fn describe(change: &Change) -> String {
    let path = change.path();
    match change {
        Change::Rename { .. } => format!("rename in {path}"),
        Change::Ring { .. } => format!("ring {path}"),
        Change::Unlink { .. } => format!("unlink {path}"),
        Change::Rmdir { .. } => format!("rmdir {path}"),
        Change::Dotdata => format!("replace {path}"),
    }
}
