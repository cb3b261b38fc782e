//! Manifests as a source: they are read whole, whoever wants what, and what one reading says of all that is
//! wanted is said at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use livemount_engine::object::{Object, ObjectKey, Origin};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::{Manifests, ORIGIN, Objects, Reading, SourceError};
use crate::source::{Mailbox, Source, SourceEnded};

/// Manifests under watch.
pub struct ManifestSource {
    mailbox: Arc<Mailbox>,
    state: Arc<Mutex<State>>,
    reload: Arc<Notify>,
}

struct State {
    /// What was last read.
    objects: Objects,
    wanted: BTreeSet<ObjectKey>,
}

impl State {
    /// What is known of an object. One that no manifest tells does not exist.
    fn reading(&self, key: &ObjectKey) -> (ObjectKey, Option<Object>) {
        let object = self.objects.get(key);
        (key.clone(), object.map(|object| Object::clone(object)))
    }
}

impl Manifests {
    /// Watches them from a task of the current tokio runtime, which has I/O and time.
    pub fn source(self, mailbox: Arc<Mailbox>) -> ManifestSource {
        let state = Arc::new(Mutex::new(State {
            objects: self.objects(),
            wanted: BTreeSet::new(),
        }));
        let reload = Arc::new(Notify::new());
        let (tell, readings) = mpsc::channel(1);
        let watch = tokio::spawn(self.watch(tell, Arc::clone(&reload)));
        let (told, heard) = (Arc::clone(&mailbox), Arc::clone(&state));
        tokio::spawn(async move {
            pass_on(readings, &heard, &told).await;
            let ended = SourceError::ended(watch).await;
            told.end(SourceEnded::from(Box::from(ended)));
        });
        ManifestSource {
            mailbox,
            state,
            reload,
        }
    }
}

async fn pass_on(mut readings: mpsc::Receiver<Reading>, state: &Mutex<State>, mailbox: &Mailbox) {
    while let Some(reading) = readings.recv().await {
        match reading {
            Reading::Objects(objects) => {
                let mut state = state.lock();
                state.objects = objects;
                mailbox.read(state.wanted.iter().map(|key| state.reading(key)));
            }
            Reading::Broken(error) => mailbox.unreadable(error.to_string()),
        }
    }
}

impl Source for ManifestSource {
    fn origin(&self) -> Origin {
        ORIGIN
    }

    fn watch(&self, key: &ObjectKey) {
        // Under the lock, so that no later reading is overtaken.
        let mut state = self.state.lock();
        state.wanted.insert(key.clone());
        self.mailbox.read([state.reading(key)]);
    }

    fn unwatch(&self, key: &ObjectKey) {
        let mut state = self.state.lock();
        state.wanted.remove(key);
        self.mailbox.withdraw(key);
    }

    fn reload(&self) {
        self.reload.notify_one();
    }
}
