//! An inotify recorder. By default it listens to every event there is, so that what a sequence must
//! not hold is seen as well as what it must.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::{PATIENCE, process};

/// One event, as its readable name, such as `MODIFY` or `CREATE,ISDIR`.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The label of the watch that heard it; empty for a recorder of one path.
    pub label: String,
    /// What happened.
    pub kind: String,
    /// The name in the watched folder; empty for a watch on the file itself.
    pub name: String,
}

impl Event {
    /// Whether the event is of this kind.
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}

/// `LABEL: KIND NAME`, without what is empty.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.label.is_empty() {
            write!(f, "{}: ", self.label)?;
        }
        f.write_str(&self.kind)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An inotify instance with its watches.
pub struct Watch {
    fd: OwnedFd,
    labels: HashMap<i32, String>,
    pending: VecDeque<Event>,
}

impl Watch {
    /// A recorder that watches nothing yet.
    pub fn new() -> Self {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .expect("an inotify instance can be made");
        Self {
            fd,
            labels: HashMap::new(),
            pending: VecDeque::new(),
        }
    }

    /// A recorder of one path, whose events carry no label.
    pub fn one(path: &Path, mask: WatchFlags) -> Self {
        let mut watch = Self::new();
        watch.add("", path, mask);
        watch
    }

    /// A recorder of every event of one path.
    pub fn all(path: &Path) -> Self {
        Self::one(path, WatchFlags::ALL_EVENTS)
    }

    /// Watches one more path, and hears nothing of what was done before.
    pub fn add(&mut self, label: &str, path: &Path, mask: WatchFlags) {
        process::wait_until_started();
        let wd = inotify::add_watch(&self.fd, path, mask)
            .unwrap_or_else(|error| panic!("watching {}: {error}", path.display()));
        self.labels.insert(wd, label.to_owned());
    }

    /// The next event, waited for.
    pub fn next(&mut self, patience: Duration) -> Option<Event> {
        let end = Instant::now() + patience;
        loop {
            self.fill();
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let left = end.checked_duration_since(Instant::now())?;
            let timeout = Timespec::try_from(left).expect("a short time");
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("polling inotify: {error}"),
            }
        }
    }

    /// All events up to the first that satisfies the condition, which is the last of them.
    pub fn next_until(&mut self, what: &str, mut last: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let mut seen = Vec::new();
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(event) = self.next(left) else {
                panic!("waited {PATIENCE:?} in vain until {what}; seen: {seen:?}");
            };
            let done = last(&event);
            seen.push(event);
            if done {
                return seen;
            }
        }
    }

    /// Waits for this many events; fewer come back where no more arrive in time.
    pub fn take(&mut self, count: usize, end: Instant) -> Vec<Event> {
        let mut seen = Vec::new();
        while seen.len() < count {
            let left = end.saturating_duration_since(Instant::now());
            let Some(event) = self.next(left) else { break };
            seen.push(event);
        }
        seen
    }

    /// What has already happened and was not yet taken.
    pub fn drain(&mut self) -> Vec<Event> {
        process::wait_until_started();
        self.fill();
        self.pending.drain(..).collect()
    }

    /// Takes over what the kernel has queued, without waiting.
    fn fill(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let label = self.labels.get(&event.wd()).cloned();
                    let name = event.file_name().map(|name| name.to_string_lossy());
                    self.pending.push_back(Event {
                        label: label.unwrap_or_default(),
                        kind: describe(event.events()),
                        name: name.unwrap_or_default().into_owned(),
                    });
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(error) => panic!("reading inotify: {error}"),
            }
        }
    }
}

fn describe(flags: ReadFlags) -> String {
    let names: Vec<_> = flags
        .iter_names()
        .map(|(name, _)| name.to_owned())
        .collect();
    names.join(",")
}

/// The events as lines, for comparing with what is expected.
pub fn lines(events: &[Event]) -> Vec<String> {
    events.iter().map(ToString::to_string).collect()
}
