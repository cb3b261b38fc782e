//! Since when there has been nothing to read, and whether that has been told.
//!
//! Many programs save a file by removing or emptying it first, so a lack counts only after a while.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::error::SourceError;

/// The error that a lack becomes.
pub(super) type Why = fn(PathBuf) -> SourceError;

/// Whether there is anything to read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Absence {
    /// There is.
    #[default]
    No,
    /// There is not, since then, and nobody has been told.
    Since(Instant, Why),
    /// There is not, which has been told.
    Told,
}

impl Absence {
    /// Notes that there is nothing to read.
    pub(super) fn begin(&mut self, now: Instant, why: Why) {
        *self = match *self {
            Self::No => Self::Since(now, why),
            Self::Since(since, _) => Self::Since(since, why),
            Self::Told => Self::Told,
        };
    }

    /// When it is time to tell.
    pub(super) fn deadline(self, grace: Duration) -> Option<Instant> {
        match self {
            Self::Since(since, _) => Some(since + grace),
            Self::No | Self::Told => None,
        }
    }

    /// What is to be told, if it is time to. Said once.
    pub(super) fn overdue(&mut self, now: Instant, grace: Duration) -> Option<Why> {
        match *self {
            Self::Since(since, why) if since + grace <= now => {
                *self = Self::Told;
                Some(why)
            }
            _ => None,
        }
    }
}
