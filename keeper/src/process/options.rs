//! What can be said of a keeper before it starts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a keeper is told at its start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of its socket, made if it is missing.
    pub dir: PathBuf,
    /// What is run as hand and caretaker, usually `/proc/self/exe`: still the same binary after an upgrade
    /// on disk.
    pub program: PathBuf,
    /// The hand that it starts, and starts again whenever it ends; none where the hand runs apart.
    pub hand: Option<HandOptions>,
    /// Whether it starts a caretaker when nobody serves what it holds.
    pub caretaker: bool,
    /// How long a holder has to end after it was told to.
    pub handover: Duration,
    /// How long after a holder's end a caretaker is started.
    pub alone: Duration,
    /// How long a keeper that is in the folder already has to hand over.
    pub succession: Duration,
    /// Stay when another keeper has taken everything, and keep again once that one is gone. For keepers that
    /// somebody starts again whenever they end: two of them would take everything from each other by turns.
    pub stand_by: bool,
}

/// What the hand is told.
#[derive(Clone, Debug)]
pub struct HandOptions {
    /// The folders beneath which it may mount.
    pub roots: Vec<PathBuf>,
    /// After how long without a sign of life it takes a daemon for dead.
    pub heartbeat: Duration,
    /// Whether dead mounts stay at their targets (its `--leave-dead`).
    pub leave_dead: bool,
}

impl Options {
    /// A keeper in a folder as it usually is, without a hand.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            program: "/proc/self/exe".into(),
            hand: None,
            caretaker: true,
            handover: Duration::from_secs(2),
            alone: Duration::from_millis(200),
            succession: Duration::from_secs(10),
            stand_by: false,
        }
    }
}

impl Options {
    /// The caretaker's command line. It is given up after the same silence as the hand, where that is known
    /// here.
    pub(super) fn caretaker_args(&self) -> Vec<OsString> {
        let mut args = vec!["caretake".into(), "--keeper".into(), (&self.dir).into()];
        if let Some(hand) = &self.hand {
            let heartbeat = hand.heartbeat.as_millis().to_string();
            args.extend(["--heartbeat".into(), heartbeat.into()]);
        }
        args
    }
}

impl HandOptions {
    /// The hand's command line.
    pub(super) fn args(&self, dir: &Path) -> Vec<OsString> {
        let mut args = vec!["hand".into(), "--dir".into(), dir.into()];
        for root in &self.roots {
            args.extend(["--root".into(), root.into()]);
        }
        let heartbeat = self.heartbeat.as_millis().to_string();
        args.extend(["--heartbeat".into(), heartbeat.into()]);
        if self.leave_dead {
            args.push("--leave-dead".into());
        }
        args
    }
}
