//! A source under watch: changes in, readings out, one step at a time.
//!
//! Holds what has to be known from one event to the next. Everything here touches the disk and may
//! wait for it, so it runs on a thread of its own; when to take which step is the loop's in
//! `manifests`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::directory::DirectoryState;
use super::error::SourceError;
use super::inotify_watches::{Changes, InotifyWatches, PathId};
use super::manifest_file::{FileReading, ManifestFile};
use super::manifests::Reading;
use super::merge::MergedFiles;
use super::path_walk::walk;
use super::read_options::ReadOptions;

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One file, whose id has no name.
    File,
    /// A directory of files.
    Directory,
}

/// A source that is being watched.
pub(super) struct Watch {
    pub(super) options: ReadOptions,
    pub(super) shape: Shape,
    /// The path as it was given, for words.
    pub(super) shown: PathBuf,
    /// The same from the root on, so that directories above a relative one are watched too.
    pub(super) absolute: PathBuf,
    pub(super) watches: InotifyWatches,
    pub(super) files: BTreeMap<PathId, ManifestFile>,
    pub(super) merged: MergedFiles,
    /// A directory's own state; a file's is in `files`.
    pub(super) directory: DirectoryState,
    /// What was reported of each path and may still hold.
    pub(super) reported: HashMap<PathId, HashSet<String>>,
    /// When what cannot be watched was read last.
    pub(super) last_poll: Instant,
}

impl Watch {
    /// Does what changes and the time ask for, and returns what there is to say.
    pub(super) fn act(&mut self, changes: &Changes) -> Vec<Reading> {
        let now = Instant::now();
        let mut readings = Vec::new();
        if changes.reload {
            self.reported.clear();
            self.merged.report_again();
            self.files.values_mut().for_each(ManifestFile::forget);
        }
        let poll = self.needs_polling() && self.last_poll + self.options.poll <= now;
        if poll {
            self.last_poll = now;
        }
        let mut new = BTreeSet::new();
        let there = match self.shape {
            Shape::File => true,
            Shape::Directory => self.read_directory(changes, poll, now, &mut new, &mut readings),
        };
        if there {
            self.read(changes, poll, now, &new, &mut readings);
        }
        self.report_missing(now, &mut readings);
        let changed = self.merged.merge(now);
        readings.extend(self.merged.overdue(now).into_iter().map(Reading::Broken));
        if changed {
            readings.push(Reading::Objects(self.merged.objects()));
        }
        readings
    }

    /// When something is due though nothing changes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let grace = self.options.grace;
        let missing = self.files.values().map(|file| file.missing);
        let missing = missing.chain([self.directory.missing]);
        let missing = missing.filter_map(|missing| missing.deadline(grace));
        let poll = self
            .needs_polling()
            .then(|| self.last_poll + self.options.poll);
        missing.chain(poll).chain(self.merged.deadline()).min()
    }

    fn needs_polling(&self) -> bool {
        self.directory.is_polled() || self.files.values().any(ManifestFile::is_polled)
    }

    /// Reads the files that something happened to, or that are due.
    fn read(
        &mut self,
        changes: &Changes,
        poll: bool,
        now: Instant,
        new: &BTreeSet<PathId>,
        readings: &mut Vec<Reading>,
    ) {
        let all: Vec<PathId> = self.files.keys().cloned().collect();
        for id in all {
            let change = changes.of(&id);
            let file = &self.files[&id];
            let moved = change.moved || new.contains(&id);
            let due = poll && file.is_polled();
            let mut watched = Ok(());
            if moved || (due && file.unwatched) {
                watched = self.watch_path(&id);
            }
            if moved || change.closed || due {
                self.read_file(&id, now, readings);
            }
            // Where it cannot be read either, that has been reported.
            if let Err(error) = watched
                && !self.files[&id].unreadable
            {
                self.report(&id, error, readings);
            }
        }
    }

    /// Watches all that a file's path goes through.
    pub(super) fn watch_path(&mut self, id: &PathId) -> Result<(), SourceError> {
        let path = self.path(id);
        let walked = walk(&mut self.watches, id, &path);
        if let Some(file) = self.files.get_mut(id) {
            file.unsupported = (self.options.inotify_unsupported)(&path);
            file.unwatched = walked.is_err();
        }
        match walked {
            Ok(_) => Ok(()),
            Err(error) => Err(SourceError::watch(self.shown(id), error)),
        }
    }

    /// Reads one file.
    fn read_file(&mut self, id: &PathId, now: Instant, readings: &mut Vec<Reading>) {
        let (path, shown) = (self.path(id), self.shown(id));
        let Some(file) = self.files.get_mut(id) else {
            return;
        };
        let reading = file.read(
            &path,
            &shown,
            &self.options.namespace,
            now,
            self.options.poll,
        );
        self.accept(id, &shown, reading, readings);
    }

    fn accept(
        &mut self,
        id: &PathId,
        shown: &Path,
        reading: Option<FileReading>,
        readings: &mut Vec<Reading>,
    ) {
        match reading {
            Some(FileReading::Objects(objects)) => {
                self.reported.remove(id);
                self.merged.set(shown, objects);
            }
            Some(FileReading::Broken(error)) => {
                self.merged.set_broken(shown);
                if let SourceError::Manifest(_) = error {
                    // Its writer waits for an answer, also where it is the one of before.
                    self.reported.remove(id);
                }
                self.report(id, error, readings);
            }
            None => {}
        }
    }

    /// Reports what has been missing for too long.
    fn report_missing(&mut self, now: Instant, readings: &mut Vec<Reading>) {
        let grace = self.options.grace;
        if let Some(to_error) = self.directory.missing.overdue(now, grace) {
            self.report(&None, to_error(self.shown.clone()), readings);
        }
        let overdue = |(id, file): (&PathId, &mut ManifestFile)| {
            let to_error = file.missing.overdue(now, grace)?;
            file.forget();
            Some((id.clone(), to_error))
        };
        let overdue_files: Vec<_> = self.files.iter_mut().filter_map(overdue).collect();
        for (id, to_error) in overdue_files {
            let shown = self.shown(&id);
            let reading = FileReading::Broken(to_error(shown.clone()));
            self.accept(&id, &shown, Some(reading), readings);
        }
    }

    /// Reports what is wrong, unless that was reported and nothing was right since.
    pub(super) fn report(&mut self, id: &PathId, error: SourceError, readings: &mut Vec<Reading>) {
        let reported = self.reported.entry(id.clone()).or_default();
        if reported.insert(error.to_string()) {
            readings.push(Reading::Broken(error));
        }
    }

    /// Where a file is.
    pub(super) fn path(&self, id: &PathId) -> PathBuf {
        below(&self.absolute, id)
    }

    /// What a file is called.
    pub(super) fn shown(&self, id: &PathId) -> PathBuf {
        below(&self.shown, id)
    }
}

fn below(path: &Path, id: &PathId) -> PathBuf {
    match id {
        Some(name) => path.join(name),
        None => path.to_owned(),
    }
}
