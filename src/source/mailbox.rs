//! Who is wanted, and what is said of them until it is heard.
//!
//! For each object the last state and the last word on its health wait, no more, and one reading of many:
//! who is slow hears the newest, and memory does not grow with what he missed. What belongs to a former
//! watch of an object is gone the moment that the next one, or none, is wanted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use livemount_engine::object::{Object, ObjectKey};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, watch};

use super::{SourceEnded, Update};

/// The most words on parts of sources that wait. Beyond it the oldest go: the newest say how it stands.
const MOST_UNREADABLE: usize = 64;

/// What is wanted of one object now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Counts the answers that were asked for.
    pub number: u64,
    /// False: nobody wants it any more, for now.
    pub wanted: bool,
}

/// Nobody asks, and nobody is told any more.
#[derive(Debug, Error)]
#[error("the source is not watched any more")]
struct Closed;

/// What all sources of a daemon say, until it is heard.
#[derive(Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
    arrival: Notify,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<ObjectKey, Entry>,
    /// What waits, in the order in which its first word came. An entry may have been taken meanwhile.
    queue: VecDeque<Item>,
    /// What readings have said of objects since the last that was heard.
    reading: BTreeMap<ObjectKey, Option<Object>>,
    ended: Option<SourceEnded>,
    closed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Object(ObjectKey),
    Reading,
    Unreadable(String),
}

struct Entry {
    want: watch::Sender<Want>,
    state: Option<Update>,
    health: Option<Update>,
}

impl Entry {
    fn want(&mut self, change: impl FnOnce(&mut Want)) {
        self.state = None;
        self.health = None;
        self.want.send_modify(change);
    }
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The object is wanted, and a fresh answer. Where nobody follows it yet: what whoever does has to
    /// look at.
    pub fn want(&self, key: &ObjectKey) -> Option<watch::Receiver<Want>> {
        let mut inner = self.inner.lock();
        if let Some(entry) = inner.entries.get_mut(key) {
            entry.want(|want| {
                want.number += 1;
                want.wanted = true;
            });
            return None;
        }
        let (want, wants) = watch::channel(Want {
            number: 1,
            wanted: true,
        });
        let entry = Entry {
            want,
            state: None,
            health: None,
        };
        inner.entries.insert(key.clone(), entry);
        Some(wants)
    }

    /// Nobody wants it any more.
    pub fn unwant(&self, key: &ObjectKey) {
        if let Some(entry) = self.inner.lock().entries.get_mut(key) {
            entry.want(|want| want.wanted = false);
        }
    }

    /// Drops an object that nobody has wanted for long enough; false where somebody has wanted it meanwhile.
    pub fn forget(&self, key: &ObjectKey, number: u64) -> bool {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.get(key) else {
            return true;
        };
        let want = *entry.want.borrow();
        let over = !want.wanted && want.number == number;
        if over {
            inner.entries.remove(key);
        }
        over
    }

    /// Leaves what is to be said of an object, as the answer of that number.
    pub fn say(&self, number: u64, key: &ObjectKey, update: Update) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.get_mut(key) else {
            return;
        };
        let want = *entry.want.borrow();
        if !want.wanted || want.number != number {
            return;
        }
        let first = entry.state.is_none() && entry.health.is_none();
        match update {
            Update::Failing { .. } | Update::Working(_) => entry.health = Some(update),
            _ => entry.state = Some(update),
        }
        if first {
            inner.queue.push_back(Item::Object(key.clone()));
            self.arrived();
        }
    }

    /// Leaves what a reading says of objects. With what an earlier one has said and nobody has heard, it is
    /// one.
    pub fn read(&self, objects: impl IntoIterator<Item = (ObjectKey, Option<Object>)>) {
        let mut inner = self.inner.lock();
        inner.reading.extend(objects);
        if !inner.reading.is_empty() && !inner.queue.contains(&Item::Reading) {
            inner.queue.push_back(Item::Reading);
            self.arrived();
        }
    }

    /// What a reading has said of the object is not to be said any more.
    pub fn withdraw(&self, key: &ObjectKey) {
        let mut inner = self.inner.lock();
        inner.reading.remove(key);
        inner.entries.remove(key);
    }

    /// Leaves why a part of a source cannot be read.
    pub fn unreadable(&self, why: String) {
        let mut inner = self.inner.lock();
        let words = |item: &Item| matches!(item, Item::Unreadable(_));
        if inner.queue.iter().filter(|item| words(item)).count() >= MOST_UNREADABLE
            && let Some(oldest) = inner.queue.iter().position(words)
        {
            inner.queue.remove(oldest);
        }
        inner.queue.push_back(Item::Unreadable(why));
        self.arrived();
    }

    /// Says that no source has such objects.
    pub(super) fn unknown(&self, key: &ObjectKey) {
        // Nobody follows it: the answer is there at once.
        drop(self.want(key));
        let why = format!("{key}: there is no source called {:?}", key.origin.as_str());
        let key_of = key.clone();
        let number = {
            let inner = self.inner.lock();
            inner
                .entries
                .get(key)
                .map(|entry| entry.want.borrow().number)
        };
        if let Some(number) = number {
            self.say(number, key, Update::Failing { key: key_of, why });
        }
    }

    /// A source says nothing any more. Told when all that it has said is heard.
    pub fn end(&self, ended: SourceEnded) {
        self.inner.lock().ended.get_or_insert(ended);
        self.arrived();
    }

    /// The next thing to hear. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// A source has ended, or the mailbox was closed.
    pub async fn next(&self) -> Result<Update, SourceEnded> {
        loop {
            {
                let mut inner = self.inner.lock();
                while let Some(item) = inner.queue.pop_front() {
                    if let Some(update) = inner.open(item) {
                        return Ok(update);
                    }
                }
                if let Some(ended) = inner.ended.take() {
                    return Err(ended);
                }
                if inner.closed {
                    return Err(SourceEnded(Box::new(Closed)));
                }
            }
            self.arrival.notified().await;
        }
    }

    /// Nobody will want anything any more: whoever follows an object ends.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.entries.clear();
        inner.reading.clear();
        inner.queue.clear();
        drop(inner);
        self.arrived();
    }

    /// How many objects are followed.
    pub fn objects(&self) -> usize {
        self.inner.lock().entries.len()
    }

    fn arrived(&self) {
        self.arrival.notify_one();
    }
}

impl Inner {
    /// What an item has become by now; nothing where it was taken back.
    fn open(&mut self, item: Item) -> Option<Update> {
        match item {
            Item::Object(key) => {
                let entry = self.entries.get_mut(&key)?;
                // A state first: that things work again means that it is the newest.
                let update = entry.state.take().or_else(|| entry.health.take());
                if entry.health.is_some() {
                    self.queue.push_front(Item::Object(key));
                }
                update
            }
            Item::Reading => {
                let reading = std::mem::take(&mut self.reading);
                (!reading.is_empty()).then_some(Update::Read(reading))
            }
            Item::Unreadable(why) => Some(Update::Unreadable { why }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{key, object};
    use super::*;

    /// What waits, without waiting.
    fn drain(mailbox: &Mailbox) -> Vec<Update> {
        let mut updates = Vec::new();
        let mut inner = mailbox.inner.lock();
        while let Some(item) = inner.queue.pop_front() {
            updates.extend(inner.open(item));
        }
        updates
    }

    #[test]
    fn the_newest_state_and_the_newest_health_wait_and_no_more() {
        let mailbox = Mailbox::new();
        let failing = |why: &str| Update::Failing {
            key: key("a"),
            why: why.into(),
        };
        assert!(mailbox.want(&key("a")).is_some());
        mailbox.say(1, &key("a"), failing("x"));
        mailbox.say(1, &key("a"), Update::Applied(object("a", "1")));
        mailbox.say(1, &key("a"), failing("y"));
        mailbox.say(1, &key("a"), Update::Applied(object("a", "2")));
        let expected = [Update::Applied(object("a", "2")), failing("y")];
        assert_eq!(drain(&mailbox), expected);
        assert_eq!(drain(&mailbox), []);
    }

    #[test]
    fn what_belongs_to_a_former_want_is_gone() {
        let mailbox = Mailbox::new();
        let wants = mailbox.want(&key("a")).expect("nobody follows it yet");
        mailbox.say(1, &key("a"), Update::Deleted(key("a")));
        assert!(mailbox.want(&key("a")).is_none(), "somebody does");
        assert_eq!(drain(&mailbox), []);
        mailbox.say(1, &key("a"), Update::Deleted(key("a")));
        assert_eq!(drain(&mailbox), [], "an answer to the former question");
        mailbox.say(2, &key("a"), Update::Deleted(key("a")));
        assert_eq!(drain(&mailbox), [Update::Deleted(key("a"))]);
        mailbox.say(2, &key("a"), Update::Working(key("a")));
        mailbox.unwant(&key("a"));
        mailbox.say(2, &key("a"), Update::Working(key("a")));
        assert_eq!(drain(&mailbox), []);
        assert!(!wants.borrow().wanted);
        assert!(!mailbox.forget(&key("a"), 1), "it was wanted since");
        assert!(mailbox.forget(&key("a"), 2));
        assert_eq!(mailbox.objects(), 0);
        assert!(mailbox.want(&key("a")).is_some(), "from the beginning");
    }

    #[test]
    fn what_readings_say_is_one_until_it_is_heard() {
        let mailbox = Mailbox::new();
        mailbox.read([(key("a"), Some(object("a", "1")))]);
        mailbox.unreadable("b.yaml: no".into());
        mailbox.read([(key("a"), Some(object("a", "2"))), (key("b"), None)]);
        mailbox.read([(key("c"), None)]);
        mailbox.withdraw(&key("c"));
        let reading = BTreeMap::from([(key("a"), Some(object("a", "2"))), (key("b"), None)]);
        let why = "b.yaml: no".into();
        assert_eq!(
            drain(&mailbox),
            [Update::Read(reading), Update::Unreadable { why }]
        );
        mailbox.read([(key("a"), None)]);
        mailbox.withdraw(&key("a"));
        assert_eq!(drain(&mailbox), [], "nothing is no reading");
    }

    #[test]
    fn words_that_nobody_hears_are_bounded_and_the_newest_stay() {
        let mailbox = Mailbox::new();
        for n in 0..MOST_UNREADABLE + 10 {
            mailbox.unreadable(n.to_string());
        }
        let waiting = drain(&mailbox);
        assert_eq!(waiting.len(), MOST_UNREADABLE);
        let why = (MOST_UNREADABLE + 9).to_string();
        assert_eq!(waiting.last(), Some(&Update::Unreadable { why }));
    }

    #[tokio::test]
    async fn an_end_is_told_after_all_that_was_said() {
        let mailbox = Mailbox::new();
        let wants = mailbox.want(&key("a")).expect("nobody follows it yet");
        mailbox.say(1, &key("a"), Update::Deleted(key("a")));
        mailbox.end(SourceEnded("gone".into()));
        let said = mailbox.next().await.expect("it was said before");
        assert_eq!(said, Update::Deleted(key("a")));
        assert_eq!(
            mailbox.next().await.expect_err("it ended").to_string(),
            "gone"
        );
        mailbox.close();
        assert!(wants.has_changed().is_err(), "whoever follows ends");
        mailbox.next().await.expect_err("it is closed");
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let mailbox = Mailbox::new();
        let waiting = tokio::spawn({
            let mailbox = Arc::clone(&mailbox);
            async move { mailbox.next().await.expect("a word") }
        });
        tokio::task::yield_now().await;
        mailbox.unreadable("x".into());
        let said = waiting.await.expect("no panic");
        assert_eq!(said, Update::Unreadable { why: "x".into() });
    }
}
