//! How a source is read: times, the namespace of objects that name none, and what inotify supports.
//!
//! Fields and not constants, so that tests choose other times.

use std::path::Path;
use std::time::Duration;

use super::inotify_support;

/// How long a file or an object may be away, empty or in the making before that counts: many
/// programs save a file by removing or emptying it first.
const GRACE: Duration = Duration::from_secs(1);
/// How often what cannot be watched is read.
const POLL: Duration = Duration::from_secs(1);

/// How a source is read.
#[derive(Clone, Debug)]
pub(super) struct ReadOptions {
    /// The namespace of objects that name none.
    pub namespace: String,
    pub grace: Duration,
    pub poll: Duration,
    /// Whether inotify misses changes of a path.
    pub inotify_unsupported: fn(&Path) -> bool,
}

impl ReadOptions {
    pub(super) fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            grace: GRACE,
            poll: POLL,
            inotify_unsupported: inotify_support::is_unsupported,
        }
    }
}
