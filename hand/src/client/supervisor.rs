//! The supervisor of the hand: it holds the connection to the hand of the moment. When that ends, a
//! child is reaped and replaced, a hand that runs apart is gone to again; either is told everything.

mod callers;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::adoption::{AdoptionUpdate, Adoptions};
use super::batching::left;
use super::peer::{LONGEST_APART, Peer, SHORTEST_PAUSE, first, request, tell};
use super::{ClientOptions, Reach};
use crate::HandError;
use crate::process::BEATS;
use crate::protocol::{Answer, Control, Reply, decode};
use crate::socket::{Received, buffer, readable, receive, send_now};

/// Before another hand is started, after several that never said a word.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a daemon waits at its start for a hand that runs apart.
const FIRST: Duration = Duration::from_secs(10);

/// An answer with what came beside it.
pub(super) type Answered = Result<Brought, HandError>;

pub(super) struct Brought {
    pub(super) answer: Answer,
    /// Descriptors that are the caller's.
    pub(super) beside: Vec<OwnedFd>,
    /// A mount's descriptor that is kept here too.
    pub(super) mount: Option<Arc<OwnedFd>>,
}

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
    /// All volumes of another daemon are among them, so that a hand may be told that these are all.
    settled: bool,
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
    /// Another daemon has come to it.
    Replaced,
}

struct PendingCall {
    to: SyncSender<Answered>,
    update: AdoptionUpdate,
}

/// Comes by the first hand, then starts the thread that attends to it.
pub(super) fn start(options: ClientOptions) -> Result<Arc<Supervisor>, HandError> {
    let (peer, socket) = first(&options, Instant::now() + FIRST)?;
    let socket = Arc::new(socket);
    let state = SupervisorState {
        socket: HandSocket::Up(Arc::clone(&socket)),
        next: 1,
        pending: HashMap::new(),
        adoptions: Adoptions::default(),
        settled: false,
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
        .spawn(move || attending.attend(peer, socket));
    spawned.map_err(|error| HandError::start(&error))?;
    Ok(supervisor)
}

impl Supervisor {
    fn attend(&self, mut peer: Peer, mut socket: Arc<OwnedFd>) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let end = self.read(&peer, &socket);
            if end == HandEnd::Silent {
                // Before it can see the end of its socket, and take away what its successor keeps.
                peer.give_up();
                self.fell();
                drop(socket);
                tracing::warn!("the hand was silent and is given up; on to another");
            } else {
                self.fell();
                drop(socket);
                // One that was killed has not taken the volumes away: another does, also at the
                // end.
                if peer.has_ended_well() && self.ended() {
                    return;
                }
                tracing::warn!(?end, "the connection to the hand has ended; on to another");
            }
            pause = match end {
                HandEnd::Died { mute: true } => self.longer(pause),
                // Whoever came knows why. If it was only for a moment, we go on then.
                HandEnd::Replaced => LONGEST_PAUSE,
                _ => SHORTEST_PAUSE,
            };
            match self.again(&mut pause) {
                Some(next) => (peer, socket) = next,
                None => return,
            }
        }
    }

    fn longer(&self, pause: Duration) -> Duration {
        let longest = match self.options.reach {
            Reach::Child { .. } => LONGEST_PAUSE,
            Reach::Socket(_) => LONGEST_APART,
        };
        (pause * 2).min(longest)
    }

    /// Answers go to their callers, until the hand's end. Pings go out meanwhile.
    fn read(&self, peer: &Peer, socket: &Arc<OwnedFd>) -> HandEnd {
        let (mut mute, mut replaced) = (true, false);
        let mut unanswered = 0;
        let beat = self.options.heartbeat / BEATS;
        let mut buffer = buffer();
        let mut ping = Instant::now();
        loop {
            if Instant::now() >= ping {
                if unanswered > BEATS || (unanswered > 0 && peer.has_moved()) {
                    return HandEnd::Silent;
                }
                unanswered += 1;
                // Where there is no room, the hand has other messages of ours to see us by.
                if let Ok(bytes) = request(Control::Ping.into()) {
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
                    replaced |= self.deliver(&buffer[..length], beside);
                }
                Ok(Received::Cut) => {
                    tracing::warn!("an answer of the hand was cut off: out of descriptors?");
                }
                Ok(Received::Nothing) => {}
                Ok(Received::End) | Err(_) if replaced => return HandEnd::Replaced,
                Ok(Received::End) | Err(_) => return HandEnd::Died { mute },
            }
        }
    }

    /// Gives an answer to who waits for it. Says whether it was that another daemon has come.
    fn deliver(&self, bytes: &[u8], mut beside: Vec<OwnedFd>) -> bool {
        let Ok(Reply { seq, outcome }) = decode::<Reply>(bytes) else {
            tracing::warn!("an answer of the hand cannot be read");
            return false;
        };
        let mut state = self.state.lock();
        if let Ok(Answer::Pong { busy, late }) = outcome {
            (state.busy, state.late) = (busy, late);
        }
        let Some(PendingCall { to, update }) = state.pending.remove(&seq) else {
            let replaced = outcome == Err(HandError::Replaced);
            // Whoever came may have more than we know of.
            state.settled &= !replaced;
            return replaced;
        };
        let answered = outcome.map(|answer| {
            let kept = state.adoptions.record(update, &answer, &mut beside);
            drop(state);
            drop(kept.replaced);
            Brought {
                answer,
                beside,
                mount: kept.mount,
            }
        });
        let _gave_up = to.send(answered);
        false
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
    fn again(&self, pause: &mut Duration) -> Option<(Peer, Arc<OwnedFd>)> {
        let apart = matches!(self.options.reach, Reach::Socket(_));
        let mut told = None;
        loop {
            let mut state = self.state.lock();
            let until = Instant::now() + *pause;
            while !matches!(state.socket, HandSocket::Closing)
                && !self.changed.wait_until(&mut state, until).timed_out()
            {}
            drop(state);
            // A hand that runs apart has nothing to take away.
            if apart && self.ended() {
                return None;
            }
            match self.another() {
                Ok((peer, socket)) => {
                    let socket = Arc::new(socket);
                    if self.raise(&socket) {
                        return Some((peer, socket));
                    }
                    // Closed while there was no hand: somebody has to take the volumes away.
                    drop(socket);
                    peer.has_ended_well();
                    self.ended();
                    return None;
                }
                // Of a hand that stays away once is enough.
                Err(error) if apart && told.as_ref() == Some(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no hand");
                    told = Some(error);
                }
            }
            if self.ended() {
                return None;
            }
            *pause = self.longer(*pause);
        }
    }

    fn another(&self) -> Result<(Peer, OwnedFd), HandError> {
        let (adoptions, settled) = {
            let state = self.state.lock();
            (state.adoptions.calls(), state.settled)
        };
        let (peer, socket) = Peer::reach(&self.options)?;
        match tell(&socket, adoptions, settled) {
            Ok(()) => Ok((peer, socket)),
            Err(error) => {
                peer.give_up();
                Err(error)
            }
        }
    }

    /// Lets callers in; not where it was closed meanwhile.
    fn raise(&self, socket: &Arc<OwnedFd>) -> bool {
        let mut state = self.state.lock();
        if matches!(state.socket, HandSocket::Closing) {
            return false;
        }
        state.restarts += 1;
        state.socket = HandSocket::Up(Arc::clone(socket));
        self.changed.notify_all();
        true
    }
}
