//! The second phase of a publish: there is a connection, and nobody serves it.
//!
//! The kernel keeps whatever is asked of such a connection until somebody does. Who is given the
//! descriptor of a connection that another process has served enters here: nothing from here on asks
//! how the descriptor came about.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::error::PublishError;
use super::prepared::Claim;
use super::serving::Serving;
use super::session::{ConnectionEnd, Session};
use crate::observe::{Fact, Facts};
use crate::served::SharedVolume;

/// A connection that nobody serves yet. The descriptor of its mount is the hand's, by the claim's
/// number.
pub(super) struct Connected {
    claim: Claim,
    device: OwnedFd,
}

impl Connected {
    /// A connection by its `/dev/fuse` descriptor.
    pub(super) fn new(claim: Claim, device: OwnedFd) -> Self {
        Self { claim, device }
    }

    /// Agrees with the kernel on the connection and serves a volume over it.
    pub(super) fn serve(
        self,
        volume: Arc<SharedVolume>,
        facts: Facts,
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> Result<Serving, PublishError> {
        let Self { claim, device } = self;
        let name: Arc<str> = volume.name().into();
        let ended = move |end: ConnectionEnd| {
            facts.tell(Fact::Ended {
                volume: name,
                error: end.error.clone(),
            });
            on_end(end);
        };
        let session = Session::start(&volume, device, ended)?;
        Ok(Serving::new(claim, session, volume))
    }
}
