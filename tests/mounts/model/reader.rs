//! A program that watches the volume and reads it all the time while one commit is under way:
//! promises 2 and 4.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::inotify::WatchFlags;

use super::truth::{Kind, names};
use super::world::DRAIN;
use crate::support::served::Tree;
use crate::support::watch::Watch;

/// What has been heard so far.
#[derive(Clone, Copy, Default)]
struct Told {
    /// Something: every file that was there and stays reads as new.
    any: bool,
    /// That a file was modified: every added name is there.
    modified: bool,
}

/// Reads every file of both trees again and again, from before the commit until it is told to stop.
pub fn run(
    volume: &Path,
    old: &Tree,
    new: &Tree,
    started: &AtomicBool,
    stop: &AtomicBool,
) -> Result<(), String> {
    let mut watch = Watch::new();
    for (path, kind) in names(old) {
        if kind == Kind::Folder {
            let mask = WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            watch.add("", &volume.join(path), mask);
        }
    }
    let mut told = Told::default();
    loop {
        let last = stop.load(Ordering::Acquire);
        for path in old.keys().chain(new.keys()) {
            for event in watch.drain() {
                told.any = true;
                told.modified |= event.is("MODIFY");
            }
            look(volume, path, (old, new), told).map_err(|error| format!("{path}: {error}"))?;
        }
        started.store(true, Ordering::Release);
        if last {
            return Ok(());
        }
    }
}

fn look(volume: &Path, path: &str, trees: (&Tree, &Tree), told: Told) -> Result<(), String> {
    let (old, new) = (trees.0.get(path), trees.1.get(path));
    let began = Instant::now();
    let mut file = match File::open(volume.join(path)) {
        Ok(file) => file,
        Err(error) => {
            let must_be_there = new.is_some() && (old.is_some() || told.modified);
            return if must_be_there {
                Err(format!("opening: {error}"))
            } else {
                Ok(())
            };
        }
    };
    let Ok(meta) = file.metadata() else {
        return Err("fstat fails".into());
    };
    if meta.is_dir() {
        return Ok(());
    }
    let size = meta.len();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|error| format!("reading: {error}"))?;
    // Beyond the drain's bound another version's size may be told.
    if size != bytes.len() as u64 && began.elapsed() < DRAIN {
        return Err(format!("fstat said {size}, there are {}", bytes.len()));
    }
    let is = |tree: Option<&(Vec<u8>, u32)>| tree.is_some_and(|(of, _)| *of == bytes);
    if told.any && old.is_some() && new.is_some() && !is(new) {
        return Err("old bytes after the first event".into());
    }
    if is(old) || is(new) {
        Ok(())
    } else {
        Err(format!("{} bytes of no version", bytes.len()))
    }
}
