//! Where a program watches: a volume in a pod, one file of it in a pod, and the kubelet's layout.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::rc::Rc;

use rustix::fs::inotify::WatchFlags;
use rustix::mount::{MountFlags, mount_bind, mount_remount};

use super::idle;
use super::kubelet::AtomicWriter;
use crate::support::namespace::Namespace;
use crate::support::scratch::Scratch;
use crate::support::volume::{SENTINEL, Volume};
use crate::support::watch::Watch;

/// The key that the programs are to watch.
pub const FILE: &str = "app.conf";
/// The key that comes and goes.
pub const ADDED: &str = "added";

/// A place. Each change to it has happened, events and all, when its call comes back.
pub trait Place {
    /// The test's folder.
    fn scratch(&self) -> &Scratch;
    /// The folder with the file, as a program in this place sees it.
    fn folder(&self) -> &Path;
    /// Starts a program in this place.
    fn spawn(&self, command: Command) -> io::Result<Child>;
    /// Sets a key.
    fn set(&mut self, key: &str, content: &str);
    /// Removes a key.
    fn remove(&mut self, key: &str);
    /// Makes something happen to a name that is there for nothing else, which comes back.
    fn bell(&mut self, number: usize) -> String;
    /// Makes an event for the file's name in the folder, which does not change the file.
    fn poke(&mut self);
}

/// A volume, whole or a single file of it, bound read-only into a namespace of its own.
pub struct Live {
    // Before the volume, which can only go when nobody has it any more.
    pod: Namespace,
    heard: Watch,
    alone: Option<PathBuf>,
    volume: Volume,
}

impl Live {
    /// A volume whose file has this content, bound as a whole.
    pub fn folder(options: &[&str], content: &str) -> Self {
        let volume = Volume::with(options, &[(FILE, content), ("other", "same")]);
        let mask = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
        Self {
            pod: Namespace::bind(&volume.scratch, volume.path()),
            heard: Watch::one(volume.path(), mask),
            alone: None,
            volume,
        }
    }

    /// A volume whose file is bound alone, over an empty file in a folder of this machine.
    pub fn file(options: &[&str], content: &str) -> Self {
        let mut live = Self::folder(options, content);
        let alone = live.volume.scratch.join("alone");
        fs::create_dir(&alone).expect("a folder can be made");
        fs::write(alone.join(FILE), "").expect("a file can be made");
        let from = live.pod.path().join(FILE);
        let to = alone.join(FILE);
        live.pod.run(move || {
            mount_bind(&from, &to).expect("the file can be bound");
            mount_remount(&to, MountFlags::BIND | MountFlags::RDONLY, "")
                .expect("the bind can be made read-only");
        });
        live.alone = Some(alone);
        live
    }
}

impl Place for Live {
    fn scratch(&self) -> &Scratch {
        &self.volume.scratch
    }

    fn folder(&self) -> &Path {
        self.alone.as_deref().unwrap_or(self.pod.path())
    }

    fn spawn(&self, mut command: Command) -> io::Result<Child> {
        self.pod.run(move || command.spawn())
    }

    fn set(&mut self, key: &str, content: &str) {
        let there = self
            .volume
            .manifest
            .render()
            .contains(&format!("\n  \"{key}\": "));
        self.volume.change(&[(key, content)]);
        let last = if there { "CLOSE_WRITE" } else { "MOVED_TO" };
        self.heard.next_until("the volume has changed", |event| {
            event.is(last) && event.name == key
        });
    }

    fn remove(&mut self, key: &str) {
        self.volume.manifest.remove(key).replace();
        self.heard.next_until("the key is gone", |event| {
            event.is("DELETE") && event.name == key
        });
    }

    fn bell(&mut self, number: usize) -> String {
        if let Some(folder) = &self.alone {
            return move_in(&self.volume.scratch, folder, number);
        }
        self.set(SENTINEL, &number.to_string());
        SENTINEL.into()
    }

    fn poke(&mut self) {
        // The pod sees the volume's file here; this namespace sees the empty one.
        let folder = self.alone.as_ref().expect("a file that is bound alone");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(folder.join(FILE))
            .expect("the file below the mount is there");
        file.write_all(b"x").expect("it can be written");
    }
}

/// The layout of the kubelet.
pub struct Kubelet {
    writer: AtomicWriter,
    scratch: Rc<Scratch>,
}

impl Kubelet {
    /// A volume whose file has this content. `slowly`: its old folder goes only when the program has
    /// heard of the new one.
    pub fn new(content: &str, slowly: bool) -> Self {
        let scratch = Rc::new(Scratch::new());
        let keys = [(FILE, content), ("other", "same")];
        let pause = Rc::clone(&scratch);
        let before_cleanup = Box::new(move || {
            if slowly {
                idle::wait_until_idle(&pause);
            }
        });
        Self {
            writer: AtomicWriter::new(&scratch.join("volume"), &keys, before_cleanup),
            scratch,
        }
    }
}

impl Place for Kubelet {
    fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn folder(&self) -> &Path {
        self.writer.folder()
    }

    fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.spawn()
    }

    fn set(&mut self, key: &str, content: &str) {
        self.writer.set(key, content);
    }

    fn remove(&mut self, key: &str) {
        self.writer.remove(key);
    }

    fn bell(&mut self, number: usize) -> String {
        move_in(&self.scratch, self.writer.folder(), number)
    }

    fn poke(&mut self) {
        unreachable!("here every name can be heard");
    }
}

/// A new name in a folder, by one event.
fn move_in(scratch: &Scratch, folder: &Path, number: usize) -> String {
    let name = format!("{SENTINEL}-{number}");
    let ready = scratch.join(&name);
    fs::write(&ready, number.to_string()).expect("a file can be written");
    fs::rename(ready, folder.join(&name)).expect("a file can be renamed");
    name
}
