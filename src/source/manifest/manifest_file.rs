//! One file of a source: what is known of it from one reading to the next.
//!
//! Bytes that were reported are not reported again. On a filesystem that does not say who writes and when, a
//! reading counts only when the next one brings the same bytes. Knows no other file.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::error::SourceError;
use super::missing::{Missing, ToError};
use super::parse::{LocatedObject, parse};
use super::stable_read::{self, StableRead};

/// What a file says.
#[derive(Debug)]
pub(super) enum FileReading {
    /// Every object in it.
    Objects(Vec<LocatedObject>),
    /// It says nothing; what was last read stays good.
    Broken(SourceError),
}

/// A file of a source.
#[derive(Debug, Default)]
pub(super) struct ManifestFile {
    /// The bytes that were reported last.
    last_bytes: Option<Vec<u8>>,
    /// Bytes that were read once, and when, where only the second time counts.
    candidate: Option<(Vec<u8>, Instant)>,
    pub missing: Missing,
    /// Whether inotify does not support its filesystem.
    pub unsupported: bool,
    /// Whether it could not be watched.
    pub unwatched: bool,
    /// Whether it could not be read.
    pub unreadable: bool,
}

impl ManifestFile {
    /// Reads it at the start, whoever may be writing it: what is missing is reported at once.
    pub(super) fn read_first(&mut self, path: &Path, shown: &Path, namespace: &str) -> FileReading {
        match stable_read::read(path, true) {
            Ok(StableRead::Bytes(bytes)) => self.parsed(bytes, shown, namespace),
            Ok(StableRead::Missing) => FileReading::Broken(SourceError::Missing(shown.to_owned())),
            Ok(StableRead::Empty) => FileReading::Broken(SourceError::Empty(shown.to_owned())),
            Ok(StableRead::Busy) => FileReading::Broken(SourceError::Busy(shown.to_owned())),
            Ok(StableRead::NotAFile) => {
                FileReading::Broken(SourceError::NotAFile(shown.to_owned()))
            }
            Err(source) => {
                self.unreadable = true;
                FileReading::Broken(SourceError::read(shown, source))
            }
        }
    }

    /// Reads it, unless somebody writes it, and says what is new. Where a reading counts only the
    /// second time, the two are this interval apart.
    pub(super) fn read(
        &mut self,
        path: &Path,
        shown: &Path,
        namespace: &str,
        now: Instant,
        interval: Duration,
    ) -> Option<FileReading> {
        let read = stable_read::read(path, false);
        self.unreadable = read.is_err();
        let broken = match read {
            Ok(StableRead::Bytes(bytes)) => {
                self.missing = Missing::Nothing;
                if self.last_bytes.as_ref() == Some(&bytes) {
                    self.candidate = None;
                    return None;
                }
                if self.unsupported || self.unwatched {
                    match &self.candidate {
                        Some((before, since)) if *before == bytes => {
                            if *since + interval > now {
                                return None;
                            }
                        }
                        _ => {
                            self.candidate = Some((bytes, now));
                            return None;
                        }
                    }
                }
                return Some(self.parsed(bytes, shown, namespace));
            }
            Ok(StableRead::Missing) => return self.note_missing(now, SourceError::Missing),
            Ok(StableRead::Empty) => return self.note_missing(now, SourceError::Empty),
            Ok(StableRead::Busy) => return self.note_missing(now, SourceError::Busy),
            Ok(StableRead::NotAFile) => SourceError::NotAFile(shown.to_owned()),
            Err(source) => SourceError::read(shown, source),
        };
        self.missing = Missing::Nothing;
        self.forget();
        Some(FileReading::Broken(broken))
    }

    /// Whether it must be looked at each second.
    pub(super) fn is_polled(&self) -> bool {
        self.unsupported || self.unwatched || self.unreadable
    }

    /// Nothing of what was read counts any more: the same bytes would be news.
    pub(super) fn forget(&mut self) {
        self.last_bytes = None;
        self.candidate = None;
    }

    fn note_missing(&mut self, now: Instant, to_error: ToError) -> Option<FileReading> {
        self.candidate = None;
        self.missing.begin(now, to_error);
        None
    }

    fn parsed(&mut self, bytes: Vec<u8>, shown: &Path, namespace: &str) -> FileReading {
        let parsed = parse(shown, &bytes, namespace);
        self.candidate = None;
        self.last_bytes = Some(bytes);
        match parsed {
            Ok(objects) => FileReading::Objects(objects),
            Err(error) => FileReading::Broken(error.into()),
        }
    }
}
