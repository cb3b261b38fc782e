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

use super::error::{Place, SourceError};
use super::parse::Placed;

/// Every object that a source tells.
pub type Objects = BTreeMap<ObjectKey, Arc<Object>>;

/// Objects and their lines in one file.
type Lines = BTreeMap<ObjectKey, (Arc<Object>, usize)>;

/// The files of a source.
pub(super) struct Shelf {
    patience: Duration,
    books: BTreeMap<PathBuf, Book>,
    /// Objects that no file tells any more, and since when.
    leaving: BTreeMap<ObjectKey, (Arc<Object>, Instant)>,
    /// Objects that two files tell, by the later file and the earlier one.
    conflicts: BTreeMap<Conflict, Standing>,
}

type Conflict = (ObjectKey, PathBuf, PathBuf);

/// Since when a conflict stands, on which lines, and whether that was told.
struct Standing {
    since: Instant,
    lines: [usize; 2],
    told: bool,
}

/// One file.
struct Book {
    now: Now,
    /// What it said last without contradiction.
    good: Lines,
}

/// What a file says now.
enum Now {
    Objects(Lines),
    /// Nothing that can be understood.
    Broken,
    /// It is not there, since then.
    Gone(Instant),
}

impl Book {
    /// What the file lays claim to: also to what it keeps, where it keeps something.
    fn claims(&self, keeps: bool) -> impl Iterator<Item = (&ObjectKey, usize)> {
        let said = match &self.now {
            Now::Objects(lines) => Some(lines),
            Now::Broken | Now::Gone(_) => None,
        };
        let keeps = keeps || matches!(self.now, Now::Broken);
        let kept = keeps.then_some(&self.good);
        let lines = said.into_iter().chain(kept).flatten();
        lines.map(|(key, (_, line))| (key, *line))
    }
}

impl Shelf {
    /// An empty one, and for how long it waits for what is missing.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            books: BTreeMap::new(),
            leaving: BTreeMap::new(),
            conflicts: BTreeMap::new(),
        }
    }

    /// Takes in what a file says. What follows from it is for `settle`.
    pub(super) fn put(&mut self, file: &Path, said: Vec<Placed>) {
        let lines = said
            .into_iter()
            .map(|p| (p.object.key.clone(), (Arc::new(p.object), p.line)));
        self.book(file).now = Now::Objects(lines.collect());
    }

    /// Takes in that what a file says cannot be understood.
    pub(super) fn spoil(&mut self, file: &Path) {
        self.book(file).now = Now::Broken;
    }

    fn book(&mut self, file: &Path) -> &mut Book {
        self.books.entry(file.to_owned()).or_insert_with(|| Book {
            now: Now::Broken,
            good: Lines::new(),
        })
    }

    /// Takes in that a file is not there any more.
    pub(super) fn take_away(&mut self, file: &Path, now: Instant) {
        if let Some(book) = self.books.get_mut(file) {
            book.now = Now::Gone(now);
        }
    }

    /// Draws the conclusions. Says whether the objects may be others than before.
    pub(super) fn settle(&mut self, now: Instant) -> bool {
        let patience = self.patience;
        let due = |since: Instant| since + patience <= now;
        let mut changed = false;

        let kept = self.judge(now);
        for (file, book) in &mut self.books {
            if kept.contains(file) {
                continue;
            }
            if let Now::Objects(said) = &book.now {
                let same = |(object, _): &(Arc<Object>, usize), key| {
                    book.good
                        .get(key)
                        .is_some_and(|(other, _)| Arc::ptr_eq(object, other))
                };
                changed |= said.iter().any(|(key, placed)| !same(placed, key));
                let before = std::mem::replace(&mut book.good, said.clone());
                for (key, (object, _)) in before {
                    if !book.good.contains_key(&key) {
                        self.leaving.insert(key, (object, now));
                    }
                }
            }
        }
        // Whoever tells an object has it from whoever does not any more.
        let taken: BTreeSet<ObjectKey> = self
            .books
            .values()
            .filter(|book| !matches!(book.now, Now::Gone(_)))
            .flat_map(|book| book.good.keys().cloned())
            .collect();
        self.leaving.retain(|key, (_, since)| {
            let stays = !taken.contains(key) && !due(*since);
            changed |= !stays;
            stays
        });
        self.books.retain(|_, book| match book.now {
            Now::Gone(since) => {
                book.good.retain(|key, _| !taken.contains(key));
                changed |= due(since);
                !due(since)
            }
            Now::Objects(_) | Now::Broken => true,
        });
        changed
    }

    /// Finds the conflicts, and the files that keep what they have because of them.
    fn judge(&mut self, now: Instant) -> BTreeSet<PathBuf> {
        let mut kept = BTreeSet::new();
        let found = loop {
            let mut first: HashMap<&ObjectKey, (&PathBuf, usize)> = HashMap::new();
            let mut found = BTreeMap::new();
            for (file, book) in &self.books {
                for (key, line) in book.claims(kept.contains(file)) {
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
            let standing = self.conflicts.entry(key).or_insert(Standing {
                since: now,
                lines,
                told: false,
            });
            standing.lines = lines;
        }
        kept
    }

    /// The conflicts that have stood for so long that they are no passing state. Each said once.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<SourceError> {
        let patience = self.patience;
        self.conflicts
            .iter_mut()
            .filter(|(_, standing)| !standing.told && standing.since + patience <= now)
            .map(|(conflict, standing)| {
                standing.told = true;
                twice(conflict, standing)
            })
            .collect()
    }

    /// The first conflict, however new.
    pub(super) fn conflict(&self) -> Option<SourceError> {
        let (conflict, standing) = self.conflicts.first_key_value()?;
        Some(twice(conflict, standing))
    }

    /// Conflicts that still stand are told again.
    pub(super) fn tell_again(&mut self) {
        for standing in self.conflicts.values_mut() {
            standing.told = false;
        }
    }

    /// When something changes by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let gone = self.books.values().filter_map(|book| match book.now {
            Now::Gone(since) => Some(since),
            Now::Objects(_) | Now::Broken => None,
        });
        let leaving = self.leaving.values().map(|(_, since)| *since);
        let untold = self.conflicts.values().filter(|standing| !standing.told);
        let untold = untold.map(|standing| standing.since);
        let first = gone.chain(leaving).chain(untold).min()?;
        Some(first + self.patience)
    }

    /// Every object that counts now.
    pub(super) fn objects(&self) -> Objects {
        let good = self.books.values().flat_map(|book| &book.good);
        let good = good.map(|(key, (object, _))| (key, object));
        let leaving = self.leaving.iter().map(|(key, (object, _))| (key, object));
        good.chain(leaving)
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect()
    }
}

fn twice((object, second, first): &Conflict, standing: &Standing) -> SourceError {
    let place = |file: &PathBuf, line| Place {
        file: file.clone(),
        line,
    };
    let [first_line, second_line] = standing.lines;
    SourceError::Twice {
        object: object.clone(),
        places: Box::new([place(first, first_line), place(second, second_line)]),
    }
}
