//! A source of manifests: one file, or every manifest of a directory.
//!
//! A file is read when a writer has closed it or a rename put it there, never on a mere MODIFY, and
//! never while somebody has it open for writing: half a YAML file can parse. Where changes cannot be
//! heard it is read each second, and a reading counts when the next one brings the same bytes. The
//! watches are there before the first look, so no change falls in between. Readings go out in the order
//! of reading; while the receiver is busy, events gather and become one reading, and the last state
//! always arrives.
//!
//! Decides neither what an object is worth nor what stays served: it says which objects there are,
//! and what cannot be read.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inotify::Inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::error::SourceError;
use super::inotify_watches::{Changes, InotifyWatches};
use super::merge::Objects;
use super::read_options::ReadOptions;
use super::sys;
use super::watch::{Shape, Watch};

/// What a source says now.
#[derive(Debug)]
pub enum Reading {
    /// Every object that it tells, those that did not change included.
    Objects(Objects),
    /// Something of it says nothing; what was last read of that stays good.
    Broken(SourceError),
}

/// A source that was read once, and whose changes can be watched.
pub struct Manifests {
    pub(super) watch: Watch,
    pub(super) inotify: Inotify,
    pub(super) file_errors: Vec<SourceError>,
}

impl Manifests {
    /// Reads a file or a directory, whoever may be writing it; objects that name no namespace get this
    /// one. What is wrong with single files of a directory is said by `file_errors`.
    ///
    /// # Errors
    ///
    /// What makes it useless: the file's own faults, one object told twice, no inotify.
    pub fn open(
        path: impl Into<PathBuf>,
        default_namespace: impl Into<String>,
    ) -> Result<Self, SourceError> {
        super::open::open(path.into(), ReadOptions::new(default_namespace))
    }

    /// Every object that it told when it was opened.
    pub fn objects(&self) -> Objects {
        self.watch.merged.objects()
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.watch.shape == Shape::Directory
    }

    /// The path, as it was given.
    pub fn path(&self) -> &Path {
        &self.watch.shown
    }

    /// Why files of a directory could not be read, once.
    pub fn file_errors(&mut self) -> Vec<SourceError> {
        std::mem::take(&mut self.file_errors)
    }

    /// Reads what has changed since it was opened: who has waited for long since then must not begin with what
    /// was. What is wrong by now is said by `file_errors`.
    ///
    /// # Errors
    ///
    /// Changes cannot be heard.
    pub fn catch_up(&mut self) -> Result<(), SourceError> {
        let mut changes = Changes::default();
        loop {
            let heard = self
                .watch
                .watches
                .read_events(&mut self.inotify, &mut changes);
            if heard.map_err(|error| SourceError::watch(&self.watch.shown, error))? {
                break;
            }
        }
        for reading in self.watch.act(&changes) {
            match reading {
                Reading::Broken(error) => self.file_errors.push(error),
                // They are asked for.
                Reading::Objects(_) => {}
            }
        }
        Ok(())
    }

    /// Tells each state after the first one, until the receiver goes. At each `reload`, everything is
    /// read anew, and what is wrong is reported anew. Runs on a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// Changes cannot be heard any more.
    pub async fn watch(
        self,
        readings: mpsc::Sender<Reading>,
        reload: Arc<Notify>,
    ) -> Result<(), SourceError> {
        let shown = self.watch.shown.clone();
        let unwatched = |error| SourceError::watch(&shown, error);
        let mut events = sys::awaitable(self.inotify).map_err(unwatched)?;
        let mut watch = self.watch;
        loop {
            let changes = tokio::select! {
                changes = next_changes(&mut events, &watch.watches) => changes.map_err(unwatched)?,
                () = readings.closed() => return Ok(()),
                () = reload.notified() => Changes::reload(),
                () = until(watch.deadline()) => Changes::default(),
            };
            let Some((back, news)) = act_on_thread(watch, changes).await else {
                return Ok(());
            };
            watch = back;
            for reading in news {
                if readings.send(reading).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Acts on a thread of its own: a large file or a slow disk holds up no one else. Nothing comes back
/// where the runtime is being taken down.
async fn act_on_thread(mut watch: Watch, changes: Changes) -> Option<(Watch, Vec<Reading>)> {
    let acted = spawn_blocking(move || {
        let news = watch.act(&changes);
        (watch, news)
    });
    match acted.await {
        Ok(acted) => Some(acted),
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Waits until something happens to one of the paths.
async fn next_changes(
    events: &mut AsyncFd<Inotify>,
    watches: &InotifyWatches,
) -> io::Result<Changes> {
    let mut changes = Changes::default();
    loop {
        let mut ready = events.readable_mut().await?;
        if watches.read_events(ready.get_inner_mut(), &mut changes)? {
            ready.clear_ready();
        }
        if !changes.is_nothing() {
            return Ok(changes);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
