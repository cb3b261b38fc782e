//! One daemon's connection, and what is known of it.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};

use super::BEATS;
use crate::HandError;
use crate::protocol::{Answer, Reply, VolumeNumber, encode};
use crate::socket::{send, send_now};

/// How long a worker tries to hand over an answer that the daemon does not read.
const HAND_OVER: Duration = Duration::from_secs(10);

pub(super) struct Connection {
    /// Workers hold it too, for as long as they have something to answer.
    pub(super) socket: Arc<OwnedFd>,
    /// The volumes that this daemon has named as its own.
    pub(super) told: HashSet<VolumeNumber>,
    beat: Duration,
    /// When the daemon will have been silent for another beat.
    pub(super) due: Instant,
    silent: u32,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, beat: Duration) -> Self {
        Self {
            socket: Arc::new(socket),
            told: HashSet::new(),
            beat,
            due: Instant::now() + beat,
            silent: 0,
        }
    }

    pub(super) fn heard(&mut self) {
        self.silent = 0;
        self.due = Instant::now() + self.beat;
    }

    /// Nothing has come. Says whether that has been so for a heartbeat: in beats, not time, for while
    /// this process was frozen together with the daemon no beat passed for either.
    pub(super) fn is_silent(&mut self) -> bool {
        if Instant::now() >= self.due {
            self.silent += 1;
            self.due = Instant::now() + self.beat;
        }
        self.silent >= BEATS
    }

    /// From the main thread: what the daemon has no room for is lost, as if it had been late.
    pub(super) fn reply(&self, seq: u64, outcome: Result<Answer, HandError>) {
        reply_now(&self.socket, seq, outcome);
    }

    /// Ends it for both, also while workers hold it. What came before can still be read.
    pub(super) fn end(&self) {
        let _ended = shutdown(&*self.socket, Shutdown::Both);
    }
}

/// From a worker: an answer with a descriptor in it is worth waiting for.
pub(super) fn reply(
    socket: &OwnedFd,
    seq: u64,
    outcome: Result<Answer, HandError>,
    beside: &[OwnedFd],
) {
    let beside: Vec<BorrowedFd<'_>> = beside.iter().map(AsFd::as_fd).collect();
    if let Ok(bytes) = encode(&Reply { seq, outcome }) {
        let _gone = send(socket, &bytes, &beside, Instant::now() + HAND_OVER);
    }
}

/// Without waiting.
pub(super) fn reply_now(socket: &OwnedFd, seq: u64, outcome: Result<Answer, HandError>) {
    if let Ok(bytes) = encode(&Reply { seq, outcome }) {
        let _gone = send_now(socket, &bytes, &[]);
    }
}
