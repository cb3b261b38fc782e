//! What can go wrong with a keeper, for both of its ends.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

use crate::message::{BadName, Malformed};

/// Why something was not kept, not taken, or not done in time.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// Nobody keeps anything in that folder.
    #[error("no keeper in {}", .0.display())]
    Absent(PathBuf),
    /// Somebody keeps there already, and did not hand over.
    #[error("another keeper is in {} and does not hand over", .0.display())]
    Occupied(PathBuf),
    /// Not done within the time that the caller gave.
    #[error("the keeper has not answered in time: {0}")]
    Slow(&'static str),
    /// The keeper said no, and why.
    #[error("the keeper refused: {0}")]
    Refused(String),
    /// The keeper went away meanwhile, or is away.
    #[error("the keeper is away")]
    Gone,
    /// A name that nothing can be stored under.
    #[error(transparent)]
    Name(#[from] BadName),
    /// The other end speaks otherwise.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What systemd gave in the environment cannot be used.
    #[error("{variable} cannot be used: {why}")]
    Environment {
        /// Which variable.
        variable: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: &'static str,
        /// The machine's answer.
        source: io::Error,
    },
}

/// Names what was tried when the machine said no.
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, KeeperError>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, what: &'static str) -> Result<T, KeeperError> {
        self.map_err(io::Error::from).during(what)
    }
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: &'static str) -> Result<T, KeeperError> {
        self.map_err(|source| KeeperError::Os { what, source })
    }
}
