//! One FUSE connection: fuser's loop on a descriptor that the hand made.
//!
//! The session takes its descriptor from outside and never mounts. It ends when the last reference to
//! the mount is gone or somebody aborts the connection.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use fuser::Notifier;
use livemount_volume::ParkedOpen;

use super::error::PublishError;
use crate::fs::{Connection, Filesystem, Inherited, begin, resends};
use crate::store::Slot;

/// How a connection ended that we did not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// The error, where there was one.
    pub error: Option<String>,
}

#[derive(Default)]
struct Life {
    /// We are taking the volume down, so the end of the connection is no news.
    closing: AtomicBool,
    ended: AtomicBool,
}

pub(super) struct Session {
    notifier: Notifier,
    life: Arc<Life>,
}

impl Session {
    /// Agrees with the kernel on a new connection and serves it from threads of its own. `on_end` is
    /// called there when the connection ends before [`Session::closing`]. Tells what the kernel can do as well.
    pub(super) fn start(
        filesystem: Filesystem,
        device: OwnedFd,
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> Result<(Self, u64), PublishError> {
        keep_large_allocations_apart();
        let connection = begin(filesystem, device).map_err(PublishError::Session)?;
        let capabilities = connection.capabilities;
        let session = Self::run(connection, on_end).map_err(PublishError::Thread)?;
        Ok((session, capabilities))
    }

    /// Goes on with a connection that another process has served. `parked` are the opens that it held back.
    pub(super) fn take_over(
        filesystem: Filesystem,
        device: OwnedFd,
        capabilities: u64,
        slot: &Slot,
        parked: &[ParkedOpen],
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> Result<Self, PublishError> {
        keep_large_allocations_apart();
        let inherited = Inherited::new(filesystem, device, capabilities);
        let inherited = inherited.map_err(PublishError::Session)?;
        let start = |connection| Self::run(connection, on_end);
        let session = if resends(capabilities) {
            inherited.resent(start)
        } else {
            inherited.answered(slot, parked, start)
        };
        session.map_err(PublishError::Session)
    }

    fn run(
        connection: Connection,
        on_end: impl FnOnce(ConnectionEnd) + Send + 'static,
    ) -> io::Result<Self> {
        let Connection {
            session, notifier, ..
        } = connection;
        let life = Arc::new(Life::default());
        let served = Arc::clone(&life);
        std::thread::Builder::new()
            .name("session".into())
            .spawn(move || {
                let result = session.run();
                served.ended.store(true, Ordering::Release);
                if !served.closing.load(Ordering::Acquire) {
                    on_end(ConnectionEnd {
                        error: result.err().map(|error| error.to_string()),
                    });
                }
            })?;
        Ok(Self { notifier, life })
    }

    pub(super) fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    pub(super) fn closing(&self) {
        self.life.closing.store(true, Ordering::Release);
    }

    pub(super) fn ended(&self) -> bool {
        self.life.ended.load(Ordering::Acquire)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A session that nobody has any more ends without news.
        self.closing();
    }
}

/// fuser allocates 16 MiB for each session's handshake and again for its loop. glibc moves its mmap
/// threshold up when such a block is freed; the next ones then come from the heap and are cleared,
/// which makes 6.8 GB of 1,000 volumes. A threshold that is set stays.
fn keep_large_allocations_apart() {
    #[cfg(target_env = "gnu")]
    {
        static FIXED: Once = Once::new();
        const THRESHOLD: libc::c_int = 1 << 20;
        FIXED.call_once(|| {
            // SAFETY: mallopt takes two integers, touches only the allocator's own settings under
            // its own lock, and may be called at any time.
            unsafe {
                libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
            }
        });
    }
}
