//! A source under watch: what was heard in, readings out, one step at a time.
//!
//! Holds what has to be known from one event to the next. Everything here touches the disk and may
//! wait for it, so it runs on a thread of its own; when to take which step is the loop's in
//! `manifests`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::around::Own;
use super::ears::{Ears, Noise, Who};
use super::error::SourceError;
use super::manifests::{Manners, Reading};
use super::page::{Page, Said};
use super::shelf::Shelf;
use super::trail::walk;

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One file, whose page has no name.
    File,
    /// A folder of files.
    Folder,
}

/// A source that is being watched.
pub(super) struct Watch {
    pub(super) manners: Manners,
    pub(super) shape: Shape,
    /// The path as it was given, for words.
    pub(super) shown: PathBuf,
    /// The same from the root on, so that folders above a relative one are heard too.
    pub(super) absolute: PathBuf,
    pub(super) ears: Ears,
    pub(super) pages: BTreeMap<Who, Page>,
    pub(super) shelf: Shelf,
    /// A folder's own state; a file's is in its page.
    pub(super) own: Own,
    /// What was told of each path and may still hold.
    pub(super) told: HashMap<Who, HashSet<String>>,
    /// When those who cannot be heard were looked at last.
    pub(super) polled: Instant,
}

impl Watch {
    /// Does what was heard, and what is due, and says what there is to tell.
    pub(super) fn act(&mut self, noise: &Noise) -> Vec<Reading> {
        let now = Instant::now();
        let mut tell = Vec::new();
        if noise.again {
            self.told.clear();
            self.shelf.tell_again();
            self.pages.values_mut().for_each(Page::forget);
        }
        let poll = self.needs_polling() && self.polled + self.manners.poll <= now;
        if poll {
            self.polled = now;
        }
        let mut fresh = BTreeSet::new();
        let there = match self.shape {
            Shape::File => true,
            Shape::Folder => self.look_around(noise, poll, now, &mut fresh, &mut tell),
        };
        if there {
            self.read(noise, poll, now, &fresh, &mut tell);
        }
        self.tell_lacks(now, &mut tell);
        let changed = self.shelf.settle(now);
        tell.extend(self.shelf.overdue(now).into_iter().map(Reading::Broken));
        if changed {
            tell.push(Reading::Objects(self.shelf.objects()));
        }
        tell
    }

    /// When something is due though nothing is heard.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let grace = self.manners.grace;
        let lacks = self.pages.values().map(|page| page.absence);
        let lacks = lacks.chain([self.own.absence]);
        let lacks = lacks.filter_map(|absence| absence.deadline(grace));
        let poll = self
            .needs_polling()
            .then(|| self.polled + self.manners.poll);
        lacks.chain(poll).chain(self.shelf.deadline()).min()
    }

    fn needs_polling(&self) -> bool {
        self.own.is_polled() || self.pages.values().any(Page::is_polled)
    }

    /// Reads the files that something happened to, or that are due.
    fn read(
        &mut self,
        noise: &Noise,
        poll: bool,
        now: Instant,
        fresh: &BTreeSet<Who>,
        tell: &mut Vec<Reading>,
    ) {
        let all: Vec<Who> = self.pages.keys().cloned().collect();
        for who in all {
            let heard = noise.of(&who);
            let page = &self.pages[&who];
            let moved = heard.moved || fresh.contains(&who);
            let due = poll && page.is_polled();
            let mut listened = Ok(());
            if moved || (due && page.unheard) {
                listened = self.listen(&who);
            }
            if moved || heard.closed || due {
                self.turn(&who, now, tell);
            }
            // Where it cannot be read either, that has been told.
            if let Err(error) = listened
                && !self.pages[&who].failed
            {
                self.complain(&who, error, tell);
            }
        }
    }

    /// Listens to the changes of a file.
    pub(super) fn listen(&mut self, who: &Who) -> Result<(), SourceError> {
        let path = self.path(who);
        let walked = walk(&mut self.ears, who, &path);
        if let Some(page) = self.pages.get_mut(who) {
            page.deaf = (self.manners.deaf)(&path);
            page.unheard = walked.is_err();
        }
        match walked {
            Ok(_) => Ok(()),
            Err(error) => Err(SourceError::watch(self.shown(who), error)),
        }
    }

    /// Reads one file.
    fn turn(&mut self, who: &Who, now: Instant, tell: &mut Vec<Reading>) {
        let (path, shown) = (self.path(who), self.shown(who));
        let Some(page) = self.pages.get_mut(who) else {
            return;
        };
        let said = page.read(
            &path,
            &shown,
            &self.manners.namespace,
            now,
            self.manners.poll,
        );
        self.take(who, &shown, said, tell);
    }

    fn take(&mut self, who: &Who, shown: &Path, said: Option<Said>, tell: &mut Vec<Reading>) {
        match said {
            Some(Said::Objects(objects)) => {
                self.told.remove(who);
                self.shelf.put(shown, objects);
            }
            Some(Said::Broken(error)) => {
                self.shelf.spoil(shown);
                if let SourceError::Manifest(_) = error {
                    // Its writer waits for an answer, also where it is the one of before.
                    self.told.remove(who);
                }
                self.complain(who, error, tell);
            }
            None => {}
        }
    }

    /// Tells what has been lacking for too long.
    fn tell_lacks(&mut self, now: Instant, tell: &mut Vec<Reading>) {
        let grace = self.manners.grace;
        if let Some(why) = self.own.absence.overdue(now, grace) {
            self.complain(&None, why(self.shown.clone()), tell);
        }
        let overdue = |(who, page): (&Who, &mut Page)| {
            let why = page.absence.overdue(now, grace)?;
            page.forget();
            Some((who.clone(), why))
        };
        let lacks: Vec<_> = self.pages.iter_mut().filter_map(overdue).collect();
        for (who, why) in lacks {
            let shown = self.shown(&who);
            let said = Said::Broken(why(shown.clone()));
            self.take(&who, &shown, Some(said), tell);
        }
    }

    /// Tells what is wrong, unless that was told and nothing was right since.
    pub(super) fn complain(&mut self, who: &Who, error: SourceError, tell: &mut Vec<Reading>) {
        let told = self.told.entry(who.clone()).or_default();
        if told.insert(error.to_string()) {
            tell.push(Reading::Broken(error));
        }
    }

    /// Where a file is.
    pub(super) fn path(&self, who: &Who) -> PathBuf {
        below(&self.absolute, who)
    }

    /// What a file is called.
    pub(super) fn shown(&self, who: &Who) -> PathBuf {
        below(&self.shown, who)
    }
}

fn below(path: &Path, who: &Who) -> PathBuf {
    match who {
        Some(name) => path.join(name),
        None => path.to_owned(),
    }
}
