//! One inotify for every path that a source goes through.
//!
//! Several paths share most of their directories, and a directory has one watch however many paths
//! lead through it: so it is known here which path needs which watch, and a watch goes with the last
//! path that needs it. Knows names, not contents, and decides nothing; which directories a path goes
//! through is found in `path_walk`.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tracing::debug;

use super::stable_read::is_missing;

/// Which path it is: a file's of the directory that is the source, or, without a name, the source's.
pub(super) type PathId = Option<OsString>;

/// How many bytes of events are taken at once, and how often before they are acted on.
const EVENTS: usize = 4096;
const ROUNDS: usize = 64;

/// What a path needs to hear of a watched directory or file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// The directory's entry with this name, which may be the path's last.
    Entry(OsString, Position),
    /// Every entry of the directory, which is the path's end.
    EveryEntry,
    /// The file itself, by whatever name it is written.
    File,
}

/// Whether a name is the last of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Last,
    Inner,
}

/// What events mean for a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PathChange {
    /// It may lead elsewhere now, or the directory at its end hold other names.
    pub moved: bool,
    /// A writer has closed the file.
    pub closed: bool,
}

/// What has happened to all the paths.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Nothing is known of what happened: look at everything.
    pub all: bool,
    /// Somebody asked for everything to be read and reported anew.
    pub reload: bool,
    by_path: HashMap<PathId, PathChange>,
}

impl Changes {
    /// Everything is to be read and reported anew.
    pub(super) fn reload() -> Self {
        Self {
            all: true,
            reload: true,
            by_path: HashMap::new(),
        }
    }

    /// What has happened to one path.
    pub(super) fn of(&self, id: &PathId) -> PathChange {
        let unknown = PathChange {
            moved: true,
            closed: true,
        };
        if self.all {
            unknown
        } else {
            self.by_path.get(id).copied().unwrap_or_default()
        }
    }

    /// Whether nothing has happened to any path.
    pub(super) fn is_nothing(&self) -> bool {
        !self.all && self.by_path.is_empty()
    }
}

/// Which path needs which watch.
pub(super) struct InotifyWatches {
    watches: Watches,
    interests: HashMap<WatchDescriptor, HashMap<PathId, Vec<Interest>>>,
    by_path: HashMap<PathId, HashSet<WatchDescriptor>>,
}

impl InotifyWatches {
    /// No watch yet, and where the events of later ones are to be read.
    pub(super) fn new() -> io::Result<(Inotify, Self)> {
        let inotify = Inotify::init()?;
        let watches = Self {
            watches: inotify.watches(),
            interests: HashMap::new(),
            by_path: HashMap::new(),
        };
        Ok((inotify, watches))
    }

    /// Sets the watches of a path anew by `add`; what it does not need after that, and no other path
    /// does, is watched no more.
    pub(super) fn rewatch<T>(&mut self, id: &PathId, set: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.by_path.remove(id).unwrap_or_default();
        for wd in &before {
            if let Some(paths) = self.interests.get_mut(wd) {
                paths.remove(id);
            }
        }
        let result = set(self);
        for wd in before {
            if self.interests.get(&wd).is_some_and(HashMap::is_empty) {
                self.interests.remove(&wd);
                // It is gone by itself where its directory is.
                let _ = self.watches.remove(wd);
            }
        }
        result
    }

    /// A path needs no watch any more.
    pub(super) fn remove(&mut self, id: &PathId) {
        self.rewatch(id, |_| ());
    }

    /// Adds a watch of a directory or file to those of a path. One that may not be set, or whose
    /// directory has just gone, is done without.
    pub(super) fn add(&mut self, id: &PathId, at: &Path, interest: Interest) -> io::Result<()> {
        let mask = match interest {
            Interest::File => WatchMask::CLOSE_WRITE | WatchMask::DONT_FOLLOW,
            Interest::Entry(..) | Interest::EveryEntry => {
                WatchMask::CREATE
                    | WatchMask::MOVE
                    | WatchMask::DELETE
                    | WatchMask::CLOSE_WRITE
                    | WatchMask::ONLYDIR
            }
        };
        match self.watches.add(at, mask) {
            Ok(wd) => {
                let paths = self.interests.entry(wd.clone()).or_default();
                paths.entry(id.clone()).or_default().push(interest);
                self.by_path.entry(id.clone()).or_default().insert(wd);
                Ok(())
            }
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                debug!(path = %at.display(), "cannot be watched; changes there are not heard");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the events that are there. Says whether these were all.
    pub(super) fn read_events(
        &self,
        inotify: &mut Inotify,
        changes: &mut Changes,
    ) -> io::Result<bool> {
        let mut buffer = [0; EVENTS];
        for _ in 0..ROUNDS {
            match inotify.read_events(&mut buffer) {
                Ok(events) => events.for_each(|event| self.note(&event, changes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Notes what an event means for which path.
    fn note(&self, event: &Event<&OsStr>, changes: &mut Changes) {
        changes.all |= event.mask.contains(EventMask::Q_OVERFLOW);
        let Some(paths) = self.interests.get(&event.wd) else {
            return;
        };
        let gone = event
            .mask
            .intersects(EventMask::IGNORED | EventMask::UNMOUNT);
        let closed = event.mask.contains(EventMask::CLOSE_WRITE);
        for (id, interests) in paths {
            let mut change = PathChange {
                moved: gone,
                closed: false,
            };
            for interest in interests {
                let (meant, last) = match interest {
                    Interest::Entry(name, position) => (
                        event.name == Some(name.as_os_str()),
                        *position == Position::Last,
                    ),
                    Interest::EveryEntry => (event.name.is_some(), false),
                    Interest::File => (event.name.is_none(), true),
                };
                change.moved |= meant && !closed;
                change.closed |= meant && closed && last;
            }
            if change != PathChange::default() {
                let before = changes.by_path.entry(id.clone()).or_default();
                before.moved |= change.moved;
                before.closed |= change.closed;
            }
        }
    }
}
