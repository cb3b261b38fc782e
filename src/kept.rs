//! What is different for a host where a keeper holds its mounts: they stay when this process ends.

use std::time::Duration;

use livemount_hand::Hand;
use livemount_keeper::{KeeperError, KeeperEvent};
use tokio::sync::watch;
use tracing::warn;

use crate::daemon::{self, DaemonError, LEAVE};
use crate::publish::{Keeping, Publisher};

/// How long the keeper may take to say that it has everything.
const TOLD: Duration = Duration::from_secs(1);

/// Mounts that outlive this process.
#[derive(Clone)]
pub struct Kept {
    keeping: Keeping,
    publisher: Publisher,
    handing_over: watch::Receiver<bool>,
}

impl Kept {
    /// What a predecessor left is taken up by now; what it left half done goes. From here on this process is
    /// the one that has everything.
    ///
    /// # Errors
    ///
    /// The machine gives no thread.
    pub fn begin(
        keeping: Keeping,
        publisher: &Publisher,
        hand: &Hand,
        heartbeat: Duration,
    ) -> Result<Self, DaemonError> {
        if let Err(error) = hand.settle() {
            // The next hand is told as well.
            warn!("what a predecessor began may be left: {error}");
        }
        let (over, handing_over) = watch::channel(false);
        daemon::heed(&keeping, move || {
            over.send_replace(true);
        })?;
        let round = publisher.clone();
        daemon::watch_over(&keeping, heartbeat, move || drop(round.stats()))?;
        keeping.keeper().ready();
        Ok(Self {
            keeping,
            publisher: publisher.clone(),
            handing_over,
        })
    }

    /// Returns when somebody else is to have everything.
    pub async fn handing_over(&self) {
        let mut handing_over = self.handing_over.clone();
        if handing_over.wait_for(|over| *over).await.is_err() {
            // Nobody is left who could ask for it.
            let () = std::future::pending().await;
        }
    }

    /// Returns when the end of this process takes nothing away: the keeper has everything, or there is
    /// nothing. While the keeper is away, or just being changed itself, nobody else has it.
    pub async fn may_leave(&self) {
        if self.keeping.is_empty() {
            return;
        }
        let keeper = self.keeping.keeper().clone();
        let waiting = tokio::task::spawn_blocking(move || {
            let events = keeper.events();
            while let Err(KeeperError::Gone) = keeper.barrier(TOLD) {
                warn!(
                    "the keeper is away, and nobody else has the mounts: staying until one is back"
                );
                if !events.iter().any(|event| event == KeeperEvent::Back) {
                    return;
                }
            }
        });
        let _may = waiting.await;
    }

    /// Leaves the mounts to whoever comes: what is under way is finished, in a second at the most.
    pub async fn leave(self) {
        let leaving = tokio::task::spawn_blocking(move || {
            self.publisher.leave(LEAVE);
            let keeper = self.keeping.keeper();
            keeper.stopping();
            // It holds everything as it is.
            let _away = keeper.barrier(TOLD);
        });
        let _left = leaving.await;
    }
}
