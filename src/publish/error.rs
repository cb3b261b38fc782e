//! Why a volume could not be published.

use std::path::{Path, PathBuf};

use livemount_hand::HandError;
use thiserror::Error;

/// Why a volume could not be published.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The hand could not do its part.
    #[error("{}: {source}", .target.display())]
    Hand {
        /// Where the volume was to be.
        target: PathBuf,
        /// Why not.
        source: HandError,
    },
    /// The kernel and we could not agree on a FUSE connection.
    #[error("the FUSE connection could not be made: {0}")]
    Session(std::io::Error),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

impl PublishError {
    /// The hand's answer about a target.
    pub(super) fn hand(target: &Path) -> impl Fn(HandError) -> Self {
        move |source| Self::Hand {
            target: target.to_owned(),
            source,
        }
    }
}
