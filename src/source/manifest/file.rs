//! One manifest file, read each time that somebody has finished writing it.
//!
//! Read when a writer has closed it or a rename put it there, never on a mere MODIFY, and never
//! while somebody has it open for writing: half a YAML file can parse. The watches are set before
//! the first look, so no change falls in between. Readings go out in the order of reading; while
//! the receiver is busy, events gather and become one reading, and the last state of the file
//! always arrives.
//!
//! Decides neither what an object is worth nor what stays served: a broken or missing file is told,
//! and the receiver keeps what it has. Folders and filesystems without inotify are for others, who
//! can use `settle` and `parse` as this does.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use livemount_engine::object::Object;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::error::SourceError;
use super::parse::parse;
use super::settle::{self, Whole};
use super::trail::Heard;
use super::watch::Watch;

/// How long a file may be away, empty or in the making before that is told: many programs save a
/// file by removing or emptying it first.
const GRACE: Duration = Duration::from_secs(1);

/// What the file says now.
#[derive(Debug)]
pub enum Reading {
    /// Every object in it.
    Objects(Vec<Object>),
    /// It says nothing; what was last read stays good.
    Broken(SourceError),
}

/// One manifest file.
#[derive(Clone, Debug)]
pub struct ManifestFile {
    pub(super) path: PathBuf,
    pub(super) namespace: String,
    pub(super) grace: Duration,
}

impl ManifestFile {
    /// A file, and the namespace of its objects that name none. Nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>, default_namespace: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            namespace: default_namespace.into(),
            grace: GRACE,
        }
    }

    /// The same with another patience.
    #[cfg(test)]
    pub(super) fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Reads it now, whoever may be writing it: for the start, where any error is the end.
    pub fn read_once(&self) -> Result<Vec<Object>, SourceError> {
        let file = self.path.clone();
        match settle::read(&self.path, true) {
            Ok(Whole::Bytes(bytes)) => Ok(parse(&self.path, &bytes, &self.namespace)?),
            Ok(Whole::Absent) => Err(SourceError::Missing(file)),
            Ok(Whole::Empty) => Err(SourceError::Empty(file)),
            Ok(Whole::NotAFile) => Err(SourceError::NotAFile(file)),
            Ok(Whole::Busy) => Err(SourceError::Busy(file)),
            Err(source) => Err(SourceError::Read { file, source }),
        }
    }

    /// Tells each version of the file, the present one first, until the receiver goes. Bytes that
    /// were told are not told again. Runs on a tokio runtime with I/O and time.
    pub async fn watch(self, readings: mpsc::Sender<Reading>) -> Result<(), SourceError> {
        let file = self.path.clone();
        let unwatched = |source| SourceError::Watch {
            file: file.clone(),
            source,
        };
        let mut watch = Watch::new(self).map_err(unwatched)?;
        let mut heard = Heard::UNKNOWN;
        loop {
            if let Some(reading) = watch.act(heard).await
                && readings.send(reading).await.is_err()
            {
                return Ok(());
            }
            let away = watch.deadline();
            heard = tokio::select! {
                heard = watch.hear() => heard.map_err(unwatched)?,
                () = readings.closed() => return Ok(()),
                () = until(away) => Heard::default(),
            };
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
