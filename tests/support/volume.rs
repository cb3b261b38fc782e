//! A volume as a test uses it: a `ConfigMap` manifest, a daemon that serves it, and the proof that
//! nothing more comes.
//!
//! That proof is a condition, never a pause: one more commit, of a key that is there for nothing
//! else. When its `CLOSE_WRITE` is heard, all that earlier commits caused has been queued.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::inotify::WatchFlags;

use super::PATIENCE;
use super::daemon::{self, Daemon};
use super::manifest::Manifest;
use super::scratch::Scratch;
use super::watch::{Watch, lines};

/// The key that proves the end of what came before. Sorted last.
pub const SENTINEL: &str = "zz-sentinel";

/// A volume. Its daemon ends before its folder is checked.
pub struct Volume {
    /// The daemon.
    pub daemon: Daemon,
    /// The manifest.
    pub manifest: Manifest,
    sentinel: Watch,
    settled: u32,
    path: PathBuf,
    /// The test's folder.
    pub scratch: Scratch,
}

impl Volume {
    /// A volume with these keys.
    pub fn of(keys: &[(&str, &str)]) -> Self {
        Self::with(&[], keys)
    }

    /// A volume with these options and keys.
    pub fn with(options: &[&str], keys: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new();
        let mut manifest = Manifest::config_map(&scratch.join("manifest.yaml"), "app");
        manifest.set(SENTINEL, "0");
        for (key, value) in keys {
            manifest.set(key, value);
        }
        manifest.write();
        let path = scratch.join("volume");
        let daemon = daemon::mount(&scratch, options, manifest.path(), &path);
        let sentinel = Watch::one(&path.join(SENTINEL), WatchFlags::CLOSE_WRITE);
        Self {
            daemon,
            manifest,
            sentinel,
            settled: 0,
            path,
            scratch,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file's content.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Changes keys and puts the manifest in place.
    pub fn change(&mut self, keys: &[(&str, &str)]) {
        for (key, value) in keys {
            self.manifest.set(key, value);
        }
        self.manifest.replace();
    }

    /// Commits the sentinel, and comes back when all events of earlier commits have been queued.
    ///
    /// The commit before must be known to be over, or at least to have been begun: an untouched
    /// change would become one commit with this one.
    pub fn settle(&mut self) {
        self.settled += 1;
        self.manifest.set(SENTINEL, &self.settled.to_string());
        self.manifest.replace();
        self.sentinel
            .next_until("the sentinel is rung", |event| event.is("CLOSE_WRITE"));
    }

    /// Expects each recorder to have heard, or to hear soon, exactly these lines and no more.
    pub fn expect_exactly(&mut self, recorders: &mut [(&mut Watch, &[&str])]) {
        let end = Instant::now() + PATIENCE;
        let mut seen: Vec<_> = recorders
            .iter_mut()
            .map(|(watch, expected)| watch.take(expected.len(), end))
            .collect();
        self.settle();
        for ((watch, expected), seen) in recorders.iter_mut().zip(&mut seen) {
            seen.extend(watch.drain());
            seen.retain(|event| event.name != SENTINEL);
            assert_eq!(lines(seen), *expected);
        }
    }
}
