//! The hand's process: reads requests, hands them to workers, and takes everything away when the
//! daemon is gone.
//!
//! The main thread makes no call that a FUSE daemon can delay, so it answers a ping whatever else
//! goes on. It ends with its socket and with nothing else: INT, TERM and HUP are ignored, because
//! the daemon that they are also meant for still needs its mounts while it finishes. It never waits
//! for a worker.

mod args;
mod parent;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::HandError;
use crate::mounted_volume::{Binding, MountedVolumes};
use crate::perform::{self, path, perform};
use crate::protocol::{Answer, Call, Control, Reply, Request, VolumeNumber, Work, decode, encode};
use crate::socket::{Received, buffer, readable, receive, send, send_now};
use crate::target::{TargetPath, is_directory};
use crate::worker::{Lane, Pool, Turn};
use crate::{mountinfo, sweep, sys};

pub use args::HandArgs;
use parent::Parent;

/// Silence is counted in this many parts of the heartbeat.
pub(crate) const BEATS: u32 = 4;
/// How long a worker tries to hand over an answer that the daemon does not read.
const HAND_OVER: Duration = Duration::from_secs(10);
/// How long the end waits for a mount or a directory that is just being made.
const LAST_MOVES: Duration = Duration::from_secs(2);

/// Why the hand ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndReason {
    /// The daemon closed its socket: it has gone, or wants us to.
    Closed,
    /// The daemon has been silent for a heartbeat, and holds its connections.
    Silent,
}

/// Runs the hand on the socket that is its standard input, until that ends. The caller should then
/// leave the process at once: workers may be stuck, and nobody should wait for them.
///
/// # Errors
///
/// [`HandError::Start`] where there is no standard input; [`HandError::Os`] where a root cannot be
/// opened as a directory.
pub fn main(args: HandArgs) -> Result<(), HandError> {
    sys::ignore_stop_signals();
    raise_descriptor_limit();
    let _unnamed = rustix::thread::set_name(c"livemount-hand");
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| HandError::start(&error))?;
    for root in &args.roots {
        is_directory(root)?;
    }
    let beat = args.heartbeat / BEATS;
    let parent = Parent::now();
    let hand = HandProcess {
        volumes: Arc::new(MountedVolumes::new(args)),
        pool: Pool::default(),
        socket: Arc::new(socket),
        beat,
    };
    sweep::start(&hand.volumes, &hand.pool);
    let end = hand.serve();
    tracing::debug!(?end, "the hand ends");
    let failures = hand.take_all_away(end);
    // Before a word about anything: who reads our log may stand still, too.
    let killed = end == EndReason::Silent && parent.kill();
    if end == EndReason::Silent {
        tracing::error!(killed, "the daemon was silent; its mounts were aborted");
    }
    for (volume, error) in failures {
        tracing::warn!(volume = volume.0, %error, "a target is not as it was");
    }
    Ok(())
}

struct HandProcess {
    volumes: Arc<MountedVolumes>,
    pool: Pool,
    socket: Arc<OwnedFd>,
    beat: Duration,
}

impl HandProcess {
    fn serve(&self) -> EndReason {
        let mut buffer = buffer();
        let mut silent = 0;
        let mut beat = Instant::now() + self.beat;
        loop {
            let now = Instant::now();
            let wake = self.pool.expire(now).map_or(beat, |next| next.min(beat));
            let received = match readable(&self.socket, wake.saturating_duration_since(now)) {
                Ok(true) => receive(&self.socket, &mut buffer),
                Ok(false) => Ok(Received::Nothing),
                Err(errno) => Err(errno),
            };
            match received {
                Ok(Received::Message(length, beside)) => self.take(&buffer[..length], beside),
                Ok(Received::Cut) => tracing::debug!("a request was cut off"),
                Ok(Received::Nothing) => {
                    // Beats, not time: while this process was frozen together with the daemon no
                    // beat passed for either.
                    if Instant::now() >= beat {
                        silent += 1;
                        beat = Instant::now() + self.beat;
                    }
                    if silent >= BEATS {
                        return EndReason::Silent;
                    }
                    continue;
                }
                Ok(Received::End) | Err(_) => return EndReason::Closed,
            }
            silent = 0;
            beat = Instant::now() + self.beat;
        }
    }

    fn take(&self, bytes: &[u8], beside: Vec<OwnedFd>) {
        let Ok(Request {
            seq,
            within_ms,
            call,
        }) = decode(bytes)
        else {
            tracing::debug!("a request cannot be read");
            return;
        };
        match call {
            Call::Control(control) => self.control(seq, control, beside),
            Call::Work(work) => self.work(seq, Duration::from_millis(within_ms.into()), work),
        }
    }

    /// For a worker. It is answered when it is done, or refused.
    fn work(&self, seq: u64, within: Duration, work: Work) {
        let (volumes, socket) = (Arc::clone(&self.volumes), Arc::clone(&self.socket));
        let until = Instant::now() + within;
        self.pool
            .submit(lane(&work), until, move |turn| match turn {
                Turn::Refused => reply_now(&socket, seq, Err(HandError::Stuck)),
                Turn::Go => {
                    let (outcome, beside) = match perform(&volumes, work) {
                        Ok((answer, beside)) => (Ok(answer), beside),
                        Err(error) => (Err(error), Vec::new()),
                    };
                    reply(&socket, seq, outcome, &beside);
                }
            });
    }

    /// What needs no worker: nothing here waits.
    fn control(&self, seq: u64, control: Control, beside: Vec<OwnedFd>) {
        match control {
            Control::Ping => {
                let (busy, late) = self.pool.load(Instant::now());
                let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
                reply_now(
                    &self.socket,
                    seq,
                    Ok(Answer::Pong {
                        busy: count(busy),
                        late: count(late),
                    }),
                );
            }
            Control::Last { volume } => {
                let progress = self
                    .volumes
                    .get(volume)
                    .map(|volume| *volume.progress.lock());
                reply_now(
                    &self.socket,
                    seq,
                    progress
                        .map(Answer::Progress)
                        .ok_or(HandError::NoVolume(volume)),
                );
            }
            Control::Adopt {
                volume,
                target,
                created,
                bound,
                last,
            } => {
                let target = target
                    .and_then(|target| TargetPath::find(&self.volumes.roots, &path(target)).ok());
                let binding = Binding {
                    target,
                    created,
                    bound,
                };
                if let Err(error) =
                    self.volumes
                        .adopt(volume, binding, last, beside.into_iter().next())
                {
                    tracing::warn!(volume = volume.0, %error, "cannot take over a volume");
                }
            }
        }
    }

    /// Empties every target, and says which would not be. No worker is joined; one that is about to
    /// change the mount table is waited for, and none begins after that.
    fn take_all_away(&self, end: EndReason) -> Vec<(VolumeNumber, HandError)> {
        let gate = self.volumes.gate.try_write_for(LAST_MOVES);
        let mounts = mountinfo::read().unwrap_or_default();
        let mut failures = Vec::new();
        for (number, volume) in self.volumes.list() {
            // A thread that waits in the connection would hold up the end of this process, and with
            // it of the socket.
            let stuck =
                self.pool.is_busy(&Lane::Files(number)) || self.pool.is_busy(&Lane::Target(number));
            if let Err(error) =
                perform::take_away(&volume, end == EndReason::Silent || stuck, &mounts)
            {
                failures.push((number, error));
            }
        }
        std::mem::forget(gate);
        failures
    }
}

/// Where a work belongs: it overtakes nothing that is in its lane.
fn lane(work: &Work) -> Lane {
    match work {
        Work::Prepare { volume, .. }
        | Work::Mount { volume }
        | Work::Bind { volume, .. }
        | Work::Unbind { volume, .. }
        | Work::Forget { volume, .. } => Lane::Target(*volume),
        Work::Refresh { volume, .. } | Work::Run { volume, .. } => Lane::Files(*volume),
        Work::Clear { target } => Lane::Clear(path(target.clone())),
    }
}

/// From a worker: an answer with a descriptor in it is worth waiting for.
fn reply(socket: &OwnedFd, seq: u64, outcome: Result<Answer, HandError>, beside: &[OwnedFd]) {
    let beside: Vec<BorrowedFd<'_>> = beside.iter().map(AsFd::as_fd).collect();
    if let Ok(bytes) = encode(&Reply { seq, outcome }) {
        let _gone = send(socket, &bytes, &beside, Instant::now() + HAND_OVER);
    }
}

/// From the main thread: what the daemon has no room for is lost, as if it had been late.
fn reply_now(socket: &OwnedFd, seq: u64, outcome: Result<Answer, HandError>) {
    if let Ok(bytes) = encode(&Reply { seq, outcome }) {
        let _gone = send_now(socket, &bytes, &[]);
    }
}

/// One descriptor a volume, and more for each operation; the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _kept = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CommitNumber, Unbind};

    #[test]
    fn lanes_of_a_volume_and_of_targets() {
        let volume = VolumeNumber(1);
        let target = || b"/t/a".to_vec();
        for at_target in [
            Work::Prepare {
                volume,
                target: target(),
                over: false,
            },
            Work::Mount { volume },
            Work::Bind {
                volume,
                target: target(),
            },
            Work::Unbind {
                volume,
                how: Unbind::Detach,
            },
            Work::Forget {
                volume,
                remove_target: true,
            },
        ] {
            assert_eq!(lane(&at_target), Lane::Target(volume), "{at_target:?}");
        }
        for in_files in [
            Work::Refresh {
                volume,
                paths: Vec::new(),
            },
            Work::Run {
                volume,
                commit: CommitNumber(1),
                first: 0,
                ops: Vec::new(),
            },
        ] {
            assert_eq!(lane(&in_files), Lane::Files(volume), "{in_files:?}");
        }
        let clear = |target: &[u8]| {
            lane(&Work::Clear {
                target: target.to_vec(),
            })
        };
        assert_eq!(clear(b"/t/a"), clear(b"/t/a/"));
        assert_ne!(
            clear(b"/t/a"),
            clear(b"/t/b"),
            "no target waits for another"
        );
    }
}
