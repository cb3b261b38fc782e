//! A source in memory, for tests: what a source must bring along, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use livemount_engine::object::{Bytes, Kind, Object, ObjectKey, Origin};
use parking_lot::Mutex;

use super::{Mailbox, Source, Update};

/// The origin of its objects.
pub const ORIGIN: Origin = Origin::named("memory");

/// `ConfigMap default/<name>` of this source.
pub fn key(name: &str) -> ObjectKey {
    ObjectKey {
        kind: Kind::ConfigMap,
        namespace: "default".into(),
        name: name.into(),
        origin: ORIGIN,
    }
}

/// An object of one file, `file`, with these bytes.
#[allow(clippy::missing_panics_doc)] // a test's own fault
pub fn object(name: &str, bytes: &str) -> Object {
    let data = BTreeMap::from([("file".to_owned(), Bytes::from(bytes))]);
    Object::new(key(name), data).expect("a legal object")
}

/// Objects that a test sets.
pub struct Memory {
    origin: Origin,
    mailbox: Arc<Mailbox>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<ObjectKey, Object>,
    watched: BTreeSet<ObjectKey>,
}

impl Memory {
    /// An empty one, whose objects have this origin.
    pub fn new(origin: Origin, mailbox: Arc<Mailbox>) -> Arc<Self> {
        Arc::new(Self {
            origin,
            mailbox,
            state: Mutex::default(),
        })
    }

    /// This is the object now.
    pub fn set(&self, object: Object) {
        let key = object.key.clone();
        let mut state = self.state.lock();
        state.objects.insert(key.clone(), object);
        state.tell(&key, &self.mailbox);
    }
}

impl State {
    fn tell(&self, key: &ObjectKey, mailbox: &Mailbox) {
        if self.watched.contains(key) {
            mailbox.read([(key.clone(), self.objects.get(key).cloned())]);
        }
    }
}

impl Source for Memory {
    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn watch(&self, key: &ObjectKey) {
        let mut state = self.state.lock();
        state.watched.insert(key.clone());
        state.tell(key, &self.mailbox);
    }

    fn unwatch(&self, key: &ObjectKey) {
        self.state.lock().watched.remove(key);
        self.mailbox.withdraw(key);
    }
}

mod tests {
    use super::super::Sources;
    use super::*;

    const OTHER: Origin = Origin::named("other");

    #[tokio::test]
    async fn each_source_is_asked_for_its_own_objects_and_all_are_heard_at_one_place() {
        let mailbox = Mailbox::new();
        let memory = Memory::new(ORIGIN, Arc::clone(&mailbox));
        let other = Memory::new(OTHER, Arc::clone(&mailbox));
        let (sources, mut updates) = Sources::new(
            mailbox,
            [
                Arc::clone(&memory) as Arc<dyn Source>,
                Arc::clone(&other) as _,
            ],
        );
        let elsewhere = ObjectKey {
            origin: OTHER,
            ..key("a")
        };
        sources.watch(&key("a"));
        sources.watch(&elsewhere);
        memory.set(object("a", "1"));
        // Of the other source nothing is heard but that it has none.
        let both = BTreeMap::from([
            (key("a"), Some(object("a", "1"))),
            (elsewhere.clone(), None),
        ]);
        let said = updates.next().await.expect("an update");
        assert_eq!(said, Update::Read(both));
        sources.unwatch(&key("a"));
        memory.set(object("a", "2"));
        let mut theirs = object("a", "3");
        theirs.key = elsewhere.clone();
        other.set(theirs.clone());
        let said = updates.next().await.expect("an update");
        assert_eq!(
            said,
            Update::Read(BTreeMap::from([(elsewhere, Some(theirs))]))
        );
    }

    #[tokio::test]
    async fn an_origin_that_no_source_has_is_told() {
        let (sources, mut updates) = Sources::new(Mailbox::new(), []);
        for _ in 0..2 {
            sources.watch(&key("a"));
            let said = updates.next().await.expect("an update");
            let why = "ConfigMap default/a: there is no source called \"memory\"".to_owned();
            assert_eq!(said, Update::Failing { key: key("a"), why });
        }
        sources.unwatch(&key("a"));
        drop(sources);
        updates.next().await.expect_err("nobody can ask any more");
    }
}
