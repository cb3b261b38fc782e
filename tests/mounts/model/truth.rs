//! What a volume has to show and to tell, computed from plain maps and the words of docs/SEMANTICS.md
//! alone: nothing of the product is asked here.

use std::collections::{BTreeMap, BTreeSet};

use super::any::is_below;
use crate::support::served::Tree;
use crate::support::watch::Event;

/// A name's type: what decides whether it is still the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    File,
    Folder,
}

/// Every name of a tree, the volume's root (the empty path) included.
pub fn names(tree: &Tree) -> BTreeMap<String, Kind> {
    let mut names = BTreeMap::from([(String::new(), Kind::Folder)]);
    for path in tree.keys() {
        names.insert(path.clone(), Kind::File);
        let mut at = path.as_str();
        while let Some((folder, _)) = at.rsplit_once('/') {
            names.insert(folder.to_owned(), Kind::Folder);
            at = folder;
        }
    }
    names
}

/// The folder that holds a path, and its last name.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The names right below a folder.
pub fn children<'a>(
    names: &'a BTreeMap<String, Kind>,
    folder: &'a str,
) -> impl Iterator<Item = (&'a str, Kind)> {
    names
        .iter()
        .filter(|(path, _)| !path.is_empty())
        .filter_map(move |(path, kind)| {
            let (parent, name) = split(path);
            (parent == folder).then_some((name, *kind))
        })
}

/// The label of the watch on a folder.
pub fn folder(path: &str) -> String {
    format!("folder {path}")
}

/// The label of the watch on a file.
pub fn file(path: &str) -> String {
    format!("file {path}")
}

/// Events by who hears them and of which name, in their order.
pub type Heard = BTreeMap<(String, String), Vec<String>>;

pub fn heard(events: &[Event]) -> Heard {
    let mut heard = Heard::new();
    for event in events {
        heard
            .entry((event.label.clone(), event.name.clone()))
            .or_default()
            .push(event.kind.clone());
    }
    heard
}

/// Whether a name's own entry in the kernel is held by somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    No,
    /// By who opened it under the name it has now, or something below it.
    Yes,
    /// That cannot be known, or what follows from it is nobody's promise.
    Unsure,
}

/// Who listens, and what is held, as far as it matters to what is heard.
pub struct Watchers<'a> {
    /// The files whose own watch is alive, whether they have a name or not.
    pub files: &'a BTreeSet<String>,
    pub held: &'a dyn Fn(&str, Kind) -> Held,
    /// Whether each commit ends with a MOVED_TO of `..data`.
    pub dotdata: bool,
}

/// One commit: from this to that.
pub struct Change<'a> {
    pub old: &'a Tree,
    pub new: &'a Tree,
    old_names: BTreeMap<String, Kind>,
    new_names: BTreeMap<String, Kind>,
    /// The names that are a folder on one side and a file on the other.
    retyped: Vec<String>,
}

impl<'a> Change<'a> {
    pub fn new(old: &'a Tree, new: &'a Tree) -> Self {
        let (old_names, new_names) = (names(old), names(new));
        let is_retyped =
            |(path, kind): &(&String, &Kind)| new_names.get(*path).is_some_and(|is| is != *kind);
        let retyped = old_names.iter().filter(is_retyped);
        Self {
            old,
            new,
            retyped: retyped.map(|(path, _)| path.clone()).collect(),
            old_names,
            new_names,
        }
    }

    fn is_rewritten(&self, path: &str) -> bool {
        match (self.old.get(path), self.new.get(path)) {
            (Some(old), Some(new)) => old.0 != new.0,
            _ => false,
        }
    }

    fn has_gone(&self, path: &str) -> bool {
        self.old_names.get(path) != self.new_names.get(path) && self.old_names.contains_key(path)
    }

    /// Whether the name comes in by itself, not within a folder that does.
    fn comes_in(&self, path: &str) -> bool {
        self.old_names.get(path) != self.new_names.get(path)
            && self.new_names.contains_key(path)
            && self.old_names.get(split(path).0) == Some(&Kind::Folder)
    }

    /// The events of the commit, and those that nothing is promised about.
    pub fn expected(&self, ears: &Watchers<'_>) -> (Heard, BTreeSet<(String, String)>) {
        let mut heard = Heard::new();
        let mut open = BTreeSet::new();
        let mut tell = |label: String, name: &str, kinds: &[&str]| {
            if !kinds.is_empty() {
                let kinds = kinds.iter().map(ToString::to_string);
                heard
                    .entry((label, name.to_owned()))
                    .or_default()
                    .extend(kinds);
            }
        };
        for (path, kind) in &self.old_names {
            let (parent, name) = split(path);
            if self.is_rewritten(path) {
                let round: &[&str] = if self.new[path].1 & 0o111 == 0 {
                    &["OPEN", "MODIFY", "CLOSE_WRITE"]
                } else {
                    &["MODIFY"]
                };
                tell(folder(parent), name, round);
                if ears.files.contains(path) {
                    tell(file(path), "", round);
                }
            }
            if !self.has_gone(path) {
                continue;
            }
            let held = (ears.held)(path, *kind);
            match kind {
                Kind::File => tell(folder(parent), name, &["DELETE"]),
                Kind::Folder => tell(folder(parent), name, &["DELETE,ISDIR"]),
            }
            match (kind, held) {
                (Kind::File, Held::Unsure) => drop(open.insert((file(path), String::new()))),
                (Kind::Folder, Held::Unsure) => drop(open.insert((folder(path), String::new()))),
                (Kind::File, _) if !ears.files.contains(path) => {}
                (Kind::File, Held::Yes) => tell(file(path), "", &["ATTRIB"]),
                (Kind::File, Held::No) => {
                    tell(file(path), "", &["ATTRIB", "DELETE_SELF", "IGNORED"]);
                }
                (Kind::Folder, Held::Yes) => {}
                (Kind::Folder, Held::No) => tell(folder(path), "", &["DELETE_SELF", "IGNORED"]),
            }
        }
        for (path, kind) in &self.new_names {
            if self.comes_in(path) {
                let (parent, name) = split(path);
                match kind {
                    Kind::File => tell(folder(parent), name, &["MOVED_TO"]),
                    Kind::Folder => tell(folder(parent), name, &["MOVED_TO,ISDIR"]),
                }
                // A file that comes back while it is held is the same inode, and was moved.
                if *kind == Kind::File && ears.files.contains(path) {
                    tell(file(path), "", &["MOVE_SELF"]);
                }
            }
        }
        if ears.dotdata && !self.is_nothing() {
            tell(folder(""), "..data", &["MOVED_TO"]);
        }
        (heard, open)
    }

    fn is_nothing(&self) -> bool {
        self.old == self.new
    }

    /// Where in the order of a commit an event belongs: changes of type, added names, changed files,
    /// removed names, `..data`.
    pub fn rank(&self, event: &Event) -> u8 {
        let (kind, at) = event.label.split_once(' ').expect("a label of ours");
        let path = match (kind, at, event.name.as_str()) {
            (_, at, "") => at.to_owned(),
            (_, "", name) => name.to_owned(),
            (_, at, name) => format!("{at}/{name}"),
        };
        let within_retyped = self
            .retyped
            .iter()
            .any(|above| *above == path || is_below(&path, above));
        if event.name == "..data" {
            4
        } else if within_retyped {
            0
        } else if self.is_rewritten(&path) {
            2
        } else if self.has_gone(&path) {
            3
        } else {
            1
        }
    }
}
