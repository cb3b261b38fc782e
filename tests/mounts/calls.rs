//! What each system call shows, row by row of the table in docs/SEMANTICS.md, and the hazards that it
//! tells of. What takes an update, a rogue or another process more than this is in the other files.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::pipe::SpliceFlags;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::support::mounts;
use crate::support::one::One;
use crate::support::watch::{Watch, lines};
use crate::support::{PATIENCE, wait_until};

/// A file's bytes by a call that moves them to a pipe, so many at a time.
fn moved(file: &File, mut call: impl FnMut(&io::PipeWriter, &mut u64) -> usize) -> String {
    let (mut out, input) = io::pipe().expect("a pipe");
    let size = usize::try_from(file.metadata().expect("stat").len()).expect("small");
    let mut offset = 0;
    while usize::try_from(offset).expect("small") < size && call(&input, &mut offset) > 0 {}
    drop(input);
    let mut text = String::new();
    out.read_to_string(&mut text).expect("the pipe");
    text
}

#[test]
fn promise_3_each_call_on_an_old_handle_shows_what_it_is_said_to() {
    let mut one = One::of(&[("a", "old")]);
    let old = File::open(one.join("a")).expect("opens");
    one.commit(&[("a", "new, and longer")]);
    // The bytes are the handle's; the size is the file's, for the kernel does not say who asks.
    let mut bytes = [0; 64];
    let got = old.read_at(&mut bytes, 0).expect("pread");
    assert_eq!(bytes[..got], *b"old");
    assert_eq!(old.metadata().expect("fstat").len(), 15);
    assert_eq!(fs::metadata(one.join("a")).expect("stat").len(), 15);
    let end = rustix::fs::seek(&old, SeekFrom::End(0)).expect("lseek");
    assert_eq!(end, 15);

    // What goes through the page cache is the current version.
    let spliced = moved(&old, |pipe, offset| {
        rustix::pipe::splice(&old, Some(offset), pipe, None, 4096, SpliceFlags::empty())
            .expect("splice")
    });
    assert_eq!(spliced, "new, and longer");
    let copy = one.scratch.join("copy");
    let to = File::create(&copy).expect("a file");
    let copied = rustix::fs::copy_file_range(&old, Some(&mut 0), &to, None, 4096);
    match copied {
        Ok(bytes) => assert_eq!(bytes, 15),
        // Between filesystems the kernel may say so, and programs then read and write.
        Err(error) => assert_eq!(error, Errno::XDEV),
    }
    if copied.is_ok() {
        let text = fs::read_to_string(&copy).expect("reads");
        assert_eq!(text, "new, and longer");
    }
}

/// A file's first bytes, mapped until the test ends.
fn map(file: &File, size: usize) -> &'static [std::sync::atomic::AtomicU8] {
    // SAFETY: a fresh mapping that is never unmapped, read as atomics since commits change it, and
    // never beyond the file's size.
    unsafe {
        let at = mmap(
            std::ptr::null_mut(),
            size,
            ProtFlags::READ,
            MapFlags::SHARED,
            file,
            0,
        );
        std::slice::from_raw_parts(at.expect("mmap").cast(), size)
    }
}

#[test]
fn promise_3_a_map_shows_the_current_version() {
    let mut one = One::of(&[("a", "old")]);
    let file = File::open(one.join("a")).expect("opens");
    let map = map(&file, 3);
    let shown = || -> Vec<u8> {
        let load =
            |byte: &std::sync::atomic::AtomicU8| byte.load(std::sync::atomic::Ordering::Relaxed);
        map.iter().map(load).collect()
    };
    assert_eq!(shown(), b"old");
    one.commit(&[("a", "new")]);
    assert_eq!(shown(), b"new", "under its reader");
}

/// A process that maps a file, says so, and looks at its last page when it is told to.
#[test]
#[ignore = "what another test starts; not a test"]
fn mapper() {
    let path = std::env::var_os("LIVEMOUNT_TEST_MAP").expect("a path");
    let file = File::open(path).expect("opens");
    let size = usize::try_from(file.metadata().expect("stat").len()).expect("small");
    let map = map(&file, size);
    println!("\nmapped");
    io::stdout().flush().expect("somebody listens");
    io::stdin().read_line(&mut String::new()).expect("told");
    map[size - 1].load(std::sync::atomic::Ordering::Relaxed);
}

/// Ends a process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_map_beyond_a_shorter_end_is_sigbus() {
    let mut one = One::of(&[("a", &"x".repeat(10_000))]);
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "--nocapture", "calls::mapper"])
        .env("LIVEMOUNT_TEST_MAP", one.join("a"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut child = Ended(child);
    let out = io::BufReader::new(child.0.stdout.take().expect("it is piped"));
    let mapped = out
        .lines()
        .any(|line| line.is_ok_and(|line| line == "mapped"));
    assert!(mapped, "it maps");
    one.commit(&[("a", "short")]);
    let mut told = child.0.stdin.take().expect("it is piped");
    told.write_all(b"\n").expect("it listens");
    let status = child.0.wait().expect("it ends");
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
}

#[test]
fn promise_1_a_removed_folder_that_is_held_is_dead_and_its_name_returns_with_its_number() {
    let mut one = One::of(&[("d/a", "1"), ("b", "1")]);
    let held = File::open(one.join("d")).expect("opens");
    let number = held.metadata().expect("fstat").ino();
    one.commit(&[("b", "1")]);
    one.commit(&[("b", "1"), ("d/a", "2")]);
    let back = fs::metadata(one.join("d")).expect("back");
    assert_eq!(back.ino(), number);
    assert_eq!(
        fs::read_to_string(one.join("d/a")).expect("reads"),
        "2",
        "by its name"
    );
    let within = rustix::fs::openat(&held, "a", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    assert_eq!(within.map(drop), Err(Errno::IO), "by the old handle");
}

#[test]
fn promise_1_a_file_that_returns_while_it_is_held_counts_two_links() {
    let mut one = One::of(&[("a", "1"), ("b", "1")]);
    let links = |one: &One| fs::metadata(one.join("a")).expect("stat").nlink();
    assert_eq!(links(&one), 1);
    let kept = one.scratch.join("kept");
    fs::write(&kept, "").expect("a file");
    mount_bind(one.join("a"), &kept).expect("a single-file bind");
    one.commit(&[("b", "1")]);
    one.commit(&[("b", "1"), ("a", "2")]);
    assert_eq!(links(&one), 2);
    unmount(&kept, UnmountFlags::DETACH).expect("ours to take away");
    // Nobody holds the old one, and the kernel forgets it at the next removal.
    one.commit(&[("b", "1")]);
    wait_until("the kernel has forgotten it", PATIENCE, || {
        one.commit(&[("b", "1"), ("a", "3")]);
        let links = links(&one);
        one.commit(&[("b", "1")]);
        links == 1
    });
}

#[test]
fn promise_9_the_mount_is_read_only_without_set_user_id_and_devices() {
    let one = One::of(&[("a", "1")]);
    let path = one.path.clone();
    let table = fs::read_to_string("/proc/self/mountinfo").expect("proc is mounted");
    let line = table
        .lines()
        .find(|line| line.split(' ').nth(4) == path.to_str())
        .expect("it is mounted");
    let options: Vec<&str> = line
        .split(' ')
        .nth(5)
        .expect("options")
        .split(',')
        .collect();
    for option in ["ro", "nosuid", "nodev"] {
        assert!(options.contains(&option), "{line}");
    }
    assert!(!options.contains(&"noexec"), "scripts run: {line}");
    assert_eq!(
        mounts::all()
            .iter()
            .filter(|mount| mount.target == path)
            .count(),
        1
    );
    // The kernel looks at the mount first; on one that somebody made writable it asks for O_TMPFILE.
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let temporary = |path: &Path| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map(drop);
    assert_eq!(temporary(&path), Err(Errno::ROFS));
    let writable = one.scratch.join("writable");
    fs::create_dir(&writable).expect("a folder");
    mount_bind(&path, &writable).expect("a bind of its own");
    let again = rustix::mount::mount_remount(&writable, rustix::mount::MountFlags::BIND, "");
    let result = again.map(|()| temporary(&writable));
    unmount(&writable, UnmountFlags::DETACH).expect("ours to take away");
    assert_eq!(result, Ok(Err(Errno::OPNOTSUPP)));
}

#[test]
fn a_folder_of_a_version_loses_its_name_and_stays_for_who_holds_it() {
    let mut one = One::of(&[("a", "1")]);
    let held = File::open(one.join("..data")).expect("opens");
    let by_name = |one: &One| fs::read_to_string(one.join("..1/a"));
    assert_eq!(by_name(&one).expect("the current version"), "1");
    one.commit(&[("a", "2")]);
    wait_until("the name is gone", PATIENCE, || {
        by_name(&one).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    });
    let file = rustix::fs::openat(&held, "a", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .expect("held");
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).expect("reads");
    assert_eq!(text, "1");
    // A working directory belongs to a thread here, so that no other test loses its own.
    let told = std::thread::spawn(move || {
        // SAFETY: unshares this thread's working directory, root and umask; nothing else uses them.
        unsafe { unshare_unsafe(UnshareFlags::FS) }.expect("a working directory of its own");
        rustix::process::fchdir(&held).expect("it can be entered");
        rustix::process::getcwd(Vec::new()).map(drop)
    });
    assert_eq!(told.join().expect("it ends"), Err(Errno::NOENT));
}

#[test]
fn promise_3_who_follows_a_file_by_one_handle_never_sees_an_update() {
    let mut one = One::of(&[("log", "first\n")]);
    let mut follows = File::open(one.join("log")).expect("opens");
    let mut text = String::new();
    follows.read_to_string(&mut text).expect("reads");
    assert_eq!(text, "first\n");
    one.commit(&[("log", "first\nsecond\n")]);
    // All that `tail -F` looks at says that there is more, and there is not.
    let meta = follows.metadata().expect("fstat");
    let by_name = fs::metadata(one.join("log")).expect("stat");
    assert_eq!((meta.ino(), meta.len()), (by_name.ino(), 13));
    assert_eq!(follows.read_to_string(&mut text).expect("reads on"), 0);
}

#[test]
fn promise_5_an_open_for_nothing_but_a_path_hears_and_delays_nobody() {
    let mut one = One::of(&[("a", "1")]);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let held = rustix::fs::open(one.join("a"), flags, Mode::empty()).expect("O_PATH");
    let by_descriptor = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&held)
    ));
    let mut watch = Watch::all(&by_descriptor);
    one.commit(&[("a", "2")]);
    assert_eq!(lines(&watch.drain()), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
    let text = fs::read_to_string(&by_descriptor).expect("opens anew");
    assert_eq!(text, "2");
}
