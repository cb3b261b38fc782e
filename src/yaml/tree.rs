//! A document as a tree of plain data.
//!
//! The tree borrows from the text where it can. An alias shares the node that it names and is never
//! copied out, so a bomb made of aliases stays as small as it is written; whoever walks a tree
//! bounds his own steps. What the values mean for an object is not known here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::rc::Rc;

use super::scalar::ValueType;

/// A value and the line where it starts.
pub(crate) struct Node<'a> {
    pub line: usize,
    pub value: Value<'a>,
    /// How many collections stand on top of each other from here down.
    pub height: usize,
}

pub(crate) enum Value<'a> {
    /// A scalar and what it is; for numbers and booleans the text as it is written.
    Scalar(ValueType, Cow<'a, str>),
    Sequence(Vec<Rc<Node<'a>>>),
    Mapping(Mapping<'a>),
}

impl Node<'_> {
    /// What the node is, in the words of an error.
    pub(crate) fn value_type(&self) -> ValueType {
        match &self.value {
            Value::Scalar(value_type, _) => *value_type,
            Value::Sequence(_) => ValueType::Sequence,
            Value::Mapping(_) => ValueType::Mapping,
        }
    }
}

/// A mapping with its merges done.
#[derive(Default)]
pub(crate) struct Mapping<'a> {
    entries: HashMap<Cow<'a, str>, Entry<'a>>,
    /// The first key that is told again: its name, the line of the second and of the first.
    pub duplicate: Option<(Cow<'a, str>, usize, usize)>,
}

/// One entry of a mapping.
#[derive(Clone)]
pub(crate) struct Entry<'a> {
    /// The key's line.
    pub line: usize,
    /// What the key is; text unless it was left unquoted.
    pub key_type: ValueType,
    pub node: Rc<Node<'a>>,
    /// Position in the mapping, since a file in JSON may be one line.
    order: usize,
    merged: bool,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(line: usize, key_type: ValueType, node: Rc<Node<'a>>) -> Self {
        Self {
            line,
            key_type,
            node,
            order: 0,
            merged: false,
        }
    }

    /// The same, brought in by a merge key on another line.
    pub(crate) fn merged(&self, line: usize) -> Self {
        Self {
            line,
            merged: true,
            ..self.clone()
        }
    }
}

impl<'a> Mapping<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.get(key)
    }

    /// The entries in the order in which they are written.
    pub(crate) fn in_order(&self) -> Vec<(&str, &Entry<'a>)> {
        let mut all: Vec<_> = self.entries.iter().map(|(k, e)| (&**k, e)).collect();
        all.sort_unstable_by_key(|(_, entry)| entry.order);
        all
    }

    /// Sets a key. One's own overrides a merged one that stands above it; any other meeting of two
    /// is told, for parsers disagree on who wins.
    pub(crate) fn insert(&mut self, key: Cow<'a, str>, mut entry: Entry<'a>) {
        entry.order = self.entries.len();
        match self.entries.entry(key) {
            MapEntry::Vacant(vacant) => {
                vacant.insert(entry);
            }
            MapEntry::Occupied(mut occupied) => match (occupied.get().merged, entry.merged) {
                (true, true) => {}
                (true, false) => {
                    occupied.insert(entry);
                }
                (false, _) => {
                    let first = occupied.get().line;
                    self.duplicate
                        .get_or_insert_with(|| (occupied.key().clone(), entry.line, first));
                }
            },
        }
    }
}
