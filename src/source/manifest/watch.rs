//! A file under watch: events in, readings out, one step at a time.
//!
//! Holds what has to be known from one event to the next: the trail, the bytes that were told last,
//! and since when there has been nothing to read. When to take which step is the loop's in `file`.

use std::io;
use std::path::{PathBuf, absolute};
use std::sync::Arc;

use inotify::{Inotify, Watches};
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::error::SourceError;
use super::file::{ManifestFile, Reading};
use super::parse::parse;
use super::settle::{self, Whole};
use super::trail::{Heard, Trail};

/// How many bytes of events are taken at once, and how often before they are acted on.
const EVENTS: usize = 4096;
const ROUNDS: usize = 64;

/// Whether there is anything to read.
#[derive(Clone, Copy)]
enum Absence {
    /// There is.
    No,
    /// There is not, since then, and nobody has been told.
    Since(Instant, fn(PathBuf) -> SourceError),
    /// There is not, which has been told.
    Told,
}

/// A file that is being watched.
pub(super) struct Watch {
    file: ManifestFile,
    /// The same path from the root on, so that folders above a relative one are heard too.
    absolute: PathBuf,
    ears: AsyncFd<Inotify>,
    watches: Watches,
    trail: Trail,
    absence: Absence,
    /// The bytes that were told last.
    last: Option<Arc<[u8]>>,
}

impl Watch {
    pub(super) fn new(file: ManifestFile) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        // SAFETY: `Inotify` owns its descriptor, gives the same one for as long as it lives and
        // closes it when it is dropped, which `AsyncFd` does after it has let go of it.
        let ears = unsafe { AsyncFd::register(inotify) }?;
        let mut watch = Self {
            absolute: absolute(&file.path)?,
            file,
            watches,
            ears,
            trail: Trail::default(),
            absence: Absence::No,
            last: None,
        };
        // Walked here as well, so that who cannot watch at all ends at once.
        watch.trail.walk(&mut watch.watches, &watch.absolute)?;
        Ok(watch)
    }

    /// What has happened to the path so far.
    #[cfg(test)]
    pub(super) fn heard_so_far(&mut self) -> Heard {
        let (heard, drained) = drain(self.ears.get_mut(), &self.trail).expect("readable");
        assert!(drained);
        heard
    }

    /// When there has been nothing to read for so long that it is time to tell.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.absence {
            Absence::Since(since, _) => Some(since + self.file.grace),
            Absence::No | Absence::Told => None,
        }
    }

    /// Waits until something happens to the path.
    pub(super) async fn hear(&mut self) -> io::Result<Heard> {
        loop {
            let mut ready = self.ears.readable_mut().await?;
            let (heard, drained) = drain(ready.get_inner_mut(), &self.trail)?;
            if drained {
                ready.clear_ready();
            }
            if !heard.is_nothing() {
                return Ok(heard);
            }
        }
    }

    /// Does what was heard, if anything, and says what there is to tell.
    pub(super) async fn act(&mut self, heard: Heard) -> Option<Reading> {
        let file = self.file.path.clone();
        if heard.moved
            && let Err(source) = self.trail.walk(&mut self.watches, &self.absolute)
        {
            self.last = None;
            return Some(Reading::Broken(SourceError::Watch { file, source }));
        }
        if !heard.is_nothing() {
            let reading = if self.trail.leads_to_file {
                self.read().await
            } else {
                self.away(SourceError::Missing)
            };
            if reading.is_some() {
                return reading;
            }
        }
        match self.absence {
            Absence::Since(since, why) if since.elapsed() >= self.file.grace => {
                self.absence = Absence::Told;
                self.last = None;
                Some(Reading::Broken(why(file)))
            }
            _ => None,
        }
    }

    /// Notes that there is nothing to read.
    fn away(&mut self, why: fn(PathBuf) -> SourceError) -> Option<Reading> {
        self.absence = match self.absence {
            Absence::No => Absence::Since(Instant::now(), why),
            Absence::Since(since, _) => Absence::Since(since, why),
            Absence::Told => Absence::Told,
        };
        None
    }

    /// Reads and parses on a thread of its own: a large file or a slow disk holds up no one else.
    async fn read(&mut self) -> Option<Reading> {
        let path = self.absolute.clone();
        let file = self.file.clone();
        let last = self.last.clone();
        let read = spawn_blocking(move || {
            let whole = settle::read(&path, false);
            let objects = match &whole {
                Ok(Whole::Bytes(bytes)) if last.as_deref() != Some(bytes) => {
                    Some(parse(&file.path, bytes, &file.namespace))
                }
                _ => None,
            };
            (whole, objects)
        });
        let (whole, objects) = match read.await {
            Ok(read) => read,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being taken down.
                Err(_) => return None,
            },
        };
        let file = self.file.path.clone();
        let broken = match whole {
            Ok(Whole::Absent) => return self.away(SourceError::Missing),
            Ok(Whole::Empty) => return self.away(SourceError::Empty),
            Ok(Whole::Busy) => return self.away(SourceError::Busy),
            Ok(Whole::Bytes(bytes)) => {
                self.absence = Absence::No;
                let objects = objects?;
                self.last = Some(bytes.into());
                return Some(match objects {
                    Ok(objects) => Reading::Objects(objects),
                    Err(error) => Reading::Broken(error.into()),
                });
            }
            Ok(Whole::NotAFile) => SourceError::NotAFile(file),
            Err(source) => SourceError::Read { file, source },
        };
        self.absence = Absence::No;
        self.last = None;
        Some(Reading::Broken(broken))
    }
}

/// Takes the events that are there. Says whether these were all.
fn drain(ears: &mut Inotify, trail: &Trail) -> io::Result<(Heard, bool)> {
    let mut buffer = [0; EVENTS];
    let mut heard = Heard::default();
    for _ in 0..ROUNDS {
        match ears.read_events(&mut buffer) {
            Ok(events) => {
                for event in events {
                    heard |= trail.hear(&event);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((heard, true)),
            Err(error) => return Err(error),
        }
    }
    Ok((heard, false))
}
