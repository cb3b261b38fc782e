//! What the integration tests share: a scratch folder that checks that nothing is left behind, the
//! daemon as a user starts it, manifests, an inotify recorder, and mount namespaces.
//!
//! Every wait here is for a condition, with a patience far beyond what a loaded machine needs, so
//! that a test's result never depends on how fast it is scheduled. Nothing here touches a mount
//! except where a test asks for it: a helper that did could hang with the daemon it watches over.

// The benchmark compiles this module for itself and uses a part of it.
#![allow(dead_code)]
// A helper that cannot go on ends its test; the message is all there is to document.
#![allow(clippy::missing_panics_doc)]

pub mod apart;
pub mod daemon;
pub mod helper;
pub mod kept;
pub mod manifest;
pub mod mounts;
pub mod namespace;
pub mod one;
pub mod process;
pub mod random;
pub mod scratch;
pub mod served;
pub mod volume;
pub mod watch;

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must come. Long, because it is only ever used up by a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds, and fails the test if it does not come to hold in time.
pub fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, patience, || condition().then_some(()));
}

/// Waits for a value, and fails the test if it does not come in time.
pub fn wait_for<T>(what: &str, patience: Duration, mut poll: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(
            Instant::now() < end,
            "waited {patience:?} in vain until {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}
