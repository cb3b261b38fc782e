//! Why something could not be stored, or what was stored cannot be read.

use std::io;

use livemount_volume::RecordError;
use thiserror::Error;

/// Why something could not be stored, or what was stored cannot be read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The machine refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The machine's answer.
        source: io::Error,
    },
    /// The file is not one of ours, or of a release that wrote it in another way.
    #[error("the file is not a volume's of this release")]
    Layout,
    /// More than a volume's file has room for.
    #[error("a volume's record of {bytes} bytes has no room in its file")]
    TooLarge {
        /// How many there would be.
        bytes: usize,
    },
    /// The bytes are no record, or no journal.
    #[error("the stored record cannot be decoded")]
    Undecodable,
    /// A content that is spoken of is not there.
    #[error("a stored content is not there")]
    NoContent,
    /// The record contradicts itself.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl StoreError {
    /// Whether it is the machine that refused, and not what is stored that is at fault: another process, or
    /// this one later, may well succeed.
    pub fn is_the_machines(&self) -> bool {
        matches!(self, Self::System { .. })
    }

    /// The machine's refusal of something.
    pub(super) fn system<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }
}
