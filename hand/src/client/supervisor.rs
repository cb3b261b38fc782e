//! The supervisor of the hand: it holds the connection to the hand of the moment. One that dies is
//! reaped, replaced, and its successor told everything.

mod callers;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::ClientOptions;
use super::adoption::{AdoptionUpdate, Adoptions};
use super::batching::left;
use super::child::{give_up, reap, spawn, tell};
use crate::HandError;
use crate::process::BEATS;
use crate::protocol::{Answer, Control, Reply, Request, decode, encode};
use crate::socket::{Received, buffer, readable, receive, send_now};

/// Before another hand is started where the last one had worked, and twice as long after each that
/// never said a word.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An answer with what came beside it.
pub(super) type Answered = Result<(Answer, Vec<OwnedFd>), HandError>;

pub(super) struct Supervisor {
    options: ClientOptions,
    state: Mutex<SupervisorState>,
    changed: Condvar,
}

struct SupervisorState {
    socket: HandSocket,
    next: u64,
    pending: HashMap<u64, PendingCall>,
    adoptions: Adoptions,
    restarts: u64,
    busy: u32,
    late: u32,
}

enum HandSocket {
    Up(Arc<OwnedFd>),
    /// A new hand is on its way.
    Down,
    /// Told to end; the socket is still read.
    Closing,
    /// Ended for good.
    Closed,
}

/// How a hand ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HandEnd {
    /// Its socket did; `mute` where it never answered.
    Died { mute: bool },
    /// It has not answered for a heartbeat. One that was killed while a thread of it waits in the
    /// kernel is in this state: its socket ends only when that thread is freed.
    Silent,
}

struct PendingCall {
    to: SyncSender<Answered>,
    update: AdoptionUpdate,
}

/// Starts the first hand, then the thread that attends to it.
pub(super) fn start(options: ClientOptions) -> Result<Arc<Supervisor>, HandError> {
    let (child, socket) = spawn(&options)?;
    let socket = Arc::new(socket);
    let state = SupervisorState {
        socket: HandSocket::Up(Arc::clone(&socket)),
        next: 1,
        pending: HashMap::new(),
        adoptions: Adoptions::default(),
        restarts: 0,
        busy: 0,
        late: 0,
    };
    let supervisor = Arc::new(Supervisor {
        options,
        state: Mutex::new(state),
        changed: Condvar::new(),
    });
    let attending = Arc::clone(&supervisor);
    let spawned = std::thread::Builder::new()
        .name("hand".into())
        .spawn(move || attending.attend(child, socket));
    spawned.map_err(|error| HandError::start(&error))?;
    Ok(supervisor)
}

impl Supervisor {
    fn attend(&self, mut child: Child, mut socket: Arc<OwnedFd>) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let end = self.read(&socket);
            if end == HandEnd::Silent {
                // Before it can see the end of its socket, and take away what its successor keeps.
                give_up(child);
                self.fell();
                drop(socket);
                tracing::warn!("the hand was silent and is killed; starting another");
            } else {
                self.fell();
                drop(socket);
                let status = child.wait();
                // One that was killed has not taken the volumes away: another does, also at the
                // end.
                if status.as_ref().is_ok_and(ExitStatus::success) && self.ended() {
                    return;
                }
                tracing::warn!(?status, "the hand died; starting another");
            }
            pause = match end {
                HandEnd::Died { mute: true } => (pause * 2).min(LONGEST_PAUSE),
                _ => SHORTEST_PAUSE,
            };
            match self.again(&mut pause) {
                Some(next) => (child, socket) = next,
                None => return,
            }
        }
    }

    /// Answers go to their callers, until the hand's end. Pings go out meanwhile.
    fn read(&self, socket: &Arc<OwnedFd>) -> HandEnd {
        let mut mute = true;
        let mut unanswered = 0;
        let beat = self.options.heartbeat / BEATS;
        let mut buffer = buffer();
        let mut ping = Instant::now();
        loop {
            if Instant::now() >= ping {
                if unanswered > BEATS {
                    return HandEnd::Silent;
                }
                unanswered += 1;
                // Where there is no room, the hand has other messages of ours to see us by.
                if let Ok(bytes) = encode(&Request {
                    seq: 0,
                    within_ms: 0,
                    call: Control::Ping.into(),
                }) {
                    let _full = send_now(&**socket, &bytes, &[]);
                }
                ping = Instant::now() + beat;
            }
            match readable(&**socket, left(ping)) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return HandEnd::Died { mute },
            }
            match receive(&**socket, &mut buffer) {
                Ok(Received::Message(length, beside)) => {
                    (mute, unanswered) = (false, 0);
                    self.deliver(&buffer[..length], beside);
                }
                Ok(Received::Cut) => {
                    tracing::warn!("an answer of the hand was cut off: out of descriptors?");
                }
                Ok(Received::Nothing) => {}
                Ok(Received::End) | Err(_) => return HandEnd::Died { mute },
            }
        }
    }

    fn deliver(&self, bytes: &[u8], mut beside: Vec<OwnedFd>) {
        let Ok(Reply { seq, outcome }) = decode::<Reply>(bytes) else {
            return tracing::warn!("an answer of the hand cannot be read");
        };
        let mut state = self.state.lock();
        if let Ok(Answer::Pong { busy, late }) = outcome {
            (state.busy, state.late) = (busy, late);
        }
        let Some(PendingCall { to, update }) = state.pending.remove(&seq) else {
            return;
        };
        let answered = outcome.map(|answer| {
            let replaced = state.adoptions.record(update, &answer, &mut beside);
            drop(state);
            drop(replaced);
            (answer, beside)
        });
        let _gave_up = to.send(answered);
    }

    /// Whoever waits for this hand hears that it died.
    fn fell(&self) {
        let mut state = self.state.lock();
        state.pending.clear();
        if matches!(state.socket, HandSocket::Up(_)) {
            state.socket = HandSocket::Down;
        }
    }

    fn ended(&self) -> bool {
        let mut state = self.state.lock();
        let closing = matches!(state.socket, HandSocket::Closing);
        if closing {
            state.socket = HandSocket::Closed;
            self.changed.notify_all();
        }
        closing
    }

    /// Another hand, that has been told everything; none where it is closed meanwhile.
    fn again(&self, pause: &mut Duration) -> Option<(Child, Arc<OwnedFd>)> {
        loop {
            let mut state = self.state.lock();
            let until = Instant::now() + *pause;
            while !matches!(state.socket, HandSocket::Closing)
                && !self.changed.wait_until(&mut state, until).timed_out()
            {}
            state.restarts += 1;
            let adoptions = state.adoptions.calls();
            drop(state);
            match spawn(&self.options) {
                Ok((child, socket)) => {
                    let socket = Arc::new(socket);
                    tell(&socket, adoptions);
                    if self.raise(&socket) {
                        return Some((child, socket));
                    }
                    // Closed while there was no hand: somebody has to take the volumes away.
                    reap(child, socket);
                    self.ended();
                    return None;
                }
                Err(error) => tracing::error!(%error, "no hand"),
            }
            if self.ended() {
                return None;
            }
            *pause = (*pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Lets callers in; not where it was closed meanwhile.
    fn raise(&self, socket: &Arc<OwnedFd>) -> bool {
        let mut state = self.state.lock();
        if matches!(state.socket, HandSocket::Closing) {
            return false;
        }
        state.socket = HandSocket::Up(Arc::clone(socket));
        self.changed.notify_all();
        true
    }
}
