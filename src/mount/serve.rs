//! One volume served: its publish, the signals, and its end.

use std::time::Duration;

use livemount_engine::engine::VolumeId;
use livemount_hand::{HandError, Unbind};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::signals::{Asked, Signals};
use super::{MountError, system};
use crate::kept::Kept;
use crate::source::{SourceEnded, Sources};
use crate::volumes::{CallError, Request, Volumes};

/// How long a busy mount is waited for at the end.
const BUSY: Duration = Duration::from_secs(5);
/// How often a busy mount is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// A volume that is served, or that is to be.
pub(super) struct Mount {
    pub(super) volumes: Volumes,
    pub(super) sources: Sources,
    pub(super) request: Request,
    /// Where its objects come from.
    pub(super) origin: String,
    /// Where a keeper holds the mount.
    pub(super) kept: Option<Kept>,
}

impl Mount {
    /// Serves until a signal or an error. `driving` is what does it.
    pub(super) async fn serve(
        &self,
        mut driving: JoinHandle<Result<(), SourceEnded>>,
    ) -> Result<(), MountError> {
        let mut signals = Signals::new().map_err(system("listen for signals"))?;
        let life = self.live();
        tokio::pin!(life);
        loop {
            tokio::select! {
                over = &mut life => return over,
                () = self.handing_over() => {
                    info!("somebody else is to serve the mount: handing over");
                    self.hand_over().await;
                    return Ok(());
                }
                ended = &mut driving => match ended {
                    Ok(Err(ended)) => return Err(ended.into()),
                    // It ends when nobody can call it any more, which we can.
                    Ok(Ok(())) => return Err(CallError::Ending.into()),
                    // A fault of ours ends the program, as anywhere else.
                    Err(fault) => std::panic::resume_unwind(fault.into_panic()),
                },
                asked = signals.next() => match asked {
                    Asked::Stop if self.kept.is_some() => {
                        let target = self.request.target.display();
                        info!("{target} is left to the keeper; `livemount unmount` ends it");
                        self.hand_over().await;
                        return Ok(());
                    }
                    Asked::Stop => return self.stop(&mut signals).await,
                    Asked::Again => {
                        info!("SIGHUP: {} is read again", self.origin);
                        self.sources.reload();
                    }
                },
            }
        }
    }

    /// The volume's life, up to its end from outside.
    async fn live(&self) -> Result<(), MountError> {
        self.volumes.publish(self.request.clone(), None).await?;
        ready();
        self.volumes.lost(self.volume()).await?;
        self.leave(Unbind::Detach).await?;
        Err(MountError::Ended(self.request.target.clone()))
    }

    async fn handing_over(&self) {
        match &self.kept {
            Some(kept) => kept.handing_over().await,
            None => std::future::pending().await,
        }
    }

    async fn hand_over(&self) {
        // The service manager is not always there to hear it.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        if let Some(kept) = &self.kept {
            kept.clone().leave().await;
        }
    }

    fn volume(&self) -> &VolumeId {
        &self.request.volume
    }

    async fn leave(&self, how: Unbind) -> Result<(), CallError> {
        let target = &self.request.target;
        let (volume, clear) = (self.volume(), false);
        self.volumes.unpublish(volume, target, how, clear).await
    }

    /// Unmounts; where somebody uses the mount, waits for them a while and detaches it then, or at a
    /// second signal.
    async fn stop(&self, signals: &mut Signals) -> Result<(), MountError> {
        // The service manager is not always there to hear it.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let give_up = tokio::time::sleep(BUSY);
        tokio::pin!(give_up);
        let mut told = false;
        loop {
            match self.leave(Unbind::IfIdle).await {
                Err(CallError::Hand(HandError::Busy)) => {}
                // The source has ended meanwhile. The hand takes the mount away with this process.
                Err(CallError::Ending) => return Ok(()),
                other => return Ok(other?),
            }
            if !told {
                let target = self.request.target.display();
                warn!("{target} is in use; waiting up to {} s", BUSY.as_secs());
                told = true;
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = &mut give_up => break,
                () = signals.stop() => break,
            }
        }
        warn!(
            "{} is still in use; detached",
            self.request.target.display()
        );
        Ok(self.leave(Unbind::Detach).await?)
    }
}

fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%error, "the service manager could not be told");
    }
}
