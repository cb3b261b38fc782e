//! A folder that is the source: whether it is there, and which files it has.
//!
//! Nothing is known of the files of a folder that is away: they are neither read nor missed, and
//! their objects stay. A file that goes takes its objects with it, after a while.

use std::collections::BTreeSet;
use std::ffi::OsString;

use tokio::time::Instant;

use super::absence::Absence;
use super::ears::{Noise, Who};
use super::error::SourceError;
use super::folder;
use super::manifests::Reading;
use super::page::Page;
use super::settle::is_absence;
use super::trail::walk;
use super::watch::Watch;

/// What is known of a folder that is the source.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub absence: Absence,
    pub deaf: bool,
    pub unheard: bool,
    pub failed: bool,
}

impl Own {
    pub(super) fn is_there(&self) -> bool {
        !self.failed && matches!(self.absence, Absence::No)
    }

    pub(super) fn is_polled(&self) -> bool {
        self.deaf || self.unheard || self.failed
    }
}

impl Watch {
    /// Finds out which files a folder has. False where there is no folder: nothing is known of its
    /// files then.
    pub(super) fn look_around(
        &mut self,
        noise: &Noise,
        poll: bool,
        now: Instant,
        fresh: &mut BTreeSet<Who>,
        tell: &mut Vec<Reading>,
    ) -> bool {
        let was_there = self.own.is_there();
        let due = poll && self.own.is_polled();
        if !noise.of(&None).moved && !due {
            return was_there;
        }
        let walked = walk(&mut self.ears, &None, &self.absolute);
        self.own.deaf = (self.manners.deaf)(&self.absolute);
        self.own.unheard = walked.is_err();
        let heard = walked.map_err(|error| SourceError::watch(&self.shown, error));
        let names = folder::names(&self.absolute);
        self.own.failed = names.as_ref().is_err_and(|error| !is_absence(error));
        match names {
            Ok(names) => {
                self.own.absence = Absence::No;
                match heard {
                    Ok(_) => drop(self.told.remove(&None)),
                    Err(error) => self.complain(&None, error, tell),
                }
                self.turn_to(names, now, fresh);
                if !was_there {
                    fresh.extend(self.pages.keys().cloned());
                }
            }
            Err(error) if is_absence(&error) => self.own.absence.begin(now, SourceError::NoFolder),
            Err(error) => {
                self.own.absence = Absence::No;
                self.complain(&None, SourceError::read(&self.shown, error), tell);
            }
        }
        self.own.is_there()
    }

    /// Takes over which files there are.
    pub(super) fn turn_to(
        &mut self,
        names: BTreeSet<OsString>,
        now: Instant,
        fresh: &mut BTreeSet<Who>,
    ) {
        let names: BTreeSet<Who> = names.into_iter().map(Some).collect();
        let gone: Vec<Who> = self
            .pages
            .keys()
            .filter(|who| !names.contains(*who))
            .cloned()
            .collect();
        for who in gone {
            self.pages.remove(&who);
            self.told.remove(&who);
            self.ears.forget(&who);
            self.shelf.take_away(&self.shown(&who), now);
        }
        for who in names {
            if !self.pages.contains_key(&who) {
                self.pages.insert(who.clone(), Page::default());
                // What it said before it went is good until it says something else.
                self.shelf.spoil(&self.shown(&who));
                fresh.insert(who);
            }
        }
    }
}
