//! The rooms and their walls. The table "One way down" of docs/ARCHITECTURE.md is the rule: a row is
//! a room, its places, and what it may name. A room names rows below its own alone, so there is no way
//! up and no circle; and what a row allows must occur, so that the table says what is.
//!
//! A `pub use` by which a module shows what is inside itself is a sign at its door and no arrow: who
//! comes by it is taken to name the room of the thing. What is there for tests alone may name anything.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{End, Sources, Tree};

/// Other crates that any room may name: they reach nothing outside the process. (A lock is not for a
/// pure one, see below.)
const PLAIN: &[&str] = &[
    "alloc",
    "base64",
    "core",
    "jiff",
    "parking_lot",
    "serde",
    "serde_json",
    "siphasher",
    "std",
    "thiserror",
    "tracing",
];

/// What a pure room never names, and what it never calls: its results depend on its arguments.
const IMPURE: &[&str] = &[
    "parking_lot",
    "tokio",
    "std::env",
    "std::fs",
    "std::io::stdin",
    "std::net",
    "std::os::fd",
    "std::os::unix::net",
    "std::process",
    "std::sync::Condvar",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];
const IMPURE_CALLS: &[&str] = &["elapsed"];

/// A row of the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub name: String,
    /// Folders, which end with a slash, and files.
    pub places: Vec<String>,
    /// Rooms and crates.
    pub may: BTreeSet<String>,
    pub pure: bool,
}

/// The rows of the table that has a column "may name".
pub fn table(text: &str) -> Vec<Room> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim_matches('|').split('|');
        inner.map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = text.lines();
    let head = lines
        .by_ref()
        .find(|line| line.starts_with("| room |") && line.contains("| may name |"))
        .map(cells)
        .expect("the table of rooms is there, and says what each may name");
    let column = head
        .iter()
        .position(|name| name == "may name")
        .expect("it was found by that");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = cells(line);
            let places: Vec<String> = quoted(&cells[0]).map(place).collect();
            let first = places.first().unwrap_or_else(|| panic!("no room: {line}"));
            let may = cells.get(column).map_or("", String::as_str);
            Room {
                name: short(first),
                may: quoted(may).map(ToOwned::to_owned).collect(),
                pure: may.contains("pure"),
                places,
            }
        })
        .collect()
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// A crate's folder has its sources in `src/`.
fn place(cell: &str) -> String {
    if cell.starts_with("src/") {
        cell.to_owned()
    } else {
        format!("{cell}src/")
    }
}

/// What a room is called by the others: its path without `src/` and without its end.
fn short(place: &str) -> String {
    let name = place.strip_prefix("src/").unwrap_or(place);
    name.trim_end_matches("src/")
        .trim_end_matches('/')
        .trim_end_matches(".rs")
        .to_owned()
}

/// All that a crate is read from.
pub struct Krate<'a> {
    /// The file of its root.
    pub root: &'a str,
    /// The name by which other crates name it.
    pub name: &'a str,
}

/// What is against the rules, a sentence each.
pub fn judge(
    rooms: &[Room],
    crates: &[Krate],
    others: &BTreeSet<String>,
    sources: &Sources,
) -> Vec<String> {
    let own = crates.iter().map(|krate| krate.name.to_owned());
    let others = others.iter().cloned().chain(own).collect();
    let trees: BTreeMap<&str, Tree> = crates
        .iter()
        .map(|krate| (krate.name, Tree::read(krate.root, sources, &others)))
        .collect();
    let mut judge = Judge {
        rooms,
        trees: &trees,
        wrong: BTreeSet::new(),
        seen: BTreeSet::new(),
    };
    judge.files(crates, sources);
    for (name, tree) in &trees {
        judge.tree(name, tree);
    }
    judge.table();
    judge.wrong.into_iter().collect()
}

struct Judge<'a> {
    rooms: &'a [Room],
    trees: &'a BTreeMap<&'a str, Tree>,
    wrong: BTreeSet<String>,
    /// Which room has been seen to name what.
    seen: BTreeSet<(String, String)>,
}

impl Judge<'_> {
    /// The room with the longest place that the file is in.
    fn room(&self, file: &str) -> Option<&Room> {
        let places = |room: &Room| {
            let within = room.places.iter().filter(|place| {
                *place == file || place.ends_with('/') && file.starts_with(place.as_str())
            });
            within.map(String::len).max()
        };
        self.rooms
            .iter()
            .filter_map(|room| Some((places(room)?, room)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, room)| room)
    }

    /// Every file is in a room and in a crate, and every place has a file.
    fn files(&mut self, crates: &[Krate], sources: &Sources) {
        let read: BTreeSet<&str> = self.trees.values().flat_map(Tree::files).collect();
        for file in sources.keys() {
            if !read.contains(file.as_str()) {
                self.wrong.insert(format!("{file} is in no crate"));
            }
            let root = crates.iter().any(|krate| krate.root == file);
            if !root && self.room(file).is_none() {
                self.wrong.insert(format!("{file} is in no room"));
            }
        }
        for place in self.rooms.iter().flat_map(|room| &room.places) {
            let there = sources
                .keys()
                .any(|file| file == place || place.ends_with('/') && file.starts_with(place));
            if !there {
                self.wrong.insert(format!("{place} is not there"));
            }
        }
    }

    fn tree(&mut self, own: &str, tree: &Tree) {
        for (path, module) in tree.modules.iter().filter(|(_, module)| !module.test) {
            let Some(room) = self.room(&module.file) else {
                // A crate's root that is in no room says which modules there are.
                if !module.names.is_empty() {
                    let file = &module.file;
                    self.wrong.insert(format!("{file} names something"));
                }
                continue;
            };
            let (name, pure) = (room.name.clone(), room.pure);
            for named in &module.names {
                let end = tree.end(path, named);
                match &end {
                    End::Here(to) if named.sign && to.starts_with(path) => continue,
                    End::Other(words) if pure && is_impure(words) => {
                        let (file, words) = (&module.file, words.join("::"));
                        self.wrong
                            .insert(format!("{file} is pure and names {words}"));
                    }
                    _ => {}
                }
                if let Some(to) = self.target(own, end).filter(|to| *to != name) {
                    self.arrow(&module.file, &name, &to, &named.text());
                }
            }
            for call in module.calls.iter().filter(|_| pure) {
                if IMPURE_CALLS.contains(&call.as_str()) {
                    let file = &module.file;
                    self.wrong
                        .insert(format!("{file} is pure and calls {call}"));
                }
            }
        }
    }

    /// The room or the crate that a path leads to; nothing where anyone may go there.
    fn target(&self, own: &str, end: End) -> Option<String> {
        let (krate, path) = match end {
            End::Here(path) => (own.to_owned(), path),
            End::Other(words) => {
                let (krate, rest) = words.split_first()?;
                let Some(tree) = self.trees.get(krate.as_str()) else {
                    return Some(krate.clone()).filter(|name| !PLAIN.contains(&name.as_str()));
                };
                let name = super::names::Name {
                    words: [&["crate".to_owned()], rest].concat(),
                    absolute: false,
                    sign: false,
                };
                match tree.end(&[], &name) {
                    End::Here(path) => (krate.clone(), path),
                    end @ End::Other(_) => return self.target(krate, end),
                }
            }
        };
        let module = self.trees.get(krate.as_str())?.modules.get(&path)?;
        Some(self.room(&module.file)?.name.clone())
    }

    fn arrow(&mut self, file: &str, from: &str, to: &str, text: &str) {
        self.seen.insert((from.to_owned(), to.to_owned()));
        let room = self.rooms.iter().find(|room| room.name == from);
        if room.is_some_and(|room| !room.may.contains(to)) {
            self.wrong
                .insert(format!("{file} ({from}) names {to}: {text}"));
        }
    }

    /// One way down, and nothing is allowed that does not occur.
    fn table(&mut self) {
        for (at, room) in self.rooms.iter().enumerate() {
            for to in &room.may {
                let place = self.rooms.iter().position(|other| other.name == *to);
                if place.is_some_and(|place| place <= at) {
                    self.wrong.insert(format!(
                        "the table lets {} name {to}, which is not below",
                        room.name
                    ));
                }
                if !self.seen.contains(&(room.name.clone(), to.clone())) {
                    self.wrong.insert(format!(
                        "the table lets {} name {to}, and nobody does",
                        room.name
                    ));
                }
            }
        }
    }
}

fn is_impure(words: &[String]) -> bool {
    let path = words.join("::");
    IMPURE.iter().any(|impure| {
        path.strip_prefix(impure)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}
