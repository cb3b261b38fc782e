//! The first look at a source, where errors are told instead of waited out.
//!
//! Whoever starts wants to know at once what is wrong. A single file must be right. A folder must be
//! one that can be watched, and no object may be told twice in it; a file of it that is broken is
//! told and passed over, as it would be later, so that a restart serves what a running one serves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{PathBuf, absolute};
use std::time::Duration;

use tokio::time::Instant;

use super::around::Own;
use super::ears::{Ears, Who};
use super::error::SourceError;
use super::fault::Fault;
use super::folder;
use super::manifests::{Manifests, Manners, Reading};
use super::page::{Page, Said};
use super::shelf::Shelf;
use super::trail::walk;
use super::watch::{Shape, Watch};

pub(super) fn open(shown: PathBuf, manners: Manners) -> Result<Manifests, SourceError> {
    let absolute = absolute(&shown).map_err(|error| SourceError::read(&shown, error))?;
    let (inotify, ears) = Ears::new().map_err(|error| SourceError::watch(&shown, error))?;
    let (shape, patience) = if fs::metadata(&absolute).is_ok_and(|found| found.is_dir()) {
        (Shape::Folder, manners.grace)
    } else {
        // No other file can tell what this one does not tell any more.
        (Shape::File, Duration::ZERO)
    };
    let now = Instant::now();
    let mut watch = Watch {
        manners,
        shape,
        shown,
        absolute,
        ears,
        pages: BTreeMap::new(),
        shelf: Shelf::new(patience),
        own: Own::default(),
        told: HashMap::new(),
        polled: now,
    };
    let troubles = match shape {
        Shape::File => watch.open_file(),
        Shape::Folder => watch.open_folder(now),
    }?;
    watch.shelf.settle(now);
    match watch.shelf.conflict() {
        Some(error) => Err(error),
        None => Ok(Manifests {
            watch,
            inotify,
            troubles,
        }),
    }
}

impl Watch {
    fn open_file(&mut self) -> Result<Vec<SourceError>, SourceError> {
        self.pages.insert(None, Page::default());
        let heard = self.listen(&None);
        // What is wrong with the file itself is told first.
        match self.first(&None) {
            Said::Objects(objects) => self.shelf.put(&self.shown, objects),
            Said::Broken(error) => return Err(error),
        }
        heard.map(|()| Vec::new())
    }

    fn open_folder(&mut self, now: Instant) -> Result<Vec<SourceError>, SourceError> {
        walk(&mut self.ears, &None, &self.absolute)
            .map_err(|error| SourceError::watch(&self.shown, error))?;
        self.own.deaf = (self.manners.deaf)(&self.absolute);
        let names =
            folder::names(&self.absolute).map_err(|error| SourceError::read(&self.shown, error))?;
        let mut files = BTreeSet::new();
        self.turn_to(names, now, &mut files);
        let mut tell = Vec::new();
        for who in files {
            let heard = self.listen(&who);
            let shown = self.shown(&who);
            match self.first(&who) {
                Said::Objects(objects) => self.shelf.put(&shown, objects),
                Said::Broken(error) if is_fatal(&error) => return Err(error),
                Said::Broken(error) => self.complain(&who, error, &mut tell),
            }
            match heard {
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) if !self.pages[&who].failed => self.complain(&who, error, &mut tell),
                _ => {}
            }
        }
        let broken = |reading| match reading {
            Reading::Broken(error) => Some(error),
            Reading::Objects(_) => None,
        };
        Ok(tell.into_iter().filter_map(broken).collect())
    }

    fn first(&mut self, who: &Who) -> Said {
        let (path, shown) = (self.path(who), self.shown(who));
        let page = self.pages.entry(who.clone()).or_default();
        page.first(&path, &shown, &self.manners.namespace)
    }
}

/// Whether one file's trouble is the whole folder's.
fn is_fatal(error: &SourceError) -> bool {
    match error {
        SourceError::Manifest(error) => matches!(error.flaw.fault, Fault::Twice(_)),
        SourceError::Watch { limit, .. } | SourceError::Read { limit, .. } => limit.is_some(),
        _ => false,
    }
}
