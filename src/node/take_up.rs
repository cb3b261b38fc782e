//! The volumes that a predecessor has left: whose they are, from what was stored with them.

use tracing::error;

use crate::publish::{Continued, Left};
use crate::volumes::Request;

/// A volume that was left, whether or not it is served again already.
pub(super) trait Stored {
    /// What was stored of what was asked for.
    fn request(&self) -> &[u8];

    /// Its name in logs.
    fn name(&self) -> &str;
}

impl Stored for Continued {
    fn request(&self) -> &[u8] {
        self.request()
    }

    fn name(&self) -> &str {
        self.name()
    }
}

impl Stored for Left {
    fn request(&self) -> &[u8] {
        self.request()
    }

    fn name(&self) -> &str {
        self.name()
    }
}

/// Each with what was asked for then; and those of which that cannot be read.
pub(super) fn requests<S: Stored>(stored: Vec<S>) -> (Vec<(S, Request)>, Vec<S>) {
    let (mut known, mut unknown) = (Vec::with_capacity(stored.len()), Vec::new());
    for volume in stored {
        if let Some(request) = Request::from_bytes(volume.request()) {
            known.push((volume, request));
        } else {
            error!(
                volume = volume.name(),
                "what was asked for is stored in another form: the volume stays as it is"
            );
            unknown.push(volume);
        }
    }
    (known, unknown)
}
