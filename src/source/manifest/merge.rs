//! What all files of a source say together.
//!
//! An object that two files tell is told by neither: both keep what they said last without
//! contradiction, until one of them is corrected. A file that is broken keeps its own objects, and
//! nobody else's. An object that no file tells any more is gone only after a while, because it may
//! be on its way from one file to another (a renamed file, a checkout that writes one file after
//! the other); whoever tells it meanwhile takes it over. Pure: it is told what was read and when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::object::{Object, ObjectKey};
use tokio::time::Instant;

use super::error::{Location, SourceError};
use super::parse::LocatedObject;

/// Every object that a source tells.
pub type Objects = BTreeMap<ObjectKey, Arc<Object>>;

/// Objects and their lines in one file.
type Located = BTreeMap<ObjectKey, (Arc<Object>, usize)>;

/// The files of a source, and what they say together.
pub(super) struct MergedFiles {
    grace: Duration,
    files: BTreeMap<PathBuf, FileState>,
    /// Objects that no file tells any more, and since when.
    leaving: BTreeMap<ObjectKey, (Arc<Object>, Instant)>,
    /// Objects that two files tell, by the later file and the earlier one.
    conflicts: BTreeMap<ConflictKey, Conflict>,
}

type ConflictKey = (ObjectKey, PathBuf, PathBuf);

/// Since when a conflict stands, on which lines, and whether that was reported.
struct Conflict {
    since: Instant,
    lines: [usize; 2],
    reported: bool,
}

/// One file.
struct FileState {
    content: FileContent,
    /// What it said last without contradiction.
    last_good: Located,
}

/// What a file says now.
enum FileContent {
    Objects(Located),
    /// Nothing that can be understood.
    Broken,
    /// It is not there, since then.
    Gone(Instant),
}

impl FileState {
    /// What the file lays claim to: also to what it keeps, where it keeps something.
    fn claims(&self, keeps: bool) -> impl Iterator<Item = (&ObjectKey, usize)> {
        let said = match &self.content {
            FileContent::Objects(located) => Some(located),
            FileContent::Broken | FileContent::Gone(_) => None,
        };
        let keeps = keeps || matches!(self.content, FileContent::Broken);
        let kept = keeps.then_some(&self.last_good);
        let lines = said.into_iter().chain(kept).flatten();
        lines.map(|(key, (_, line))| (key, *line))
    }
}

impl MergedFiles {
    /// An empty one, and for how long it waits for what is missing.
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            files: BTreeMap::new(),
            leaving: BTreeMap::new(),
            conflicts: BTreeMap::new(),
        }
    }

    /// Takes in what a file says. What follows from it is for `merge`.
    pub(super) fn set(&mut self, file: &Path, said: Vec<LocatedObject>) {
        let lines = said
            .into_iter()
            .map(|p| (p.object.key.clone(), (Arc::new(p.object), p.line)));
        self.state(file).content = FileContent::Objects(lines.collect());
    }

    /// Takes in that what a file says cannot be understood.
    pub(super) fn set_broken(&mut self, file: &Path) {
        self.state(file).content = FileContent::Broken;
    }

    fn state(&mut self, file: &Path) -> &mut FileState {
        self.files
            .entry(file.to_owned())
            .or_insert_with(|| FileState {
                content: FileContent::Broken,
                last_good: Located::new(),
            })
    }

    /// Takes in that a file is not there any more.
    pub(super) fn set_gone(&mut self, file: &Path, now: Instant) {
        if let Some(state) = self.files.get_mut(file) {
            state.content = FileContent::Gone(now);
        }
    }

    /// Draws the conclusions. Says whether the objects may be others than before.
    pub(super) fn merge(&mut self, now: Instant) -> bool {
        let grace = self.grace;
        let due = |since: Instant| since + grace <= now;
        let mut changed = false;

        let held_back = self.find_conflicts(now);
        for (file, state) in &mut self.files {
            if held_back.contains(file) {
                continue;
            }
            if let FileContent::Objects(said) = &state.content {
                let same = |(object, _): &(Arc<Object>, usize), key| {
                    state
                        .last_good
                        .get(key)
                        .is_some_and(|(other, _)| Arc::ptr_eq(object, other))
                };
                changed |= said.iter().any(|(key, located)| !same(located, key));
                let before = std::mem::replace(&mut state.last_good, said.clone());
                for (key, (object, _)) in before {
                    if !state.last_good.contains_key(&key) {
                        self.leaving.insert(key, (object, now));
                    }
                }
            }
        }
        // Whoever tells an object has it from whoever does not any more.
        let taken: BTreeSet<ObjectKey> = self
            .files
            .values()
            .filter(|state| !matches!(state.content, FileContent::Gone(_)))
            .flat_map(|state| state.last_good.keys().cloned())
            .collect();
        self.leaving.retain(|key, (_, since)| {
            let stays = !taken.contains(key) && !due(*since);
            changed |= !stays;
            stays
        });
        self.files.retain(|_, state| match state.content {
            FileContent::Gone(since) => {
                state.last_good.retain(|key, _| !taken.contains(key));
                changed |= due(since);
                !due(since)
            }
            FileContent::Objects(_) | FileContent::Broken => true,
        });
        changed
    }

    /// Finds the conflicts, and the files that keep what they have because of them.
    fn find_conflicts(&mut self, now: Instant) -> BTreeSet<PathBuf> {
        let mut kept = BTreeSet::new();
        let found = loop {
            let mut first: HashMap<&ObjectKey, (&PathBuf, usize)> = HashMap::new();
            let mut found = BTreeMap::new();
            for (file, state) in &self.files {
                for (key, line) in state.claims(kept.contains(file)) {
                    let (other, other_line) = *first.entry(key).or_insert((file, line));
                    if other != file {
                        let conflict = (key.clone(), file.clone(), other.clone());
                        found.entry(conflict).or_insert([other_line, line]);
                    }
                }
            }
            // A file that keeps what it has may be in the way of one that was free so far.
            let more: BTreeSet<PathBuf> = found
                .keys()
                .flat_map(|(_, file, other)| [file.clone(), other.clone()])
                .collect();
            if more.is_subset(&kept) {
                break found;
            }
            kept.extend(more);
        };
        self.conflicts.retain(|key, _| found.contains_key(key));
        for (key, lines) in found {
            let conflict = self.conflicts.entry(key).or_insert(Conflict {
                since: now,
                lines,
                reported: false,
            });
            conflict.lines = lines;
        }
        kept
    }

    /// The conflicts that have stood for so long that they are no passing state. Each given once.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<SourceError> {
        let grace = self.grace;
        self.conflicts
            .iter_mut()
            .filter(|(_, conflict)| !conflict.reported && conflict.since + grace <= now)
            .map(|(key, conflict)| {
                conflict.reported = true;
                duplicate(key, conflict)
            })
            .collect()
    }

    /// The first conflict, however new.
    pub(super) fn conflict(&self) -> Option<SourceError> {
        let (key, conflict) = self.conflicts.first_key_value()?;
        Some(duplicate(key, conflict))
    }

    /// Conflicts that still stand are reported again.
    pub(super) fn report_again(&mut self) {
        for conflict in self.conflicts.values_mut() {
            conflict.reported = false;
        }
    }

    /// When something changes by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let gone = self.files.values().filter_map(|state| match state.content {
            FileContent::Gone(since) => Some(since),
            FileContent::Objects(_) | FileContent::Broken => None,
        });
        let leaving = self.leaving.values().map(|(_, since)| *since);
        let unreported = self
            .conflicts
            .values()
            .filter(|conflict| !conflict.reported);
        let unreported = unreported.map(|conflict| conflict.since);
        let first = gone.chain(leaving).chain(unreported).min()?;
        Some(first + self.grace)
    }

    /// Every object that counts now.
    pub(super) fn objects(&self) -> Objects {
        let good = self.files.values().flat_map(|state| &state.last_good);
        let good = good.map(|(key, (object, _))| (key, object));
        let leaving = self.leaving.iter().map(|(key, (object, _))| (key, object));
        good.chain(leaving)
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect()
    }
}

fn duplicate((object, second, first): &ConflictKey, conflict: &Conflict) -> SourceError {
    let location = |file: &PathBuf, line| Location {
        file: file.clone(),
        line,
    };
    let [first_line, second_line] = conflict.lines;
    SourceError::Duplicate {
        object: object.clone(),
        locations: Box::new([location(first, first_line), location(second, second_line)]),
    }
}
