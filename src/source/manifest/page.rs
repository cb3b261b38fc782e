//! One file: what is known of it from one reading to the next.
//!
//! Bytes that were told are not told again. On a filesystem that does not say who writes and when, a
//! reading counts only when the next one brings the same bytes. Knows no other file.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::absence::{Absence, Why};
use super::error::SourceError;
use super::parse::{Placed, parse};
use super::settle::{self, Whole};

/// What a file says.
#[derive(Debug)]
pub(super) enum Said {
    /// Every object in it.
    Objects(Vec<Placed>),
    /// It says nothing; what was last read stays good.
    Broken(SourceError),
}

/// A file of a source.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The bytes that were told last.
    last: Option<Vec<u8>>,
    /// Bytes that were read once, and when, where only the second time counts.
    once: Option<(Vec<u8>, Instant)>,
    pub absence: Absence,
    /// Whether its filesystem does not say who changes it.
    pub deaf: bool,
    /// Whether it could not be listened to.
    pub unheard: bool,
    /// Whether it could not be read.
    pub failed: bool,
}

impl Page {
    /// Reads it at the start, whoever may be writing it: a lack is told at once.
    pub(super) fn first(&mut self, path: &Path, shown: &Path, namespace: &str) -> Said {
        match settle::read(path, true) {
            Ok(Whole::Bytes(bytes)) => self.take(bytes, shown, namespace),
            Ok(Whole::Absent) => Said::Broken(SourceError::Missing(shown.to_owned())),
            Ok(Whole::Empty) => Said::Broken(SourceError::Empty(shown.to_owned())),
            Ok(Whole::Busy) => Said::Broken(SourceError::Busy(shown.to_owned())),
            Ok(Whole::NotAFile) => Said::Broken(SourceError::NotAFile(shown.to_owned())),
            Err(source) => {
                self.failed = true;
                Said::Broken(SourceError::read(shown, source))
            }
        }
    }

    /// Reads it, unless somebody writes it, and says what is new. Where a reading counts only the
    /// second time, the two are so far apart.
    pub(super) fn read(
        &mut self,
        path: &Path,
        shown: &Path,
        namespace: &str,
        now: Instant,
        apart: Duration,
    ) -> Option<Said> {
        let whole = settle::read(path, false);
        self.failed = whole.is_err();
        let broken = match whole {
            Ok(Whole::Bytes(bytes)) => {
                self.absence = Absence::No;
                if self.last.as_ref() == Some(&bytes) {
                    self.once = None;
                    return None;
                }
                if self.deaf || self.unheard {
                    match &self.once {
                        Some((once, since)) if *once == bytes => {
                            if *since + apart > now {
                                return None;
                            }
                        }
                        _ => {
                            self.once = Some((bytes, now));
                            return None;
                        }
                    }
                }
                return Some(self.take(bytes, shown, namespace));
            }
            Ok(Whole::Absent) => return self.away(now, SourceError::Missing),
            Ok(Whole::Empty) => return self.away(now, SourceError::Empty),
            Ok(Whole::Busy) => return self.away(now, SourceError::Busy),
            Ok(Whole::NotAFile) => SourceError::NotAFile(shown.to_owned()),
            Err(source) => SourceError::read(shown, source),
        };
        self.absence = Absence::No;
        self.forget();
        Some(Said::Broken(broken))
    }

    /// Whether it must be looked at each second.
    pub(super) fn is_polled(&self) -> bool {
        self.deaf || self.unheard || self.failed
    }

    /// Nothing of what was read counts any more: the same bytes would be news.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.once = None;
    }

    fn away(&mut self, now: Instant, why: Why) -> Option<Said> {
        self.once = None;
        self.absence.begin(now, why);
        None
    }

    fn take(&mut self, bytes: Vec<u8>, shown: &Path, namespace: &str) -> Said {
        let parsed = parse(shown, &bytes, namespace);
        self.once = None;
        self.last = Some(bytes);
        match parsed {
            Ok(objects) => Said::Objects(objects),
            Err(error) => Said::Broken(error.into()),
        }
    }
}
