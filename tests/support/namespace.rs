//! A mount namespace of its own that sees a volume through a read-only bind, as a pod does.
//!
//! A thread lives in the namespace and runs what it is given; the namespace goes with it. The new
//! namespace starts as a copy of this process's, with other tests' mounts in it: they are detached
//! there at once, so that no test keeps another's connection alive.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind, mount_change, mount_remount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::mounts;
use super::scratch::Scratch;

type Task = Box<dyn FnOnce() + Send>;

/// The namespace.
pub struct Namespace {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Namespace {
    /// A namespace in which `volume`, a folder or a single file, is bound read-only at `path()`.
    pub fn bind(scratch: &Scratch, volume: &Path) -> Self {
        let path = scratch.fresh("pod");
        if volume.is_dir() {
            std::fs::create_dir(&path).expect("a folder can be made");
        } else {
            std::fs::write(&path, "").expect("a file can be made");
        }
        let (tasks, queue) = channel::<Task>();
        let thread = thread::spawn(move || {
            for task in queue {
                task();
            }
        });
        let namespace = Self {
            tasks: Some(tasks),
            thread: Some(thread),
            path: path.clone(),
        };
        let volume = volume.to_owned();
        namespace.run(move || enter(&volume, &path));
        namespace
    }

    /// Where the volume is bound, a path that means this only inside.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs something inside and waits for it.
    pub fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, result) = channel();
        let task = Box::new(move || {
            let _ = answer.send(task());
        });
        self.tasks
            .as_ref()
            .and_then(|tasks| tasks.send(task).ok())
            .and_then(|()| result.recv().ok())
            .expect("the thread in the namespace is there")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter(volume: &Path, path: &Path) {
    // SAFETY: NEWNS unshares this thread's mounts, root and working directory. It does not unshare
    // file descriptors, and nothing in the tests relies on relative paths.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace can be made");
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .expect("the namespace can be made private");
    mount_bind(volume, path).expect("the volume can be bound");
    mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, "")
        .expect("the bind can be made read-only");
    for mount in mounts::all() {
        if mount.fstype == mounts::FSTYPE && mount.target != path {
            // Another test may be taking it away in its own way; here it only has to be gone.
            let _ = mounts::detach(&mount.target);
        }
    }
}
