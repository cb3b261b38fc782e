//! A source of manifests: one file, or every manifest of a folder.
//!
//! A file is read when a writer has closed it or a rename put it there, never on a mere MODIFY, and
//! never while somebody has it open for writing: half a YAML file can parse. Where changes cannot be
//! heard it is read each second, and a reading counts when the next one brings the same bytes. The
//! ears are there before the first look, so no change falls in between. Readings go out in the order
//! of reading; while the receiver is busy, events gather and become one reading, and the last state
//! always arrives.
//!
//! Decides neither what an object is worth nor what stays served: it says which objects there are,
//! and what cannot be read.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use inotify::Inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::deaf;
use super::ears::{Ears, Noise};
use super::error::SourceError;
use super::shelf::Objects;
use super::sys;
use super::watch::{Shape, Watch};

/// How long a file or an object may be away, empty or in the making before that counts: many
/// programs save a file by removing or emptying it first.
const GRACE: Duration = Duration::from_secs(1);
/// How often those who cannot be heard are looked at.
const POLL: Duration = Duration::from_secs(1);

/// What a source says now.
#[derive(Debug)]
pub enum Reading {
    /// Every object that it tells, those that did not change included.
    Objects(Objects),
    /// Something of it says nothing; what was last read of that stays good.
    Broken(SourceError),
}

/// How a source is read.
#[derive(Clone, Debug)]
pub(super) struct Manners {
    /// The namespace of objects that name none.
    pub namespace: String,
    pub grace: Duration,
    pub poll: Duration,
    /// Whether changes of a path cannot be heard.
    pub deaf: fn(&Path) -> bool,
}

impl Manners {
    pub(super) fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            grace: GRACE,
            poll: POLL,
            deaf: deaf::is_deaf,
        }
    }
}

/// A source that was read once, and to whose changes somebody may listen.
pub struct Manifests {
    pub(super) watch: Watch,
    pub(super) inotify: Inotify,
    pub(super) troubles: Vec<SourceError>,
}

impl Manifests {
    /// Reads a file or a folder, whoever may be writing it; objects that name no namespace get this
    /// one. An error is what makes it useless: the file's own faults, one object told twice, no
    /// ears. What is wrong with single files of a folder is said by `troubles`.
    pub fn open(
        path: impl Into<PathBuf>,
        default_namespace: impl Into<String>,
    ) -> Result<Self, SourceError> {
        super::open::open(path.into(), Manners::new(default_namespace))
    }

    /// Every object that it told when it was opened.
    pub fn objects(&self) -> Objects {
        self.watch.shelf.objects()
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.watch.shape == Shape::Folder
    }

    /// The path, as it was given.
    pub fn path(&self) -> &Path {
        &self.watch.shown
    }

    /// The files of a folder that could not be read, why, once.
    pub fn troubles(&mut self) -> Vec<SourceError> {
        std::mem::take(&mut self.troubles)
    }

    /// Tells each state after the first one, until the receiver goes. At each `again`, everything is
    /// read anew, and what is wrong is told anew. Runs on a tokio runtime with I/O and time.
    pub async fn watch(
        self,
        readings: mpsc::Sender<Reading>,
        again: Arc<Notify>,
    ) -> Result<(), SourceError> {
        let shown = self.watch.shown.clone();
        let unwatched = |error| SourceError::watch(&shown, error);
        let mut events = sys::awaitable(self.inotify).map_err(unwatched)?;
        let mut watch = self.watch;
        loop {
            let noise = tokio::select! {
                noise = hear(&mut events, &watch.ears) => noise.map_err(unwatched)?,
                () = readings.closed() => return Ok(()),
                () = again.notified() => Noise::again(),
                () = until(watch.deadline()) => Noise::default(),
            };
            let Some((back, tell)) = apart(watch, noise).await else {
                return Ok(());
            };
            watch = back;
            for reading in tell {
                if readings.send(reading).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Acts on a thread of its own: a large file or a slow disk holds up no one else. Nothing comes back
/// where the runtime is being taken down.
async fn apart(mut watch: Watch, noise: Noise) -> Option<(Watch, Vec<Reading>)> {
    let acted = spawn_blocking(move || {
        let tell = watch.act(&noise);
        (watch, tell)
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
async fn hear(events: &mut AsyncFd<Inotify>, ears: &Ears) -> io::Result<Noise> {
    let mut noise = Noise::default();
    loop {
        let mut ready = events.readable_mut().await?;
        if ears.drain(ready.get_inner_mut(), &mut noise)? {
            ready.clear_ready();
        }
        if !noise.is_nothing() {
            return Ok(noise);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
