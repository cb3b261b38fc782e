//! Calls of a daemon that takes over from another, where the hand outlives both; and the operator's
//! last resort.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::adoption::Adopted;
use super::batching::bytes;
use super::{Hand, WITHIN};
use crate::HandError;
use crate::protocol::{Control, VolumeNumber, Work};

impl Hand {
    /// Takes over a volume that another daemon had. A hand that holds the very mount keeps what it
    /// knows of it: where it is bound, how far its operations are ([`Hand::last`]), one of them perhaps
    /// under way ([`Hand::idle`]). Another believes what it is told. The volume need not be served yet.
    ///
    /// `created` and `bound` are what a hand said of it: the target directory was made by a hand, the
    /// volume is bound there.
    ///
    /// # Errors
    ///
    /// [`HandError::OutsideRoots`] where the hand may not touch the target: the volume's files can be
    /// changed all the same, but it can neither be bound nor taken away. Also after an error the volume
    /// is this daemon's, and every hand is told of it.
    pub fn adopt(
        &self,
        volume: VolumeNumber,
        target: &Path,
        created: bool,
        bound: bool,
        mount: impl Into<Arc<OwnedFd>>,
    ) -> Result<(), HandError> {
        let adopted = Adopted {
            target: bytes(target),
            created,
            bound,
            mount: mount.into(),
        };
        let (adopt, mount) = self.supervisor().take_over(volume, adopted);
        self.repeat_with(WITHIN, adopt, mount.as_deref()).map(drop)
    }

    /// Says that all volumes that another daemon had have been adopted. What the hand holds beside
    /// them, and beside those that this daemon has prepared, nobody serves: it is aborted, taken away
    /// from its target and forgotten, and the directory removed if a hand made it. Then dead livemounts
    /// beneath the hand's roots are detached. Neither is waited for here.
    ///
    /// # Errors
    ///
    /// None of its own. Also after an error every hand from now on is told; until another daemon takes
    /// this one's place, who may have what this one knows nothing of.
    pub fn settle(&self) -> Result<(), HandError> {
        self.supervisor().settled();
        self.repeat(WITHIN, Control::Settle).map(drop)
    }

    /// Waits until nothing that was asked for earlier, by whichever daemon, is under way in the
    /// volume's files ([`Hand::run`], [`Hand::refresh`]). For a volume that the hand does not know that
    /// is so.
    ///
    /// # Errors
    ///
    /// [`HandError::Stuck`] where it is not so within that time.
    pub fn idle(&self, volume: VolumeNumber, within: Duration) -> Result<(), HandError> {
        self.repeat(within, Work::Idle { volume }).map(drop)
    }

    /// Aborts the volume's connection, whatever it is doing: everybody who waits in it is freed with an
    /// error, and it shows nothing any more. Its mount stays where it is until it is unbound or a new
    /// one is prepared.
    ///
    /// # Errors
    ///
    /// [`HandError::NoVolume`]; [`HandError::NotFuse`] where the mount was given to this hand and is
    /// not mounted as a livemount anywhere; [`HandError::Os`].
    pub fn abort(&self, volume: VolumeNumber) -> Result<(), HandError> {
        self.repeat(WITHIN, Work::Abort { volume }).map(drop)
    }
}
