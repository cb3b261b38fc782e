//! What every daemon does before it serves, whatever it serves: limits, a key for hashes, and a
//! thread that writes down what happens.

use std::io;
use std::sync::Arc;

use livemount_engine::snapshot::HashKey;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tracing::warn;

use crate::observe::{self, Fact, Facts, Metrics};

/// Sets this process's limits, which the hand inherits.
pub fn limits() {
    no_core_dumps();
    all_descriptors();
}

/// Two descriptors a volume add up; the soft limit is for programs that use select(2).
fn all_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        warn!(%error, "the limit of open files cannot be raised");
    }
}

/// A core dump would put a Secret on a disk.
fn no_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!(%error, "core dumps cannot be turned off");
    }
}

/// A key for this process's hashes, from the kernel.
///
/// # Errors
///
/// The kernel gives no random bytes.
pub fn hash_key() -> io::Result<HashKey> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(HashKey(key))
}

/// Writes facts to the log, and counts them where there are metrics, from a thread of its own. Tells
/// when a connection ended.
///
/// # Errors
///
/// The machine gives no thread.
pub fn observe_apart(metrics: Option<Arc<Metrics>>) -> io::Result<(Facts, mpsc::Receiver<()>)> {
    let (facts, stream) = Facts::stream();
    let (tell_end, ended) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            for fact in &stream {
                if let Some(metrics) = &metrics {
                    metrics.fact(&fact);
                }
                observe::log(&fact);
                if matches!(fact, Fact::Ended { .. }) {
                    // One word is enough; who listens looks himself.
                    let _ = tell_end.try_send(());
                }
            }
        })?;
    Ok((facts, ended))
}
