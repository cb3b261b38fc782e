//! Where a host calls: questions with an answer each, and what can be looked at from outside.
//!
//! It decides nothing. A call that is given up by its caller is answered into nowhere; what it asked
//! for goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use livemount_engine::engine::VolumeId;
use livemount_hand::Unbind;
use tokio::sync::{mpsc, oneshot};

use super::{Ask, CallError, Request, Stats};

/// How many calls may wait for the driver; the kubelet has far fewer under way.
const WAITING: usize = 1024;

/// Where an answer goes.
pub(super) enum Reply {
    Done(oneshot::Sender<Result<(), CallError>>),
    Stats(oneshot::Sender<Result<Stats, CallError>>),
}

impl Reply {
    /// Answers. Who has given up is not told.
    pub(super) fn send(self, result: Result<(), CallError>) {
        match (self, result) {
            (Self::Done(reply), result) => drop(reply.send(result)),
            (Self::Stats(reply), Err(error)) => drop(reply.send(Err(error))),
            // A size is answered with a size; without one the caller hears that nobody answers.
            (Self::Stats(_), Ok(())) => {}
        }
    }
}

/// What can be looked at without asking.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) mounted: AtomicBool,
    pub(super) waiting: AtomicU64,
    pub(super) failing: AtomicU64,
}

/// The volumes of this daemon. Cheap to clone; when the last is dropped the driver ends.
#[derive(Clone)]
pub struct Volumes {
    calls: mpsc::Sender<(Ask, Reply)>,
    gauges: Arc<Gauges>,
}

impl Volumes {
    pub(super) fn new() -> (Self, mpsc::Receiver<(Ask, Reply)>, Arc<Gauges>) {
        let (calls, asked) = mpsc::channel(WAITING);
        let gauges = Arc::<Gauges>::default();
        let volumes = Self {
            calls,
            gauges: Arc::clone(&gauges),
        };
        (volumes, asked, gauges)
    }

    /// Publishes a volume, and returns when it shows its first snapshot. For one that is published
    /// at this target already nothing is left to do. Without `until` it waits for as long as it takes.
    ///
    /// # Errors
    ///
    /// It waited in vain or until its time was up, it is published elsewhere, somebody ended it meanwhile, or it
    /// cannot be mounted. What was asked for stays asked for where only time is missing.
    pub async fn publish(&self, request: Request, until: Option<Instant>) -> Result<(), CallError> {
        let request = Box::new(request);
        self.done(Ask::Publish { request, until }).await
    }

    /// Takes a volume away from its target; with `clear` also what a predecessor left there, and the
    /// target.
    ///
    /// # Errors
    ///
    /// The volume is in use and `how` minds that, or the hand could not take it away.
    pub async fn unpublish(
        &self,
        volume: &VolumeId,
        target: &Path,
        how: Unbind,
        clear: bool,
    ) -> Result<(), CallError> {
        self.done(Ask::Unpublish {
            volume: volume.clone(),
            target: target.to_owned(),
            how,
            clear,
        })
        .await
    }

    /// Returns when a volume's connection was ended from outside.
    ///
    /// # Errors
    ///
    /// The volume has gone in another way.
    pub async fn lost(&self, volume: &VolumeId) -> Result<(), CallError> {
        let volume = volume.clone();
        self.done(Ask::Lost { volume }).await
    }

    /// How large a published volume is, from memory.
    ///
    /// # Errors
    ///
    /// No such volume is published at this target.
    pub async fn stats(&self, volume: &VolumeId, target: &Path) -> Result<Stats, CallError> {
        let (volume, target) = (volume.clone(), target.to_owned());
        self.ask(Ask::Stats { volume, target }, Reply::Stats).await
    }

    /// Whether nobody answers any more.
    pub fn is_ending(&self) -> bool {
        self.calls.is_closed()
    }

    /// Whether a mount has worked.
    pub fn has_mounted(&self) -> bool {
        self.gauges.mounted.load(Ordering::Relaxed)
    }

    /// Notes that a mount has worked.
    pub fn note_mounted(&self) {
        self.gauges.mounted.store(true, Ordering::Relaxed);
    }

    /// How many publish calls wait for a first snapshot.
    pub fn waiting(&self) -> u64 {
        self.gauges.waiting.load(Ordering::Relaxed)
    }

    /// How many objects cannot be read.
    pub fn failing(&self) -> u64 {
        self.gauges.failing.load(Ordering::Relaxed)
    }

    async fn done(&self, ask: Ask) -> Result<(), CallError> {
        self.ask(ask, Reply::Done).await
    }

    async fn ask<T>(
        &self,
        ask: Ask,
        reply: impl FnOnce(oneshot::Sender<Result<T, CallError>>) -> Reply,
    ) -> Result<T, CallError> {
        let (answer, answered) = oneshot::channel();
        let call = (ask, reply(answer));
        let sent = self.calls.send(call).await;
        sent.map_err(|_| CallError::Ending)?;
        answered.await.map_err(|_| CallError::Ending)?
    }
}
