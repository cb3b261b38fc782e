//! A process that means harm, in a mount namespace of its own, with every capability that root has.
//!
//! It is this test binary again, asked for its ignored test `rogue_process` alone. It does its task as soon as
//! it has been told which, says so, and then does what it is told to until its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, StatxFlags, Timespec, Timestamps, UTIME_OMIT, statx, utimensat,
};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use super::fault::{Call, Page};
use super::forge;
use crate::support::namespace::Namespace;
use crate::support::process::Process;
use crate::support::scratch::Scratch;
use crate::support::served::{again, read_frame, stdin, write_frame};
use crate::support::{PATIENCE, wait_until};

/// The files that are always there.
const FILES: [&str; 3] = ["a", "b", "d/x"];

/// What a rogue does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Makes its bind writable and changes whatever can be named, in a loop.
    Write,
    /// Forges file handles, in a loop.
    Forge,
    /// Takes a read lease on one file and write leases on the others, and gives up none.
    Lease,
    /// Stops in the middle of a listing, which holds the folder's lock.
    HoldFolder,
    /// Locks files and folder by flock.
    Flock,
    /// Stops in the middle of a read, inside the kernel.
    HoldRead,
    /// Reads half of a file and stops itself.
    StopInRead,
    /// Opens a file at every step and closes none.
    KeepOpen,
    /// Opens every file at every step, many times, and reads none.
    NeverRead,
    /// Asks for everything, from many threads, in a loop.
    Flood,
    /// `umount -f`.
    ForceUnmount,
    /// Mounts something over files and a folder, where nobody else sees it.
    Cover,
    /// Wants to be asked before each open of a file, and never answers.
    Judge,
    /// Remounts the whole filesystem read-only, not its bind alone, and writable again at a step.
    SuperReadOnly,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Order {
    Step,
    End,
}

/// What a rogue says for itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// How often it went through its task.
    pub rounds: u64,
    /// What it should not have been able to do.
    pub notes: Vec<String>,
    /// What its handles read, the oldest first.
    pub reads: Vec<Result<Vec<u8>, i32>>,
}

/// A rogue, as the test has it. Dropping it ends it.
pub struct Rogue {
    child: Child,
    socket: UnixStream,
    pub process: Process,
    _pod: Namespace,
}

impl Rogue {
    /// Starts a rogue and waits until it is at its task.
    pub fn start(scratch: &Scratch, volume: &Path, task: Task) -> Self {
        let pod = Namespace::bind(scratch, volume);
        let root = scratch.path().to_owned();
        let folder = pod.path().to_owned();
        // Started by the namespace's thread, it lives in the namespace.
        let (child, socket) = pod.run(move || {
            let arguments = [
                "rogues::rogue_process",
                "--exact",
                "--ignored",
                "--nocapture",
            ];
            again(&root, &arguments)
        });
        let process = Process::child(child.id());
        let mut rogue = Self {
            child,
            socket,
            process,
            _pod: pod,
        };
        write_frame(&mut rogue.socket, &(task, folder));
        rogue.told();
        rogue
    }

    fn told(&mut self) -> Told {
        read_frame(&mut self.socket).expect("the rogue says something")
    }

    pub fn step(&mut self) -> Told {
        write_frame(&mut self.socket, &Order::Step);
        self.told()
    }

    /// What it says at its end.
    pub fn end(&mut self) -> Told {
        write_frame(&mut self.socket, &Order::End);
        self.told()
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // One that cannot die is told of; waiting for it without an end would hang.
        wait_until("the rogue has gone", PATIENCE, || {
            !matches!(self.child.try_wait(), Ok(None))
        });
    }
}

/// A task in a loop, by threads of its own.
struct Loops {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Loops {
    fn start<F: FnMut() -> Vec<String> + Send + 'static>(
        round: impl Fn() -> F,
        threads: usize,
    ) -> Self {
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let start = |_| {
            let (stop, rounds, mut round) = (Arc::clone(&stop), Arc::clone(&rounds), round());
            thread::spawn(move || {
                let mut notes = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    notes.extend(round());
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                notes
            })
        };
        let threads = (0..threads).map(start).collect();
        wait_until("one round is done", PATIENCE, || {
            rounds.load(Ordering::Relaxed) > 0
        });
        Self {
            stop,
            rounds,
            threads,
        }
    }

    fn end(&mut self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let notes = self
            .threads
            .drain(..)
            .flat_map(|thread| thread.join().expect("it tells"));
        Told {
            notes: notes.collect(),
            rounds: self.rounds.load(Ordering::Relaxed),
            ..Told::default()
        }
    }
}

/// What the test `rogue_process` runs.
pub fn main() {
    let mut socket = stdin();
    let Some((task, folder)) = read_frame::<(Task, PathBuf)>(&mut socket) else {
        return;
    };
    let mut rogue = begin(task, folder);
    write_frame(&mut socket, &Told::default());
    if matches!(task, Task::StopInRead) {
        kill_process(getpid(), Signal::STOP).expect("it stops itself");
    }
    while let Some(order) = read_frame(&mut socket) {
        write_frame(&mut socket, &rogue(order));
    }
}

type Acting = Box<dyn FnMut(Order) -> Told>;

/// Keeps something for as long as the process lives.
fn keep<T: 'static>(kept: T) -> Acting {
    Box::new(move |_| {
        let _ = &kept;
        Told::default()
    })
}

fn looping(mut loops: Loops) -> Acting {
    Box::new(move |order| match order {
        Order::Step => Told {
            rounds: loops.rounds.load(Ordering::Relaxed),
            ..Told::default()
        },
        Order::End => loops.end(),
    })
}

fn begin(task: Task, folder: PathBuf) -> Acting {
    match task {
        Task::Write => {
            mount_remount(&folder, MountFlags::BIND, "").expect("made writable");
            looping(Loops::start(
                || {
                    let folder = folder.clone();
                    move || write_round(&folder)
                },
                1,
            ))
        }
        Task::Forge => {
            mount_remount(&folder, MountFlags::BIND, "").expect("made writable");
            looping(Loops::start(
                || {
                    let folder = folder.clone();
                    move || forge::round(&folder).unwrap_or_default()
                },
                1,
            ))
        }
        Task::Flood => looping(Loops::start(
            || {
                let folder = folder.clone();
                move || flood_round(&folder)
            },
            8,
        )),
        Task::Lease => keep(leases(&folder)),
        Task::Flock => keep(flocks(&folder)),
        Task::HoldFolder => keep(Page::stop_in(Call::Getdents, &folder)),
        Task::HoldRead => keep(Page::stop_in(Call::Read, &folder.join("a"))),
        Task::StopInRead => {
            let mut file = File::open(folder.join("a")).expect("opens");
            let mut bytes = vec![0; 1000];
            file.read_exact(&mut bytes).expect("reads");
            Box::new(move |_| {
                let rest = file.read_to_end(&mut bytes);
                Told {
                    reads: vec![rest.map(|_| bytes.clone()).map_err(|error| errno(&error))],
                    ..Told::default()
                }
            })
        }
        Task::KeepOpen => {
            let mut open: Vec<File> = Vec::new();
            Box::new(move |order| match order {
                Order::Step => {
                    let file = File::open(folder.join("a")).expect("opens");
                    // Read once, it delays nobody.
                    whole(&file).expect("reads");
                    open.push(file);
                    Told::default()
                }
                Order::End => Told {
                    reads: open.iter().map(whole).collect(),
                    ..Told::default()
                },
            })
        }
        Task::NeverRead => {
            let mut open: Vec<File> = Vec::new();
            Box::new(move |_| {
                for name in FILES.iter().cycle().take(60) {
                    open.push(File::open(folder.join(name)).expect("opens"));
                }
                Told::default()
            })
        }
        Task::ForceUnmount => {
            // It may say that the mount is busy; the connection is gone all the same.
            let _ = unmount(&folder, UnmountFlags::FORCE);
            keep(())
        }
        Task::Cover => {
            let cover = folder.with_extension("cover");
            fs::create_dir(&cover).expect("a folder");
            fs::write(cover.join("file"), "over it").expect("a file");
            for name in ["a", "n"] {
                mount_bind(cover.join("file"), folder.join(name)).expect("covers a file");
            }
            mount_bind(&cover, folder.join("d")).expect("covers a folder");
            keep(())
        }
        Task::Judge => keep(judge(&folder)),
        Task::SuperReadOnly => {
            mount_remount(&folder, MountFlags::RDONLY, "").expect("read-only");
            Box::new(move |_| {
                mount_remount(&folder, MountFlags::empty(), "").expect("writable");
                Told::default()
            })
        }
    }
}

/// Everything that changes a file or a name. Tells what was let through that never may be: only the
/// change that is armed may be done by anybody, and then it is the publisher's own.
fn write_round(folder: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    let mut never = |what: &str, done: io::Result<()>| {
        if done.is_ok() {
            notes.push(what.to_owned());
        }
    };
    for name in ["a", "b", "n", "d/x"] {
        let path = folder.join(name);
        if let Ok(file) = OpenOptions::new().write(true).open(&path) {
            let _ = file.write_at(b"rogue", 0);
            never("truncate through a handle", file.set_len(0));
        }
        never(
            "truncate",
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(&path)
                .map(drop),
        );
        never("rename", fs::rename(&path, folder.join("z")));
        never("rename over", fs::rename(&path, folder.join("d/y")));
        never(
            "chmod",
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)),
        );
        never("link", fs::hard_link(&path, folder.join("hard")));
    }
    // These are armed now and then.
    let _ = fs::remove_file(folder.join("n"));
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        },
    };
    for name in FILES {
        let _ = utimensat(CWD, folder.join(name), &times, AtFlags::empty());
    }
    never("unlink", fs::remove_file(folder.join("a")));
    never("mkdir", fs::create_dir(folder.join("new")));
    never("rmdir", fs::remove_dir(folder.join("d")));
    never("create", File::create(folder.join("new")).map(drop));
    never(
        "symlink",
        std::os::unix::fs::symlink("a", folder.join("new")),
    );
    notes
}

fn flood_round(folder: &Path) -> Vec<String> {
    for number in 0..20 {
        let _ = fs::symlink_metadata(folder.join(format!("none-{number}")));
        let _ = fs::symlink_metadata(folder.join("..data/a"));
    }
    for name in FILES {
        let path = folder.join(name);
        let flags = AtFlags::STATX_FORCE_SYNC;
        let _ = statx(CWD, &path, flags, StatxFlags::BASIC_STATS);
        let _ = File::open(&path).map(|file| whole(&file));
        let _ = rustix::fs::getxattr(&path, "user.livemount.object", &mut [0; 256][..]);
    }
    let _ = fs::read_dir(folder).map(Iterator::count);
    Vec::new()
}

fn whole(file: &File) -> Result<Vec<u8>, i32> {
    let mut bytes = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        match file
            .read_at(&mut bytes[at..], at as u64)
            .map_err(|error| errno(&error))?
        {
            0 => break,
            got => at += got,
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

fn leases(folder: &Path) -> Vec<File> {
    let take = |(name, kind): (&str, libc::c_int)| {
        let file = File::open(folder.join(name)).expect("opens");
        // SAFETY: a broken lease is told by SIGIO, which ends who does not expect it; ignoring a signal
        // touches no memory. fcntl takes an integer, on a descriptor that lives through the call.
        let taken = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind)
        };
        assert_eq!(
            taken,
            0,
            "a lease on {name}: {}",
            io::Error::last_os_error()
        );
        file
    };
    let kinds = [libc::F_RDLCK, libc::F_WRLCK, libc::F_WRLCK];
    FILES.into_iter().zip(kinds).map(take).collect()
}

fn flocks(folder: &Path) -> Vec<File> {
    let take = |name| {
        let file = File::open(folder.join(name)).expect("opens");
        rustix::fs::flock(&file, FlockOperation::LockExclusive).expect("a lock");
        file
    };
    ["", "d", "a", "b", "d/x"].into_iter().map(take).collect()
}

fn judge(folder: &Path) -> File {
    use std::os::fd::FromRawFd as _;
    use std::os::unix::ffi::OsStrExt as _;
    // SAFETY: the call takes flags alone; a descriptor that it gives is nobody else's.
    let group = unsafe {
        let group = libc::fanotify_init(libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC, 0);
        assert!(group >= 0, "fanotify: {}", io::Error::last_os_error());
        File::from_raw_fd(group)
    };
    for name in FILES {
        let path = std::ffi::CString::new(folder.join(name).as_os_str().as_bytes());
        let path = path.expect("no zero in a path");
        // SAFETY: the path lives through the call.
        let marked = unsafe {
            libc::fanotify_mark(
                group.as_raw_fd(),
                libc::FAN_MARK_ADD,
                libc::FAN_OPEN_PERM,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        assert_eq!(marked, 0, "a mark: {}", io::Error::last_os_error());
    }
    group
}
