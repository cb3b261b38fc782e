//! `livemount abort`: the operator's last resort for one volume whose users hang, whoever is at fault.
//!
//! It asks no daemon to do anything and touches no mount: it tells the kernel to end the connection.

use std::path::PathBuf;

use livemount_hand::HandError;
use thiserror::Error;
use tracing::info;

use crate::status::{self, StatusError};

/// Why a volume could not be aborted.
#[derive(Debug, Error)]
pub enum AbortError {
    /// It is not known where it is.
    #[error("no daemon that answers serves {0}; say its target instead, which begins with /")]
    Unknown(String),
    /// The daemons cannot be asked.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The kernel was not told.
    #[error("{}: {source}", .target.display())]
    Hand {
        /// Where it is.
        target: PathBuf,
        /// Why not.
        source: HandError,
    },
}

/// Aborts the volume of this name, or at this target.
///
/// # Errors
///
/// There is none, or the kernel refuses.
pub fn run(volume: &str) -> Result<(), AbortError> {
    let target = if volume.starts_with('/') {
        PathBuf::from(volume)
    } else {
        let found = status::target_of(volume)?;
        found.ok_or_else(|| AbortError::Unknown(volume.to_owned()))?
    };
    match livemount_hand::abort_at(&target) {
        Ok(()) => {
            info!(
                "{} is aborted: whoever used it has an error",
                target.display()
            );
            Ok(())
        }
        Err(source) => Err(AbortError::Hand { target, source }),
    }
}
