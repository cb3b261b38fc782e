//! A test's own folder, and the check at its end that the test left no mount and no process.
//!
//! Declare it first, so that it is dropped last. A test that hangs is freed by its watchdog, which
//! aborts the FUSE connections below the folder: whoever waited goes on with an error and fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::mounts::{self, Mount};
use super::process;

/// How long one test may take before its connections are aborted.
const LIMIT: Duration = Duration::from_mins(5);
/// How long what a test has stopped may take to be gone.
const LEAVE: Duration = Duration::from_secs(20);

/// A test's folder.
pub struct Scratch {
    path: PathBuf,
    count: AtomicU32,
    // Dropping it ends the watchdog.
    watchdog: Option<Sender<()>>,
}

impl Scratch {
    /// Makes the folder.
    pub fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("livemount-")
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        // Absolute and without links, as mountinfo will tell it.
        let path = path.canonicalize().expect("the folder is there");
        let (watchdog, end) = channel();
        thread::spawn({
            let path = path.clone();
            move || {
                if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                    eprintln!("the test in {} hangs: aborting", path.display());
                    abort_all(&path);
                }
            }
        });
        Self {
            path,
            count: AtomicU32::new(0),
            watchdog: Some(watchdog),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A path in the folder that nothing else has.
    pub fn fresh(&self, stem: &str) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{stem}-{number}"))
    }

    /// What is still there of mounts and processes.
    pub fn leftovers(&self) -> Vec<String> {
        let mounts = mounts::below(&self.path).into_iter().map(|mount| {
            let Mount { target, fstype, .. } = mount;
            format!("mount {} ({fstype})", target.display())
        });
        let processes = process::of_scratch(&self.path)
            .into_iter()
            .map(process::describe);
        mounts.chain(processes).collect()
    }

    /// Fails unless every mount and process goes in time.
    pub fn expect_nothing_left(&self, patience: Duration) {
        let left = self.wait_until_empty(patience);
        assert!(left.is_empty(), "left after {patience:?}: {left:#?}");
    }

    fn wait_until_empty(&self, patience: Duration) -> Vec<String> {
        let end = Instant::now() + patience;
        loop {
            let left = self.leftovers();
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends what is left, whatever state it is in.
    fn clear(&self) {
        for process in process::of_scratch(&self.path) {
            process.signal(Signal::KILL);
        }
        // Killed daemons take their mounts with them. What waits for one of them after that waits
        // for ever, unless the connection is aborted.
        if !self.wait_until_empty(LEAVE).is_empty() {
            abort_all(&self.path);
            for mount in mounts::below(&self.path).iter().rev() {
                let _ = mounts::detach(&mount.target);
            }
            self.wait_until_empty(LEAVE);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let left = if thread::panicking() {
            Vec::new()
        } else {
            self.wait_until_empty(LEAVE)
        };
        if thread::panicking() || !left.is_empty() {
            self.clear();
        }
        drop(self.watchdog.take());
        // Never walk into a mount that could not be taken away.
        if mounts::below(&self.path).is_empty() {
            let _ = fs::remove_dir_all(&self.path);
        }
        assert!(
            left.is_empty(),
            "the test left behind after {LEAVE:?}: {left:#?}"
        );
    }
}

fn abort_all(folder: &Path) {
    for mount in mounts::below(folder) {
        if mount.fstype == mounts::FSTYPE
            && let Err(error) = mounts::abort(mount.minor)
        {
            eprintln!("aborting {}: {error}", mount.target.display());
        }
    }
}
