//! One volume of a daemon of its own, for tests that look at what a system call shows.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use livemount::publish::Settings;

use super::scratch::Scratch;
use super::served::{Served, Tree, tree};

/// The volume, called `v`, until it is dropped.
pub struct One {
    pub served: Served,
    pub path: PathBuf,
    pub scratch: Scratch,
}

impl One {
    /// A volume of these files.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::with(&tree(files))
    }

    /// A volume of this tree.
    pub fn with(first: &Tree) -> Self {
        Self::that(Settings::default(), first)
    }

    /// A volume that behaves so.
    pub fn that(settings: Settings, first: &Tree) -> Self {
        let scratch = Scratch::new();
        let mut served = Served::in_test(scratch.path());
        let path = scratch.join("v");
        served.publish_with("v", &path, first, settings, None);
        Self {
            served,
            path,
            scratch,
        }
    }

    /// Commits these files, and returns when all events of that are queued.
    pub fn commit(&mut self, files: &[(&str, &str)]) {
        self.served.commit("v", &tree(files));
    }

    /// The path of a name of the volume.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file's whole text.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The inode number of a name.
    pub fn ino(&self, name: &str) -> u64 {
        fs::metadata(self.join(name)).expect(name).ino()
    }
}
