//! The daemon's side: calls that wait for their answers, and the hand's restart when it dies.
//!
//! It makes no system call on a mount. The descriptors of the mounts are only kept here, so that a
//! new hand can be given them. Calls may come from any number of threads; answers are told apart by
//! number, so none waits for another's. One thread reads, pings and restarts.

mod adoption;
mod batching;
mod child;
mod options;
mod peer;
mod succession;
mod supervisor;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::HandError;
use crate::protocol::{
    Answer, Call, CommitNumber, Control, HandOp, OpResult, Prepared, Progress, Unbind,
    VolumeNumber, Work,
};
use batching::{batches, bytes, check, left, names};
pub use options::{ClientOptions, Reach};
use supervisor::{Answered, Supervisor};

/// For what has no time of its own to be done in. Slow only where a filesystem at a target is slow.
const WITHIN: Duration = Duration::from_secs(10);
/// How often a call that may be repeated is, when hands die under it.
const ATTEMPTS: u32 = 3;

/// The daemon's hold on its hand. Clones are the same hand; when the last is dropped the hand is
/// told to end, or left where it is if it runs apart.
///
/// Beside what each says of itself, a call fails with [`HandError::Slow`] or [`HandError::Stuck`]
/// where its time is past, with [`HandError::Died`] where no hand lived long enough to answer, with
/// [`HandError::Closed`] after [`Hand::close`], and with [`HandError::Os`] where the kernel refused.
#[derive(Clone)]
pub struct Hand(Arc<HandOwner>);

/// How the hand does, for metrics and `doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HandStatus {
    /// There is a hand, and it has been given everything.
    pub up: bool,
    /// How often it died and was started again.
    pub restarts: u64,
    /// Operations that it had begun and not ended when it last answered a ping.
    pub busy: u32,
    /// Those of them that were past their time.
    pub late: u32,
}

/// A volume's connection, as it was made. Who keeps the two descriptors for a successor
/// ([`Hand::adopt`]) must not touch the mount by them.
#[derive(Debug)]
pub struct Connection {
    /// `/dev/fuse`, where it is served.
    pub device: OwnedFd,
    /// The writable mount, which has no path. This [`Hand`] holds it too, until [`Hand::forget`]; by
    /// then all other references should be gone, so that a superblock never ends in the daemon.
    pub mount: Arc<OwnedFd>,
}

/// A list of operations that was not done to its end, or whose end is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} operations are known to have been done: {why}", done.len())]
pub struct Unfinished {
    /// Results of the first operations, as far as they are known. [`Hand::last`] may know more.
    pub done: Vec<OpResult>,
    /// Why there are no more.
    #[source]
    pub why: HandError,
}

impl From<Unfinished> for HandError {
    fn from(unfinished: Unfinished) -> Self {
        unfinished.why
    }
}

impl Hand {
    /// Starts the hand, before any thread of its own, or goes to one that runs apart, for 10 seconds
    /// where there is none yet; and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`HandError::Start`]; [`HandError::Died`] where it ended at once, for a root that is not a
    /// directory for example (its log says). Apart: [`HandError::Unreachable`], [`HandError::Version`].
    pub fn start(options: ClientOptions) -> Result<Self, HandError> {
        let hand = Self(Arc::new(HandOwner(supervisor::start(options)?)));
        hand.supervisor().call(Control::Ping, WITHIN)?;
        Ok(hand)
    }

    /// Makes a target ready: makes the directory (not its parents) if it is missing, detaches a
    /// dead livemount. For a volume that is bound there and alive, nothing is left to do.
    ///
    /// # Errors
    ///
    /// [`HandError::Occupied`] where another live livemount is; [`HandError::NotADirectory`];
    /// [`HandError::NotEmpty`] unless `over`; [`HandError::OutsideRoots`];
    /// [`HandError::StillBound`].
    pub fn prepare(
        &self,
        volume: VolumeNumber,
        target: &Path,
        over: bool,
    ) -> Result<Prepared, HandError> {
        let target = bytes(target);
        match self
            .repeat(
                WITHIN,
                Work::Prepare {
                    volume,
                    target,
                    over,
                },
            )?
            .answer
        {
            Answer::Prepared(prepared) => Ok(prepared),
            _ => Err(HandError::Malformed),
        }
    }

    /// Makes the volume's connection and its detached writable mount. A connection that the volume had
    /// is forgotten; it must not be bound.
    ///
    /// # Errors
    ///
    /// [`HandError::StillBound`]; [`HandError::Os`] where the kernel makes no FUSE mount.
    pub fn mount(&self, volume: VolumeNumber) -> Result<Connection, HandError> {
        let mut brought = self.repeat(WITHIN, Work::Mount { volume })?;
        match (brought.beside.pop(), brought.mount) {
            (Some(device), Some(mount)) => Ok(Connection { device, mount }),
            _ => Err(HandError::Malformed),
        }
    }

    /// Binds the volume's `files/` to the target, read-only. The volume's session must be
    /// answering by now: the name is looked up. Binding it again where it is bound is no error. Where
    /// the kernel (before 6.15) used the volume's mount up in it, the new one is given; else none.
    ///
    /// # Errors
    ///
    /// [`HandError::NoVolume`] before [`Hand::mount`]; [`HandError::StillBound`] where it is bound to
    /// another target; [`HandError::Occupied`] where another livemount is; [`HandError::NotADirectory`];
    /// [`HandError::OutsideRoots`]; [`HandError::Os`] where the target is missing.
    pub fn bind(
        &self,
        volume: VolumeNumber,
        target: &Path,
    ) -> Result<Option<Arc<OwnedFd>>, HandError> {
        let target = bytes(target);
        self.repeat(WITHIN, Work::Bind { volume, target })
            .map(|brought| brought.mount)
    }

    /// Has the kernel ask for the attributes of each file afresh, which drops the page cache of
    /// those whose time has moved. Paths are relative to `files/`; the answers are in their order,
    /// an errno where it failed.
    ///
    /// # Errors
    ///
    /// [`HandError::BadPath`], before any is asked for that would be in one message with it;
    /// [`HandError::NoVolume`] before [`Hand::mount`]. A file that fails is no error.
    pub fn refresh(
        &self,
        volume: VolumeNumber,
        paths: &[&str],
        within: Duration,
    ) -> Result<Vec<Option<i32>>, HandError> {
        let deadline = Instant::now() + within;
        let mut answers = Vec::with_capacity(paths.len());
        for batch in batches(paths, |path| path.len()) {
            check(batch.iter().copied())?;
            let paths = batch.iter().map(|path| (*path).to_owned()).collect();
            match self
                .repeat(left(deadline), Work::Refresh { volume, paths })?
                .answer
            {
                Answer::Refreshed(some) if some.len() == batch.len() => answers.extend(some),
                _ => return Err(HandError::Malformed),
            }
        }
        Ok(answers)
    }

    /// Does operations in their order, up to the first that fails. They are numbered within the
    /// commit from `first` on; the hand remembers the last one of each volume ([`Hand::last`]).
    /// This is the one call that is never repeated here: a ring must not be doubled.
    ///
    /// # Errors
    ///
    /// [`HandError::Slow`]: they go on in the hand. [`HandError::Stuck`]: not begun.
    /// [`HandError::Died`]: some of them may be done; the caller repeats what [`Hand::last`] does
    /// not tell to be done. With each come the results that are known. (Where the hand runs apart they
    /// may also be going on, if it was the connection that ended: [`Hand::idle`] first.)
    pub fn run(
        &self,
        volume: VolumeNumber,
        commit: CommitNumber,
        first: u32,
        ops: &[HandOp],
        within: Duration,
    ) -> Result<Vec<OpResult>, Unfinished> {
        let deadline = Instant::now() + within;
        let mut done = Vec::with_capacity(ops.len());
        let mut first = first;
        for batch in batches(ops, |op| names(op).map(str::len).sum()) {
            let ran = check(batch.iter().flat_map(names)).and_then(|()| {
                let ops = batch.to_vec();
                self.supervisor().call(
                    Work::Run {
                        volume,
                        commit,
                        first,
                        ops,
                    },
                    left(deadline),
                )
            });
            match ran.map(|brought| brought.answer) {
                Ok(Answer::Ran(some)) if some.len() == batch.len() => done.extend(some),
                Ok(Answer::Ran(some)) if stopped(&some, batch.len()) => {
                    done.extend(some);
                    return Ok(done);
                }
                Ok(_) => {
                    return Err(Unfinished {
                        done,
                        why: HandError::Malformed,
                    });
                }
                Err(why) => return Err(Unfinished { done, why }),
            }
            first = first.saturating_add(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        }
        Ok(done)
    }

    /// How far the volume's operations have come, whichever daemon asked for them. Answered at once,
    /// also while one is stuck. After a hand died it tells what had been answered to this daemon.
    ///
    /// # Errors
    ///
    /// [`HandError::NoVolume`] where the volume was never prepared, or is forgotten.
    pub fn last(&self, volume: VolumeNumber) -> Result<Progress, HandError> {
        match self.repeat(WITHIN, Control::Last { volume })?.answer {
            Answer::Progress(progress) => Ok(progress),
            _ => Err(HandError::Malformed),
        }
    }

    /// Takes the volume away from its target; where it is not there any more, nothing is left to
    /// do. It does not wait for what is stuck in the volume's files.
    ///
    /// # Errors
    ///
    /// [`HandError::Busy`] with [`Unbind::IfIdle`]; [`HandError::Covered`] where something else is
    /// mounted on top.
    pub fn unbind(&self, volume: VolumeNumber, how: Unbind) -> Result<(), HandError> {
        self.repeat(WITHIN, Work::Unbind { volume, how }).map(drop)
    }

    /// Gives up the volume's mount, here and in the hand, and removes the target directory if a
    /// hand made it. Unbind it first.
    ///
    /// # Errors
    ///
    /// [`HandError::Os`] where the directory cannot be removed: it is not empty, or something is
    /// mounted there. The volume is forgotten nevertheless.
    pub fn forget(&self, volume: VolumeNumber, remove_target: bool) -> Result<(), HandError> {
        // First our copy: the last one should be the hand's, so that a superblock never ends in
        // the daemon.
        self.supervisor().drop_mount(volume);
        self.repeat(
            WITHIN,
            Work::Forget {
                volume,
                remove_target,
            },
        )
        .map(drop)
    }

    /// Takes away whatever livemount is at a target, dead or alive and anybody's, and removes the
    /// directory, which must be empty then. Where there is neither, nothing is left to do. For a
    /// target of which only its path is known.
    ///
    /// # Errors
    ///
    /// [`HandError::OutsideRoots`]; [`HandError::NotADirectory`]; [`HandError::Os`] where the
    /// directory cannot be removed: it is not empty, or something else is mounted there.
    pub fn clear(&self, target: &Path) -> Result<(), HandError> {
        let target = bytes(target);
        self.repeat(WITHIN, Work::Clear { target }).map(drop)
    }

    /// How the hand does.
    pub fn status(&self) -> HandStatus {
        self.supervisor().status()
    }

    /// Tells the hand to end, and waits until it has taken every volume away from its target and
    /// has gone. Also done without waiting when the last clone is dropped or the process ends. A hand
    /// that runs apart keeps everything; what was asked of it goes on.
    ///
    /// # Errors
    ///
    /// [`HandError::Slow`] where it has not gone within that time; it goes nevertheless.
    pub fn close(&self, within: Duration) -> Result<(), HandError> {
        self.supervisor().close(Instant::now() + within)
    }

    fn supervisor(&self) -> &Supervisor {
        &self.0.0
    }

    /// A call that may be done twice.
    fn repeat(&self, within: Duration, call: impl Into<Call>) -> Answered {
        self.repeat_with(within, call, None)
    }

    fn repeat_with(
        &self,
        within: Duration,
        call: impl Into<Call>,
        beside: Option<&OwnedFd>,
    ) -> Answered {
        let call = call.into();
        let deadline = Instant::now() + within;
        let mut result = Err(HandError::Died);
        for _ in 0..ATTEMPTS {
            result = self
                .supervisor()
                .call_with(call.clone(), beside, left(deadline));
            if !matches!(result, Err(HandError::Died)) {
                break;
            }
        }
        result
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Hand").field(&self.status()).finish()
    }
}

/// Ends the hand with the last [`Hand`]: the thread that attends to it holds the supervisor too,
/// so this cannot.
struct HandOwner(Arc<Supervisor>);

impl Drop for HandOwner {
    fn drop(&mut self) {
        let _not_waited_for = self.0.close(Instant::now());
    }
}

/// Whether results end before their list does, at the one that failed.
fn stopped(results: &[OpResult], asked: usize) -> bool {
    results.len() < asked && matches!(results.last(), Some(OpResult::Failed(_)))
}
