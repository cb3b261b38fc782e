//! What callers do: ask the hand of the moment and wait for its answer, see how it does, have it
//! closed. Each on his own thread; the supervisor's is not waited for but for the answer.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::{Answered, HandSocket, PendingCall, Supervisor};
use crate::HandError;
use crate::client::HandStatus;
use crate::client::adoption::{Adopted, Adoption, AdoptionUpdate};
use crate::client::batching::left;
use crate::error::During;
use crate::protocol::{Call, Request, VolumeNumber, encode};
use crate::socket::send;

/// How much longer than the hand a caller waits, so that it hears that a call was refused as stuck.
const MARGIN: Duration = Duration::from_millis(250);

impl Supervisor {
    /// One call, once.
    pub(in crate::client) fn call(&self, call: impl Into<Call>, within: Duration) -> Answered {
        self.call_with(call, None, within)
    }

    /// The same with a descriptor beside it.
    pub(in crate::client) fn call_with(
        &self,
        call: impl Into<Call>,
        beside: Option<&OwnedFd>,
        within: Duration,
    ) -> Answered {
        let call = call.into();
        let deadline = Instant::now() + within;
        let beside: &[_] = &beside.map(AsFd::as_fd).into_iter().collect::<Vec<_>>();
        let (what, update) = (call.name(), AdoptionUpdate::of(&call));
        let (to, answer) = sync_channel(1);
        let (seq, socket) = self.enter(PendingCall { to, update }, deadline)?;
        let within_ms = u32::try_from(left(deadline).as_millis()).unwrap_or(u32::MAX);
        let sent = encode(&Request {
            seq,
            within_ms,
            call,
        })
        .and_then(|bytes| match send(&*socket, &bytes, beside, deadline) {
            Ok(()) => Ok(()),
            Err(Errno::TIMEDOUT) => Err(HandError::Stuck),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(HandError::Died),
            Err(errno) => Err(errno).during("send to the hand"),
        });
        if let Err(error) = sent {
            let mut state = self.state.lock();
            state.pending.remove(&seq);
            // Before the reader has seen it, so that the next call waits for the next hand.
            if error == HandError::Died
                && matches!(&state.socket, HandSocket::Up(up) if Arc::ptr_eq(up, &socket))
            {
                state.socket = HandSocket::Down;
            }
            return Err(error);
        }
        answer
            .recv_timeout(left(deadline) + MARGIN)
            .unwrap_or_else(|error| {
                // Who gives up takes the pending call along; an answer that comes later is dropped,
                // descriptors and all.
                self.state.lock().pending.remove(&seq);
                Err(if error == RecvTimeoutError::Timeout {
                    HandError::Slow { what: what.into() }
                } else {
                    HandError::Died
                })
            })
    }

    pub(in crate::client) fn drop_mount(&self, volume: VolumeNumber) {
        let mount = self.state.lock().adoptions.take_mount(volume);
        drop(mount);
    }

    /// From now on every hand is told of it, the one of the moment by the caller.
    pub(in crate::client) fn take_over(&self, volume: VolumeNumber, adopted: Adopted) -> Adoption {
        let (adoption, replaced) = self.state.lock().adoptions.take_over(volume, adopted);
        drop(replaced);
        adoption
    }

    /// From now on every hand is told that it has been told all.
    pub(in crate::client) fn settled(&self) {
        self.state.lock().settled = true;
    }

    pub(in crate::client) fn status(&self) -> HandStatus {
        let state = self.state.lock();
        HandStatus {
            up: matches!(state.socket, HandSocket::Up(_)),
            restarts: state.restarts,
            busy: state.busy,
            late: state.late,
        }
    }

    pub(in crate::client) fn close(&self, deadline: Instant) -> Result<(), HandError> {
        let mut state = self.state.lock();
        match &state.socket {
            HandSocket::Up(socket) => {
                // Only our direction: answers that are on their way still come, and then the hand's
                // end.
                let _gone = shutdown(&**socket, Shutdown::Write);
                state.socket = HandSocket::Closing;
            }
            HandSocket::Down => state.socket = HandSocket::Closing,
            HandSocket::Closing | HandSocket::Closed => {}
        }
        self.changed.notify_all();
        while !matches!(state.socket, HandSocket::Closed) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return Err(HandError::Slow {
                    what: "close".into(),
                });
            }
        }
        Ok(())
    }

    /// Waits for a hand, and enters the call among those that wait for answers.
    fn enter(
        &self,
        pending: PendingCall,
        deadline: Instant,
    ) -> Result<(u64, Arc<OwnedFd>), HandError> {
        let mut state = self.state.lock();
        loop {
            match &state.socket {
                HandSocket::Up(socket) => {
                    let socket = Arc::clone(socket);
                    let seq = state.next;
                    state.next += 1;
                    state.pending.insert(seq, pending);
                    return Ok((seq, socket));
                }
                HandSocket::Closing | HandSocket::Closed => return Err(HandError::Closed),
                HandSocket::Down => {}
            }
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return Err(HandError::Died);
            }
        }
    }
}
