//! The third phase of a publish: the kernel is answered, and no path leads to the volume yet.

use std::path::PathBuf;
use std::sync::Arc;

use livemount_hand::{Hand, VolumeNumber};

use super::error::PublishError;
use super::prepared::Claim;
use super::session::Session;
use crate::served::SharedVolume;

/// A volume that is served and not yet bound.
pub(super) struct Serving {
    // Dropped before the claim: a connection that goes because its mount was taken back is no news.
    session: Session,
    claim: Claim,
    volume: Arc<SharedVolume>,
}

/// The last phase: the target shows the volume. Nothing is taken back from here on but by whoever
/// unpublishes it.
pub(super) struct Bound {
    pub(super) id: VolumeNumber,
    pub(super) hand: Hand,
    pub(super) target: PathBuf,
    pub(super) session: Session,
    pub(super) volume: Arc<SharedVolume>,
}

impl Serving {
    pub(super) fn new(claim: Claim, session: Session, volume: Arc<SharedVolume>) -> Self {
        Self {
            session,
            claim,
            volume,
        }
    }

    /// Binds the volume to its target, which shows it from then on.
    pub(super) fn bind(self) -> Result<Bound, PublishError> {
        let (id, hand, target) = (self.claim.id(), self.claim.hand(), self.claim.target());
        hand.bind(id, target).map_err(PublishError::hand(target))?;
        let (hand, target) = (hand.clone(), target.to_owned());
        let Self {
            session,
            claim,
            volume,
        } = self;
        claim.keep();
        Ok(Bound {
            id,
            hand,
            target,
            session,
            volume,
        })
    }
}
