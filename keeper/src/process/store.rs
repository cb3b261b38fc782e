//! What is held: a descriptor for each name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::message::{MAX_DESCRIPTORS, Name};

/// Descriptors that are not for holding: those beside a message that has just come, clients, processes.
const RESERVE: usize = 2 * MAX_DESCRIPTORS + 262;
/// Names are memory too: at the longest, this many are a quarter of a gigabyte, at the usual length 100 MiB.
const MOST: usize = 1 << 20;

/// The store is full.
#[derive(Debug)]
pub(super) struct Full;

pub(super) struct Store {
    held: BTreeMap<Name, OwnedFd>,
    most: usize,
}

impl Store {
    /// A store in a process that may have so many descriptors.
    pub fn of(descriptors: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            most: descriptors.saturating_sub(RESERVE).min(MOST),
        }
    }

    /// Holds a descriptor; one that was held under the name is closed.
    pub fn put(&mut self, name: Name, descriptor: OwnedFd) -> Result<(), Full> {
        let full = self.held.len() >= self.most;
        match self.held.entry(name) {
            Entry::Occupied(mut held) => drop(held.insert(descriptor)),
            Entry::Vacant(_) if full => return Err(Full),
            Entry::Vacant(free) => drop(free.insert(descriptor)),
        }
        Ok(())
    }

    /// Lets go; of what is not there, too.
    pub fn remove(&mut self, name: &Name) {
        self.held.remove(name);
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The next ones after a name, as many as one message takes.
    pub fn after(&self, name: Option<&Name>) -> Vec<(&Name, BorrowedFd<'_>)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.held
            .range::<Name, _>((from, Bound::Unbounded))
            .take(MAX_DESCRIPTORS)
            .map(|(name, descriptor)| (name, descriptor.as_fd()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    fn name(number: usize) -> Name {
        format!("v{number:04}").parse().expect("a name")
    }

    fn descriptor() -> OwnedFd {
        eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd")
    }

    #[test]
    fn it_is_bounded_and_one_name_is_one_descriptor() {
        let mut store = Store::of(RESERVE + 300);
        for number in 0..300 {
            store.put(name(number), descriptor()).expect("has room");
        }
        assert!(store.put(name(300), descriptor()).is_err());
        store
            .put(name(7), descriptor())
            .expect("in the place of another");
        assert_eq!(store.len(), 300);
        let first: Vec<Name> = store
            .after(None)
            .iter()
            .map(|(name, _)| (*name).clone())
            .collect();
        let second = store.after(first.last());
        assert_eq!((first.len(), second.len()), (MAX_DESCRIPTORS, 47));
        assert_eq!(*second[0].0, name(MAX_DESCRIPTORS));
        store.remove(&name(0));
        store.remove(&name(0));
        store.put(name(300), descriptor()).expect("has room again");
        assert!(Store::of(3).put(name(0), descriptor()).is_err());
    }
}
