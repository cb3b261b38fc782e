//! Finds an object's source by its origin. Each source is one entry; who asks knows none of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use livemount_engine::object::{ObjectKey, Origin};

use super::{Mailbox, Source, SourceEnded, Update};

/// The sources of a daemon. A clone is the same ones; they end with the last.
#[derive(Clone)]
pub struct Sources(Arc<Router>);

struct Router {
    sources: BTreeMap<Origin, Arc<dyn Source>>,
    mailbox: Arc<Mailbox>,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

/// Where they are heard.
pub struct Updates(Arc<Mailbox>);

impl Sources {
    /// These sources, all of which say what they read into this mailbox.
    pub fn new(
        mailbox: Arc<Mailbox>,
        sources: impl IntoIterator<Item = Arc<dyn Source>>,
    ) -> (Self, Updates) {
        let updates = Updates(Arc::clone(&mailbox));
        let sources = sources.into_iter().map(|source| (source.origin(), source));
        let sources = sources.collect();
        (Self(Arc::new(Router { sources, mailbox })), updates)
    }

    /// Follow an object; see [`Source::watch`]. Of an origin that no source here has, that is what is said.
    pub fn watch(&self, key: &ObjectKey) {
        match self.0.sources.get(&key.origin) {
            Some(source) => source.watch(key),
            None => self.0.mailbox.unknown(key),
        }
    }

    /// Nobody wants the object any more.
    pub fn unwatch(&self, key: &ObjectKey) {
        match self.0.sources.get(&key.origin) {
            Some(source) => source.unwatch(key),
            None => self.0.mailbox.withdraw(key),
        }
    }

    /// Read everything anew.
    pub fn reload(&self) {
        for source in self.0.sources.values() {
            source.reload();
        }
    }
}

impl Updates {
    /// The next thing that a source says. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// A source has ended, and why; or nobody can ask for anything any more.
    pub async fn next(&mut self) -> Result<Update, SourceEnded> {
        self.0.next().await
    }
}
