//! Going on with volumes that another process has left, in two steps: first all are served, which is what
//! their users wait for and needs nobody; then the hand is told, and what was begun is brought to its end.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use livemount_engine::snapshot::Snapshot;
use parking_lot::Mutex;

use super::connected::telling;
use super::error::PublishError;
use super::keeping::{About, Left};
use super::session::{ConnectionEnd, Session};
use crate::fs::Filesystem;
use crate::observe::Facts;
use crate::served::SharedVolume;
use crate::store::Slot;

/// A volume that another process has left and that is served again. It is not committed to yet.
pub struct Continued {
    pub(super) about: About,
    pub(super) volume: Arc<SharedVolume>,
    pub(super) session: Session,
    pub(super) mount: OwnedFd,
    /// What was being committed, or was last.
    pub(super) next: Option<Arc<Snapshot>>,
    pub(super) end: LateEnd,
}

impl Continued {
    /// What whoever asked for it gave along.
    pub fn request(&self) -> &[u8] {
        &self.about.request
    }

    /// What it shows, or is about to.
    pub fn shown(&self) -> Arc<Snapshot> {
        self.next.clone().unwrap_or_else(|| self.volume.target())
    }

    /// Where it is.
    pub fn target(&self) -> &Path {
        &self.about.target
    }

    /// Its name in logs.
    pub fn name(&self) -> &str {
        &self.about.name
    }
}

impl Left {
    /// Serves the volume again. It never ceased to be there for those who use it.
    ///
    /// # Errors
    ///
    /// What is left cannot be gone on with. It is as it was, but that its descriptors are closed here.
    pub fn serve(self, facts: &Facts) -> Result<Continued, PublishError> {
        let Self {
            about,
            device,
            mount,
            volume,
        } = self;
        let (replayed, file) = volume?;
        let next = replayed.next.clone();
        let slot = Arc::new(Slot::of(file.descriptor())?);
        let volume = SharedVolume::taken_over(&about.name, replayed, file)?;
        let filesystem = Filesystem::new(Arc::clone(&volume), Some(Arc::clone(&slot)));
        let end = LateEnd::default();
        let ended = telling(&volume, facts.clone(), end.teller());
        let parked = volume.inherited();
        let capabilities = about.capabilities;
        let session = Session::take_over(filesystem, device, capabilities, &slot, &parked, ended)?;
        volume.inherited_done();
        Ok(Continued {
            about,
            volume,
            session,
            mount,
            next,
            end,
        })
    }
}

/// The end of a connection, for whoever comes to ask for it later.
#[derive(Clone, Default)]
pub(super) struct LateEnd(Arc<Mutex<End>>);

type OnEnd = Box<dyn FnOnce(ConnectionEnd) + Send>;

#[derive(Default)]
enum End {
    #[default]
    Nothing,
    Ended(ConnectionEnd),
    Awaited(OnEnd),
}

impl LateEnd {
    fn teller(&self) -> impl FnOnce(ConnectionEnd) + Send + 'static {
        let end = Arc::clone(&self.0);
        move |news| {
            let mut now = end.lock();
            match std::mem::take(&mut *now) {
                End::Awaited(on_end) => {
                    drop(now);
                    on_end(news);
                }
                End::Nothing | End::Ended(_) => *now = End::Ended(news),
            }
        }
    }

    /// Has the end told, also one that has been.
    pub(super) fn tell(&self, on_end: impl FnOnce(ConnectionEnd) + Send + 'static) {
        let mut now = self.0.lock();
        match std::mem::take(&mut *now) {
            End::Ended(news) => {
                drop(now);
                on_end(news);
            }
            End::Nothing | End::Awaited(_) => *now = End::Awaited(Box::new(on_end)),
        }
    }
}
