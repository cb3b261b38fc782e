//! Since when there has been nothing to read, and whether that has been reported.
//!
//! Many programs save a file by removing or emptying it first, so what is missing counts only after a while.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::error::SourceError;

/// The error that what is missing becomes.
pub(super) type ToError = fn(PathBuf) -> SourceError;

/// Whether something to read is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Missing {
    /// Nothing is.
    #[default]
    Nothing,
    /// There is not, since then, which has not been reported.
    Since(Instant, ToError),
    /// There is not, which has been reported.
    Reported,
}

impl Missing {
    /// Notes that there is nothing to read.
    pub(super) fn begin(&mut self, now: Instant, to_error: ToError) {
        *self = match *self {
            Self::Nothing => Self::Since(now, to_error),
            Self::Since(since, _) => Self::Since(since, to_error),
            Self::Reported => Self::Reported,
        };
    }

    /// When it is time to report it.
    pub(super) fn deadline(self, grace: Duration) -> Option<Instant> {
        match self {
            Self::Since(since, _) => Some(since + grace),
            Self::Nothing | Self::Reported => None,
        }
    }

    /// What is to be reported, if it is time to. Given once.
    pub(super) fn overdue(&mut self, now: Instant, grace: Duration) -> Option<ToError> {
        match *self {
            Self::Since(since, to_error) if since + grace <= now => {
                *self = Self::Reported;
                Some(to_error)
            }
            _ => None,
        }
    }
}
