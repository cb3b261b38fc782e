//! What namespaces do not take with them when a run ends: its folder and its cgroups.
//!
//! A run holds a lock on a file in its folder for as long as it lives. One whose lock is free
//! was killed with its guardian, and the next run removes what it left.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::cgroups;

/// How the names of runs' folders begin.
const NAME: &str = "livemount-cluster-";

/// A run that has begun.
pub(crate) struct Run {
    folder: PathBuf,
    /// Locked while the run lives.
    _lock: File,
}

impl Run {
    /// Removes what killed runs left, and makes a folder for this one.
    pub(crate) fn begin() -> Result<Run, String> {
        let say = |error: io::Error| format!("{}: {error}", env::temp_dir().display());
        // No run begins while another looks for what was left, which would find it without a lock.
        let all = File::open(env::temp_dir()).map_err(say)?;
        flock(&all, FlockOperation::LockExclusive).map_err(|error| say(error.into()))?;
        sweep();
        let folder = tempfile::Builder::new()
            .prefix(NAME)
            .tempdir()
            .map_err(say)?
            .keep();
        let lock = lock_file(&folder.join("lock")).map_err(say)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| say(error.into()))?;
        fs::create_dir(folder.join("logs")).map_err(say)?;
        Ok(Run {
            folder,
            _lock: lock,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes all that is left when the last process inside is gone.
    pub(crate) fn end(self) {
        cgroups::remove(&self.folder);
        remove_folder(&self.folder);
    }

    /// The same for a user who wants to read the logs.
    pub(crate) fn end_but_keep_folder(self) {
        cgroups::remove(&self.folder);
        // A folder without a lock is nobody's to remove.
        let _ = fs::remove_file(self.folder.join("lock"));
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

fn sweep() {
    for entry in fs::read_dir(env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        if !entry.file_name().to_string_lossy().starts_with(NAME) {
            continue;
        }
        let folder = entry.path();
        let Ok(lock) = File::open(folder.join("lock")) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            cgroups::remove(&folder);
            remove_folder(&folder);
        }
    }
}

fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        eprintln!("cluster: {} is left: {error}", folder.display());
    }
}
