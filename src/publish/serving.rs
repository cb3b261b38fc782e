//! The third phase of a publish: the kernel is answered, and no path leads to the volume yet.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use livemount_hand::{Hand, VolumeNumber};

use super::error::PublishError;
use super::keeping::{About, Keeping};
use super::prepared::Claim;
use super::session::Session;
use crate::served::SharedVolume;

/// A volume that is served and not yet bound.
pub(super) struct Serving {
    // Dropped before the claim: a connection that goes because its mount was taken back is no news.
    session: Session,
    claim: Claim,
    volume: Arc<SharedVolume>,
    storable: Option<Storable>,
}

/// What the keeper is to hold of a volume.
pub(super) struct Storable {
    pub(super) keeping: Keeping,
    pub(super) about: About,
    pub(super) device: OwnedFd,
    pub(super) mount: Arc<OwnedFd>,
    pub(super) file: OwnedFd,
}

/// The last phase: the target shows the volume. Nothing is taken back from here on but by whoever
/// unpublishes it.
pub(super) struct Bound {
    pub(super) id: VolumeNumber,
    pub(super) hand: Hand,
    pub(super) target: PathBuf,
    pub(super) session: Session,
    pub(super) volume: Arc<SharedVolume>,
    pub(super) keeping: Option<Keeping>,
}

impl Serving {
    pub(super) fn new(
        claim: Claim,
        session: Session,
        volume: Arc<SharedVolume>,
        storable: Option<Storable>,
    ) -> Self {
        Self {
            session,
            claim,
            volume,
            storable,
        }
    }

    /// Binds the volume to its target, which shows it from then on. Before, the keeper has what it is to hold,
    /// and knows that nobody was promised anything; after, that somebody may have been.
    pub(super) fn bind(self) -> Result<Bound, PublishError> {
        let (id, hand, target) = (self.claim.id(), self.claim.hand(), self.claim.target());
        if let Some(storable) = &self.storable {
            storable.store(id)?;
        }
        let bound = self.attach();
        if let (Err(_), Some(storable)) = (&bound, &self.storable) {
            storable.keeping.remove(id);
        }
        bound?;
        let (hand, target) = (hand.clone(), target.to_owned());
        let Self {
            session,
            claim,
            volume,
            storable,
        } = self;
        claim.keep();
        Ok(Bound {
            id,
            hand,
            target,
            session,
            volume,
            keeping: storable.map(|storable| storable.keeping),
        })
    }

    fn attach(&self) -> Result<(), PublishError> {
        let (id, hand, target) = (self.claim.id(), self.claim.hand(), self.claim.target());
        let replaced = hand.bind(id, target).map_err(PublishError::hand(target))?;
        let Some(storable) = &self.storable else {
            return Ok(());
        };
        if let Some(mount) = replaced {
            storable.keeping.store_mount(id, &*mount);
        }
        let mut about = storable.about.clone();
        about.bound = true;
        Ok(self.volume.set_about(about.to_bytes())?)
    }
}

impl Storable {
    fn store(&self, id: VolumeNumber) -> Result<(), PublishError> {
        let (device, mount) = (&self.device, &*self.mount);
        Ok(self.keeping.store(id, device, mount, &self.file)?)
    }
}
