//! The first look at a source, where errors are told instead of waited out.
//!
//! Whoever starts wants to know at once what is wrong. A single file must be right. A directory must be
//! one that can be watched, and no object may be told twice in it; a file of it that is broken is
//! told and passed over, as it would be later, so that a restart serves what a running one serves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{PathBuf, absolute};
use std::time::Duration;

use tokio::time::Instant;

use super::directory::DirectoryState;
use super::error::SourceError;
use super::fault::ManifestFault;
use super::inotify_watches::{InotifyWatches, PathId};
use super::listing;
use super::manifest_file::{FileReading, ManifestFile};
use super::manifests::{Manifests, Reading};
use super::merge::MergedFiles;
use super::path_walk::walk;
use super::read_options::ReadOptions;
use super::watch::{Shape, Watch};

pub(super) fn open(shown: PathBuf, options: ReadOptions) -> Result<Manifests, SourceError> {
    let absolute = absolute(&shown).map_err(|error| SourceError::read(&shown, error))?;
    let (inotify, watches) =
        InotifyWatches::new().map_err(|error| SourceError::watch(&shown, error))?;
    let (shape, grace) = if fs::metadata(&absolute).is_ok_and(|found| found.is_dir()) {
        (Shape::Directory, options.grace)
    } else {
        // No other file can tell what this one does not tell any more.
        (Shape::File, Duration::ZERO)
    };
    let now = Instant::now();
    let mut watch = Watch {
        options,
        shape,
        shown,
        absolute,
        watches,
        files: BTreeMap::new(),
        merged: MergedFiles::new(grace),
        directory: DirectoryState::default(),
        reported: HashMap::new(),
        last_poll: now,
    };
    let file_errors = match shape {
        Shape::File => watch.open_file(),
        Shape::Directory => watch.open_directory(now),
    }?;
    watch.merged.merge(now);
    match watch.merged.conflict() {
        Some(error) => Err(error),
        None => Ok(Manifests {
            watch,
            inotify,
            file_errors,
        }),
    }
}

impl Watch {
    fn open_file(&mut self) -> Result<Vec<SourceError>, SourceError> {
        self.files.insert(None, ManifestFile::default());
        let watched = self.watch_path(&None);
        // What is wrong with the file itself is told first.
        match self.read_first(&None) {
            FileReading::Objects(objects) => self.merged.set(&self.shown, objects),
            FileReading::Broken(error) => return Err(error),
        }
        watched.map(|()| Vec::new())
    }

    fn open_directory(&mut self, now: Instant) -> Result<Vec<SourceError>, SourceError> {
        walk(&mut self.watches, &None, &self.absolute)
            .map_err(|error| SourceError::watch(&self.shown, error))?;
        self.directory.unsupported = (self.options.inotify_unsupported)(&self.absolute);
        let names = listing::manifest_names(&self.absolute)
            .map_err(|error| SourceError::read(&self.shown, error))?;
        let mut files = BTreeSet::new();
        self.set_names(names, now, &mut files);
        let mut readings = Vec::new();
        for id in files {
            let watched = self.watch_path(&id);
            let shown = self.shown(&id);
            match self.read_first(&id) {
                FileReading::Objects(objects) => self.merged.set(&shown, objects),
                FileReading::Broken(error) if is_fatal(&error) => return Err(error),
                FileReading::Broken(error) => self.report(&id, error, &mut readings),
            }
            match watched {
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) if !self.files[&id].unreadable => self.report(&id, error, &mut readings),
                _ => {}
            }
        }
        let broken = |reading| match reading {
            Reading::Broken(error) => Some(error),
            Reading::Objects(_) => None,
        };
        Ok(readings.into_iter().filter_map(broken).collect())
    }

    fn read_first(&mut self, id: &PathId) -> FileReading {
        let (path, shown) = (self.path(id), self.shown(id));
        let file = self.files.entry(id.clone()).or_default();
        file.read_first(&path, &shown, &self.options.namespace)
    }
}

/// Whether one file's error is the whole directory's.
fn is_fatal(error: &SourceError) -> bool {
    match error {
        SourceError::Manifest(error) => matches!(error.flaw.fault, ManifestFault::Duplicate(_)),
        SourceError::Watch { limit, .. } | SourceError::Read { limit, .. } => limit.is_some(),
        _ => false,
    }
}
