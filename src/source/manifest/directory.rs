//! The directory that is the source: whether it is there, and which files it has.
//!
//! Nothing is known of the files of a directory that is away: they are neither read nor missed, and
//! their objects stay. A file that goes takes its objects with it, after a while.

use std::collections::BTreeSet;
use std::ffi::OsString;

use tokio::time::Instant;

use super::error::SourceError;
use super::inotify_watches::{Changes, PathId};
use super::listing;
use super::manifest_file::ManifestFile;
use super::manifests::Reading;
use super::missing::Missing;
use super::path_walk::walk;
use super::stable_read::is_missing;
use super::watch::Watch;

/// What is known of a directory that is the source.
#[derive(Debug, Default)]
pub(super) struct DirectoryState {
    pub missing: Missing,
    pub unsupported: bool,
    pub unwatched: bool,
    pub unreadable: bool,
}

impl DirectoryState {
    pub(super) fn is_there(&self) -> bool {
        !self.unreadable && matches!(self.missing, Missing::Nothing)
    }

    pub(super) fn is_polled(&self) -> bool {
        self.unsupported || self.unwatched || self.unreadable
    }
}

impl Watch {
    /// Finds out which files a directory has. False where there is no directory: nothing is known of
    /// its files then.
    pub(super) fn read_directory(
        &mut self,
        changes: &Changes,
        poll: bool,
        now: Instant,
        new: &mut BTreeSet<PathId>,
        readings: &mut Vec<Reading>,
    ) -> bool {
        let was_there = self.directory.is_there();
        let due = poll && self.directory.is_polled();
        if !changes.of(&None).moved && !due {
            return was_there;
        }
        let walked = walk(&mut self.watches, &None, &self.absolute);
        self.directory.unsupported = (self.options.inotify_unsupported)(&self.absolute);
        self.directory.unwatched = walked.is_err();
        let watched = walked.map_err(|error| SourceError::watch(&self.shown, error));
        let names = listing::manifest_names(&self.absolute);
        self.directory.unreadable = names.as_ref().is_err_and(|error| !is_missing(error));
        match names {
            Ok(names) => {
                self.directory.missing = Missing::Nothing;
                match watched {
                    Ok(_) => drop(self.reported.remove(&None)),
                    Err(error) => self.report(&None, error, readings),
                }
                self.set_names(names, now, new);
                if !was_there {
                    new.extend(self.files.keys().cloned());
                }
            }
            Err(error) if is_missing(&error) => {
                self.directory.missing.begin(now, SourceError::NoDirectory);
            }
            Err(error) => {
                self.directory.missing = Missing::Nothing;
                self.report(&None, SourceError::read(&self.shown, error), readings);
            }
        }
        self.directory.is_there()
    }

    /// Takes over which files there are.
    pub(super) fn set_names(
        &mut self,
        names: BTreeSet<OsString>,
        now: Instant,
        new: &mut BTreeSet<PathId>,
    ) {
        let names: BTreeSet<PathId> = names.into_iter().map(Some).collect();
        let gone: Vec<PathId> = self
            .files
            .keys()
            .filter(|id| !names.contains(*id))
            .cloned()
            .collect();
        for id in gone {
            self.files.remove(&id);
            self.reported.remove(&id);
            self.watches.remove(&id);
            self.merged.set_gone(&self.shown(&id), now);
        }
        for id in names {
            if !self.files.contains_key(&id) {
                self.files.insert(id.clone(), ManifestFile::default());
                // What it said before it went is good until it says something else.
                self.merged.set_broken(&self.shown(&id));
                new.insert(id);
            }
        }
    }
}
