//! The hand's process: reads requests, hands them to workers, and takes everything away when the
//! daemon whose child it is has gone. One that runs apart outlives daemons, and keeps what they had
//! for whoever comes next.
//!
//! The main thread makes no call that a FUSE daemon can delay, so it answers a ping whatever else
//! goes on. INT, TERM and HUP are ignored, because the daemon that they are also meant for still
//! needs its mounts while it finishes: a child ends with its socket and with nothing else. One that
//! runs apart ends at TERM: nothing goes with it, and what was in flight is asked of the next. It never
//! waits for a worker.

mod args;
mod connection;
mod listener;
mod parent;
mod serve;
mod succession;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::HandError;
use crate::mounted_volume::MountedVolumes;
use crate::perform::{self, path, perform};
use crate::protocol::{Answer, Call, Control, Request, Spoken, VolumeNumber, Work, decode, number};
use crate::target::is_directory;
use crate::worker::{Lane, Pool, Turn};
use crate::{mountinfo, sweep, sys};

pub use args::HandArgs;
use connection::{Connection, reply, reply_now};
use listener::Listener;
use parent::Parent;

/// Silence is counted in this many parts of the heartbeat.
pub(crate) const BEATS: u32 = 4;
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

/// Runs the hand. As a daemon's child it speaks on the socket that is its standard input, until that
/// ends. The caller should then leave the process at once: workers may be stuck, and nobody should
/// wait for them. Apart (`dir`) it ends only where another hand has its place.
///
/// # Errors
///
/// [`HandError::Start`] where there is no standard input; [`HandError::Os`] where a root cannot be
/// opened as a directory, or the socket cannot be put into its folder.
pub fn main(args: HandArgs) -> Result<(), HandError> {
    sys::ignore_stop_signals(args.dir.is_some());
    raise_descriptor_limit();
    let _unnamed = rustix::thread::set_name(c"livemount-hand");
    for root in &args.roots {
        is_directory(root)?;
    }
    let listener = args.dir.as_deref().map(Listener::new).transpose()?;
    let hand = HandProcess {
        beat: args.heartbeat / BEATS,
        volumes: Arc::new(MountedVolumes::new(args)),
        pool: Pool::default(),
    };
    match listener {
        Some(listener) => {
            if hand.volumes.leave_dead {
                sweep::early(&hand.volumes, &hand.pool);
            }
            hand.serve_all(&listener);
            Ok(())
        }
        None => hand.be_a_child(),
    }
}

struct HandProcess {
    volumes: Arc<MountedVolumes>,
    pool: Pool,
    beat: Duration,
}

impl HandProcess {
    fn be_a_child(&self) -> Result<(), HandError> {
        let socket = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| HandError::start(&error))?;
        let parent = Parent::now();
        sweep::start(&self.volumes, &self.pool);
        let end = self.serve_parent(socket);
        tracing::debug!(?end, "the hand ends");
        let failures = self.take_all_away(end);
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

    fn take(&self, daemon: &mut Connection, bytes: &[u8], beside: Vec<OwnedFd>) {
        let Ok(Request {
            seq,
            within_ms,
            call,
        }) = decode(bytes)
        else {
            tracing::debug!("a request cannot be read");
            if let Some(seq) = number(bytes) {
                daemon.reply(seq, Err(HandError::Malformed));
            }
            return;
        };
        match call {
            Call::Control(control) => self.control(daemon, seq, control, beside),
            Call::Work(work) => {
                self.work(daemon, seq, Duration::from_millis(within_ms.into()), work);
            }
        }
    }

    /// For a worker. It is answered when it is done, or refused.
    fn work(&self, daemon: &mut Connection, seq: u64, within: Duration, work: Work) {
        if let Work::Prepare { volume, .. } | Work::Mount { volume } | Work::Bind { volume, .. } =
            &work
        {
            daemon.told.insert(*volume);
        }
        let (volumes, socket) = (Arc::clone(&self.volumes), Arc::clone(&daemon.socket));
        let until = Instant::now() + within;
        let waits = matches!(work, Work::Idle { .. });
        let lane = lane(&work);
        let job = move |turn| match turn {
            Turn::Refused => reply_now(&socket, seq, Err(HandError::Stuck)),
            Turn::Go => {
                let (outcome, beside) = match perform(&volumes, work) {
                    Ok((answer, beside)) => (Ok(answer), beside),
                    Err(error) => (Err(error), Vec::new()),
                };
                reply(&socket, seq, outcome, &beside);
            }
        };
        if waits {
            self.pool.submit_behind(lane, until, job);
        } else {
            self.pool.submit(lane, until, job);
        }
    }

    /// What needs no worker: nothing here waits.
    fn control(&self, daemon: &mut Connection, seq: u64, control: Control, beside: Vec<OwnedFd>) {
        let outcome = match control {
            Control::Ping => {
                let (busy, late) = self.pool.load(Instant::now());
                let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
                Ok(Answer::Pong {
                    busy: count(busy),
                    late: count(late),
                })
            }
            Control::Last { volume } => self
                .volumes
                .get(volume)
                .map(|volume| Answer::Progress(*volume.progress.lock()))
                .ok_or(HandError::NoVolume(volume)),
            Control::Adopt {
                volume,
                target,
                created,
                bound,
                last,
            } => {
                daemon.told.insert(volume);
                let adopted = self.adopt(volume, target, (created, bound), last, beside);
                if let Err(error) = &adopted {
                    tracing::warn!(volume = volume.0, %error, "cannot take over a volume");
                }
                if seq == 0 {
                    return;
                }
                adopted.map(|()| Answer::Done)
            }
            Control::Hello(_) => Ok(Answer::Hello(Spoken::OURS)),
            Control::Settle => {
                self.settle(daemon);
                Ok(Answer::Done)
            }
        };
        daemon.reply(seq, outcome);
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
            let abort = end == EndReason::Silent || stuck;
            let gone = if !self.volumes.leave_dead {
                perform::take_away(&volume, abort, &mounts)
            } else if abort {
                perform::abort(&volume, number)
            } else {
                // Its connection ends with the daemon.
                Ok(())
            };
            if let Err(error) = gone {
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
        Work::Refresh { volume, .. } | Work::Run { volume, .. } | Work::Idle { volume } => {
            Lane::Files(*volume)
        }
        Work::Abort { volume } => Lane::Abort(*volume),
        Work::Clear { target } => Lane::Clear(path(target.clone())),
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
            Work::Idle { volume },
        ] {
            assert_eq!(lane(&in_files), Lane::Files(volume), "{in_files:?}");
        }
        assert_eq!(
            lane(&Work::Abort { volume }),
            Lane::Abort(volume),
            "the last resort waits for nothing"
        );
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
