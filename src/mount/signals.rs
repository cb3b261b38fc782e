//! What signals ask for: SIGTERM and SIGINT to stop, SIGHUP to read everything again.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that this process listens to.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hangup: Signal,
}

/// What a signal asks for.
pub(super) enum Asked {
    Stop,
    Again,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.term.recv() => Asked::Stop,
            _ = self.int.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Again,
        }
    }

    /// The next that asks to stop.
    pub(super) async fn stop(&mut self) {
        while !matches!(self.next().await, Asked::Stop) {}
    }
}
