//! The first phase of a publish: the hand has made the target ready.
//!
//! What the hand holds for a volume is owned by a `Claim`, which goes from phase to phase and takes
//! everything back where a phase ends without the next one.

use std::path::{Path, PathBuf};

use livemount_hand::{Connection, Hand, Unbind, VolumeNumber};

use super::connected::Connected;
use super::error::PublishError;

/// What the hand holds for a volume that is not yet published. Dropped, it takes back what was begun:
/// the mount, and the target where a hand made it. What cannot be taken back is not told: whoever
/// drops it has the first error to tell.
pub(super) struct Claim {
    id: VolumeNumber,
    hand: Hand,
    target: PathBuf,
    /// The target's folder was made for it.
    created: bool,
    kept: bool,
}

impl Claim {
    pub(super) fn id(&self) -> VolumeNumber {
        self.id
    }

    pub(super) fn hand(&self) -> &Hand {
        &self.hand
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    pub(super) fn created(&self) -> bool {
        self.created
    }

    /// Leaves everything as it is: from now on it is the published volume's.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.hand.unbind(self.id, Unbind::Detach);
            let _ = self.hand.forget(self.id, true);
        }
    }
}

/// A target that is ready for a mount.
pub(super) struct Prepared(Claim);

impl Prepared {
    /// Makes a target ready. `over` says that it may hold something, which is hidden meanwhile.
    pub(super) fn new(
        id: VolumeNumber,
        hand: Hand,
        target: &Path,
        over: bool,
    ) -> Result<Self, PublishError> {
        // A target that the hand refuses is not ours to take away.
        let prepared = hand
            .prepare(id, target, over)
            .map_err(PublishError::hand(target))?;
        Ok(Self(Claim {
            id,
            hand,
            target: target.to_owned(),
            created: prepared.created,
            kept: false,
        }))
    }

    /// Makes the connection and its detached mount.
    pub(super) fn connect(self) -> Result<Connected, PublishError> {
        let Self(claim) = self;
        let Connection { device, mount } = claim
            .hand
            .mount(claim.id)
            .map_err(PublishError::hand(&claim.target))?;
        Ok(Connected::new(claim, device, mount))
    }
}
