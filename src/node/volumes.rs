//! The way from gRPC calls to the loop that owns all volumes: questions with an answer each.
//!
//! It decides nothing. A call that is given up by its caller is answered into nowhere; what it asked
//! for goes on, as the kubelet will ask again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use livemount_engine::object::{Kind, ObjectKey};
use livemount_hand::Hand;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{NodeError, PublishRequest, Stats, swap_space};

/// How many calls may wait for the loop; the kubelet has far fewer under way.
const WAITING: usize = 1024;

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, NodeError>>;

/// What can be asked.
pub(super) enum Ask {
    /// Publish, and answer when the volume shows its first snapshot or `until` has come.
    Publish {
        request: Box<PublishRequest>,
        until: Instant,
        reply: Reply<()>,
    },
    /// Take the volume away, and whatever is at the target.
    Unpublish {
        id: String,
        target: PathBuf,
        reply: Reply<()>,
    },
    /// How large it is.
    Stats {
        id: String,
        path: PathBuf,
        reply: Reply<Stats>,
    },
}

/// The volumes of this node. Cheap to clone.
#[derive(Clone)]
pub struct Volumes {
    ask: mpsc::Sender<Ask>,
    wait: Duration,
    allow_swap: bool,
    hand: Hand,
    mounted: Arc<AtomicBool>,
    waiting: Arc<AtomicU64>,
    failing: Arc<AtomicU64>,
}

impl Volumes {
    /// The asking end, and where the loop hears it. A publish waits for its objects for `wait`. Secrets
    /// are refused where memory could be swapped, unless `allow_swap`.
    pub(super) fn new(hand: Hand, wait: Duration, allow_swap: bool) -> (Self, mpsc::Receiver<Ask>) {
        let (ask, asked) = mpsc::channel(WAITING);
        let volumes = Self {
            ask,
            wait,
            allow_swap,
            hand,
            mounted: Arc::default(),
            waiting: Arc::default(),
            failing: Arc::default(),
        };
        (volumes, asked)
    }

    /// Publishes a volume, and returns when it shows its first snapshot. For one that is published
    /// at this target already nothing is left to do.
    pub async fn publish(&self, request: PublishRequest) -> Result<(), NodeError> {
        let secret = |key: &&ObjectKey| key.kind == Kind::Secret;
        if let Some(secret) = request.spec.objects().into_iter().find(secret)
            && !self.allow_swap
            && swap_space::may_swap()
        {
            return Err(NodeError::Swap(secret.clone()));
        }
        let request = Box::new(request);
        let until = Instant::now() + self.wait;
        self.ask(|reply| Ask::Publish {
            request,
            until,
            reply,
        })
        .await
    }

    /// Takes a volume away from its target, and the target. Also what a predecessor left there.
    pub async fn unpublish(&self, id: &str, target: &Path) -> Result<(), NodeError> {
        let (id, target) = (id.to_owned(), target.to_owned());
        self.ask(|reply| Ask::Unpublish { id, target, reply }).await
    }

    /// How large a published volume is, from memory.
    pub async fn stats(&self, id: &str, path: &Path) -> Result<Stats, NodeError> {
        let (id, path) = (id.to_owned(), path.to_owned());
        self.ask(|reply| Ask::Stats { id, path, reply }).await
    }

    /// Whether volumes can be published: the hand lives, and a first mount has worked.
    ///
    /// # Errors
    ///
    /// Why not, in one sentence.
    pub fn ready(&self) -> Result<(), String> {
        if self.ask.is_closed() {
            Err("the plugin is ending".into())
        } else if !self.mounted.load(Ordering::Relaxed) {
            Err("no mount has worked yet".into())
        } else if !self.hand.status().up {
            Err("the hand is being started again".into())
        } else {
            Ok(())
        }
    }

    /// How many publish calls wait for a first snapshot.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many objects cannot be read.
    pub(super) fn failing(&self) -> u64 {
        self.failing.load(Ordering::Relaxed)
    }

    /// Notes how many publish calls wait, and how many objects cannot be read.
    pub(super) fn note(&self, waiting: u64, failing: u64) {
        self.waiting.store(waiting, Ordering::Relaxed);
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Notes that a mount has worked.
    pub(super) fn has_mounted(&self) {
        self.mounted.store(true, Ordering::Relaxed);
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.ask
            .send(ask(reply))
            .await
            .map_err(|_| NodeError::Ending)?;
        answer.await.map_err(|_| NodeError::Ending)?
    }
}
