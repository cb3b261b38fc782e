//! The second phase of a publish: there is a connection, and nobody serves it.
//!
//! The kernel keeps whatever is asked of such a connection until somebody does.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::error::PublishError;
use super::keeping::{About, Keeping};
use super::prepared::Claim;
use super::serving::{Serving, Storable};
use super::session::{ConnectionEnd, Session};
use crate::fs::Filesystem;
use crate::observe::{Fact, Facts};
use crate::served::SharedVolume;
use crate::store::{Slot, VolumeFile};

/// A connection that nobody serves yet.
pub(super) struct Connected {
    claim: Claim,
    device: OwnedFd,
    mount: Arc<OwnedFd>,
}

/// What a volume that shall be kept is kept with.
pub(super) struct Keep<'k> {
    pub(super) keeping: &'k Keeping,
    pub(super) about: About,
}

impl Connected {
    /// A connection by its `/dev/fuse` descriptor, and its mount.
    pub(super) fn new(claim: Claim, device: OwnedFd, mount: Arc<OwnedFd>) -> Self {
        Self {
            claim,
            device,
            mount,
        }
    }

    /// Agrees with the kernel on the connection and serves a volume over it. With `keep` the volume is
    /// written to a file from the first request on.
    pub(super) fn serve(
        self,
        volume: Arc<SharedVolume>,
        keep: Option<Keep<'_>>,
        facts: Facts,
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> Result<Serving, PublishError> {
        let Self {
            claim,
            device,
            mount,
        } = self;
        let ended = telling(&volume, facts, on_end);
        let mut storable = None;
        let mut slot = None;
        if let Some(Keep { keeping, mut about }) = keep {
            about.created = claim.created();
            let file: VolumeFile = keeping.file(&about)?;
            slot = Some(Arc::new(Slot::of(file.descriptor())?));
            let clone = |descriptor: &OwnedFd| descriptor.try_clone().map_err(PublishError::Thread);
            let stored = file.descriptor().try_clone_to_owned();
            storable = Some(Storable {
                keeping: keeping.clone(),
                about,
                device: clone(&device)?,
                mount: Arc::clone(&mount),
                file: stored.map_err(PublishError::Thread)?,
            });
            volume.keep(file)?;
        }
        let filesystem = Filesystem::new(Arc::clone(&volume), slot);
        let (session, capabilities) = Session::start(filesystem, device, ended)?;
        if let Some(storable) = &mut storable {
            storable.about.capabilities = capabilities;
        }
        Ok(Serving::new(claim, session, volume, storable))
    }
}

/// Tells of a connection's end, and then whoever asked for that.
pub(super) fn telling(
    volume: &SharedVolume,
    facts: Facts,
    on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
) -> impl FnOnce(ConnectionEnd) + Send + 'static {
    let name: Arc<str> = volume.name().into();
    move |end| {
        facts.tell(Fact::Ended {
            volume: name,
            error: end.error.clone(),
        });
        on_end(end);
    }
}
