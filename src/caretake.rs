//! `livemount caretake`: serves what a daemon has left, as it is, until a daemon comes.
//!
//! It is an ordinary successor without a source: it knows no network, publishes nothing, and ends when
//! somebody else is to have everything. The keeper starts it when no daemon has come for a moment, from the
//! keeper's own image, so that a release that does not start, or whose image cannot be had, holds up nobody
//! who reads. What a daemon had begun to commit it brings to its end, where there is a hand.

use std::sync::mpsc::channel;
use std::time::Duration;

use thiserror::Error;
use tracing::{info, warn};

use crate::daemon::{self, Caretaking, DaemonError, KeptBy, LEAVE};

/// How soon a hand is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// What `livemount caretake` was asked to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who has what a daemon left.
    pub keeper: KeptBy,
    /// After how long without a sign of life the hand is given up.
    pub heartbeat: Duration,
}

/// Why `livemount caretake` ended with an error.
#[derive(Debug, Error)]
pub enum CaretakeError {
    /// What was left cannot be served.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

/// Serves until somebody else is to have everything.
///
/// # Errors
///
/// What was left cannot be served at all.
pub fn run(options: &Options) -> Result<(), CaretakeError> {
    daemon::limits();
    let (caretaking, continued) = Caretaking::start(&options.keeper)?;
    let (over, hand_over) = channel();
    daemon::heed(caretaking.keeping(), move || {
        // The one who waits has gone with the process, or hears it.
        let _ = over.send(());
    })?;
    caretaking.watch_over(options.heartbeat)?;
    let served = continued.len();
    info!("taking care of {served} volumes until a daemon comes");
    // From here on everybody is answered. What is left is for the hand, which may be away.
    let mut waiting = Some(continued);
    let mut publisher = None;
    let mut taken_up = Vec::new();
    loop {
        if let Some(continued) = waiting.take() {
            match caretaking.publisher(options.heartbeat) {
                Ok(found) => {
                    publisher = Some(found);
                    let continued = continued.into_iter();
                    taken_up.extend(continued.map(|volume| found.take_up(volume, drop)));
                }
                Err(error) => {
                    warn!("no hand: what was begun is brought to its end later: {error}");
                    waiting = Some(continued);
                }
            }
        }
        let told = if waiting.is_some() {
            hand_over.recv_timeout(AGAIN).is_ok()
        } else {
            hand_over.recv().is_ok()
        };
        if told {
            break;
        }
    }
    info!("a daemon comes: handing over");
    if let Some(publisher) = publisher {
        publisher.leave(LEAVE);
    }
    // Nothing that waits for an answer is dropped on the way out: it is asked of the next.
    std::process::exit(0)
}
