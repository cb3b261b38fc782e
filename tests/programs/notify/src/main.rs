//! A program that reloads by the crate notify, through its recommended watcher.
//!
//! `livemount-test-notify WATCHED FILE` prints `ready VERSION` when it watches, and one line for each
//! event that is not a mere access, which its own reading would be.

use std::path::Path;
use std::sync::mpsc::channel;
use std::{env, fs};

use notify::{RecursiveMode, Watcher as _};
use serde_json::json;

const LOCK: &str = include_str!("../Cargo.lock");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(watched), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: livemount-test-notify WATCHED FILE".into());
    };
    let (watched, file) = (Path::new(&watched), Path::new(&file));
    let folder = file.parent().ok_or("FILE has no folder")?;
    let (sender, events) = channel();
    let mut watcher = notify::recommended_watcher(sender)?;
    watcher.watch(watched, RecursiveMode::NonRecursive)?;
    println!("ready {}", version().ok_or("no version")?);
    for event in events {
        let event = event?;
        if event.kind.is_access() {
            continue;
        }
        let name = event.paths.first().and_then(|path| path.file_name());
        let named = name.and_then(|name| fs::read_to_string(folder.join(name)).ok());
        let reaction = json!({
            "name": name.unwrap_or_default().to_string_lossy(),
            "file": fs::read_to_string(file).ok(),
            "named": named,
        });
        println!("reaction {reaction}");
    }
    Ok(())
}

/// The crate's version, as this program's own lock file has it.
fn version() -> Option<&'static str> {
    let (_, package) = LOCK.split_once("name = \"notify\"\nversion = \"")?;
    package.split('"').next()
}
