//! Why a volume could not be published.

use std::path::{Path, PathBuf};

use livemount_hand::HandError;
use livemount_keeper::KeeperError;
use thiserror::Error;

use crate::store::StoreError;

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
    /// The volume could not be written down for a successor.
    #[error("the volume could not be stored: {0}")]
    Store(#[from] StoreError),
    /// The keeper could not be given it.
    #[error("the volume could not be given to the keeper: {0}")]
    Keeper(#[from] KeeperError),
}

impl PublishError {
    /// Whether the machine was short of something: threads, descriptors, memory. Another process, or this one
    /// later, may well succeed.
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::Session(error) | Self::Thread(error) => {
                const SHORT: [i32; 4] = [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE];
                let errno = error.raw_os_error();
                errno.is_some_and(|errno| SHORT.contains(&errno))
            }
            Self::Store(error) => error.is_the_machines(),
            Self::Hand { .. } | Self::Keeper(_) => false,
        }
    }

    /// The hand's answer about a target.
    pub(super) fn hand(target: &Path) -> impl Fn(HandError) -> Self {
        move |source| Self::Hand {
            target: target.to_owned(),
            source,
        }
    }
}
