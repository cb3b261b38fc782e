//! One inotify for every path that a source goes through.
//!
//! Several paths share most of their folders, and a folder has one watch however many paths lead
//! through it: so it is known here who listens to which watch, and a watch goes with its last
//! listener. Knows names, not contents, and decides nothing; which folders a path goes through is
//! found in `trail`.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tracing::debug;

use super::settle::is_absence;

/// Whose path it is: a file's of the folder that is the source, or, without a name, the source's.
pub(super) type Who = Option<OsString>;

/// How many bytes of events are taken at once, and how often before they are acted on.
const EVENTS: usize = 4096;
const ROUNDS: usize = 64;

/// What is listened for in a watched folder, or at a watched file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The folder's entry with this name, which may be the path's end.
    Name(OsString, End),
    /// Every name of the folder, which is the path's end.
    Every,
    /// The file itself, by whatever name it is written.
    Itself,
}

/// Whether a step is the last of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Here,
    Further,
}

/// What events mean for a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// A step may lead elsewhere now, or the folder at its end hold other names.
    pub moved: bool,
    /// A writer has closed the file.
    pub closed: bool,
}

/// What has happened to all the paths.
#[derive(Debug, Default)]
pub(super) struct Noise {
    /// Nothing is known of what happened: look at everything.
    pub all: bool,
    /// Somebody asked for everything to be read and told anew.
    pub again: bool,
    by: HashMap<Who, Heard>,
}

impl Noise {
    /// Everything is to be read and told anew.
    pub(super) fn again() -> Self {
        Self {
            all: true,
            again: true,
            by: HashMap::new(),
        }
    }

    /// What has happened to one path.
    pub(super) fn of(&self, who: &Who) -> Heard {
        let unknown = Heard {
            moved: true,
            closed: true,
        };
        if self.all {
            unknown
        } else {
            self.by.get(who).copied().unwrap_or_default()
        }
    }

    /// Whether nothing has happened to any path.
    pub(super) fn is_nothing(&self) -> bool {
        !self.all && self.by.is_empty()
    }
}

/// Who listens where.
pub(super) struct Ears {
    watches: Watches,
    steps: HashMap<WatchDescriptor, HashMap<Who, Vec<Step>>>,
    listening: HashMap<Who, HashSet<WatchDescriptor>>,
}

impl Ears {
    /// Ears that hear nothing yet, and where their events are to be read.
    pub(super) fn new() -> io::Result<(Inotify, Self)> {
        let inotify = Inotify::init()?;
        let ears = Self {
            watches: inotify.watches(),
            steps: HashMap::new(),
            listening: HashMap::new(),
        };
        Ok((inotify, ears))
    }

    /// Lets somebody listen anew by `listen`; what he does not listen to after that and nobody else
    /// does is watched no more.
    pub(super) fn anew<T>(&mut self, who: &Who, listen: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.listening.remove(who).unwrap_or_default();
        for wd in &before {
            if let Some(listeners) = self.steps.get_mut(wd) {
                listeners.remove(who);
            }
        }
        let result = listen(self);
        for wd in before {
            if self.steps.get(&wd).is_some_and(HashMap::is_empty) {
                self.steps.remove(&wd);
                // It is gone by itself where its folder is.
                let _ = self.watches.remove(wd);
            }
        }
        result
    }

    /// Nobody by this name listens any more.
    pub(super) fn forget(&mut self, who: &Who) {
        self.anew(who, |_| ());
    }

    /// Listens at a path for a step. A watch that may not be set, or whose folder has just gone, is
    /// done without.
    pub(super) fn listen(&mut self, who: &Who, path: &Path, step: Step) -> io::Result<()> {
        let mask = match step {
            Step::Itself => WatchMask::CLOSE_WRITE | WatchMask::DONT_FOLLOW,
            Step::Name(..) | Step::Every => {
                WatchMask::CREATE
                    | WatchMask::MOVE
                    | WatchMask::DELETE
                    | WatchMask::CLOSE_WRITE
                    | WatchMask::ONLYDIR
            }
        };
        match self.watches.add(path, mask) {
            Ok(wd) => {
                let listeners = self.steps.entry(wd.clone()).or_default();
                listeners.entry(who.clone()).or_default().push(step);
                self.listening.entry(who.clone()).or_default().insert(wd);
                Ok(())
            }
            Err(error) if is_absence(&error) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                debug!(path = %path.display(), "cannot be watched; changes there are not heard");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes the events that are there. Says whether these were all.
    pub(super) fn drain(&self, inotify: &mut Inotify, noise: &mut Noise) -> io::Result<bool> {
        let mut buffer = [0; EVENTS];
        for _ in 0..ROUNDS {
            match inotify.read_events(&mut buffer) {
                Ok(events) => events.for_each(|event| self.hear(&event, noise)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Notes what an event means for whom.
    fn hear(&self, event: &Event<&OsStr>, noise: &mut Noise) {
        noise.all |= event.mask.contains(EventMask::Q_OVERFLOW);
        let Some(listeners) = self.steps.get(&event.wd) else {
            return;
        };
        let gone = event
            .mask
            .intersects(EventMask::IGNORED | EventMask::UNMOUNT);
        let closed = event.mask.contains(EventMask::CLOSE_WRITE);
        for (who, steps) in listeners {
            let mut heard = Heard {
                moved: gone,
                closed: false,
            };
            for step in steps {
                let (meant, last) = match step {
                    Step::Name(name, end) => {
                        (event.name == Some(name.as_os_str()), *end == End::Here)
                    }
                    Step::Every => (event.name.is_some(), false),
                    Step::Itself => (event.name.is_none(), true),
                };
                heard.moved |= meant && !closed;
                heard.closed |= meant && closed && last;
            }
            if heard != Heard::default() {
                let before = noise.by.entry(who.clone()).or_default();
                before.moved |= heard.moved;
                before.closed |= heard.closed;
            }
        }
    }
}
