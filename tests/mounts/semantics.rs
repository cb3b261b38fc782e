//! The promises of docs/SEMANTICS.md that need more than one manifest can say: folders, modes, types,
//! executables, volumes side by side. Each test carries its promise's number.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use livemount::publish::Settings;
use rustix::fs::{AtFlags, CWD, FlockOperation, SeekFrom};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_remount};

use crate::support::namespace::Namespace;
use crate::support::one::One;
use crate::support::scratch::Scratch;
use crate::support::served::{Served, Tree, tree};
use crate::support::watch::{Watch, lines};

/// What a watch heard until the commit that the daemon has told to be over. All events of a commit
/// are queued by then: the hand makes them before it answers.
fn heard(watch: &mut Watch) -> Vec<String> {
    lines(&watch.drain())
}

#[test]
fn promise_1_inodes_outlive_updates_removal_and_return() {
    let mut one = One::of(&[("a", "1"), ("d/e/b", "1"), ("gone", "1")]);
    let before = ["a", "d", "d/e", "d/e/b", "gone"].map(|name| one.ino(name));
    for ino in before {
        assert!(
            ino > 2 && ino < 1 << 53 && ino != u64::from(u32::MAX),
            "{ino}"
        );
    }
    one.commit(&[("a", "2"), ("d/e/b", "2")]);
    one.commit(&[("a", "3"), ("d/e/b", "3"), ("gone", "back")]);
    assert_eq!(
        ["a", "d", "d/e", "d/e/b", "gone"].map(|name| one.ino(name)),
        before
    );
}

#[test]
fn promise_1_a_bind_of_a_single_file_lives_on() {
    let mut one = One::of(&[("a", "1"), ("b", "1")]);
    let pod = Namespace::bind(&one.scratch, &one.join("a"));
    let path = pod.path().to_owned();
    let bound = path.clone();
    let mut watch = pod.run(move || Watch::all(&bound));
    let read = move || {
        let path = path.clone();
        fs::read_to_string(path)
    };
    one.commit(&[("a", "2"), ("b", "1")]);
    assert_eq!(heard(&mut watch), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
    assert_eq!(pod.run(read.clone()).expect("bound"), "2");

    // Removed: the bind keeps the last bytes. Back: the same inode, and the bind is live again.
    one.commit(&[("b", "1")]);
    assert_eq!(pod.run(read.clone()).expect("the last bytes"), "2");
    one.commit(&[("a", "3"), ("b", "1")]);
    assert_eq!(pod.run(read.clone()).expect("live again"), "3");
    watch.drain();
    one.commit(&[("a", "4"), ("b", "1")]);
    assert_eq!(heard(&mut watch), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
    assert_eq!(pod.run(read).expect("live"), "4");
}

#[test]
fn promise_1_a_folder_that_returns_while_it_is_held_can_be_used() {
    let mut one = One::of(&[("d/a", "1"), ("b", "1")]);
    let held = File::open(one.join("d")).expect("a folder can be opened");
    one.commit(&[("b", "1")]);
    one.commit(&[("b", "1"), ("d/a", "2")]);
    assert_eq!(one.read("d/a"), "2");
    one.commit(&[("b", "1"), ("d/a", "2"), ("d/n", "new")]);
    assert_eq!(one.read("d/n"), "new");
    drop(held);
}

#[test]
fn promise_3_a_handle_reads_its_version_in_whatever_pieces() {
    let old = "old ".repeat(50_000);
    let new = "new".repeat(10_000);
    let mut one = One::of(&[("a", &old)]);
    let mut handle = File::open(one.join("a")).expect("opens");
    let mut head = vec![0; 4];
    handle.read_exact(&mut head).expect("reads");
    one.commit(&[("a", &new)]);
    let mut rest = String::new();
    handle.read_to_string(&mut rest).expect("reads on");
    assert_eq!(format!("old {rest}"), old);
    let mut odd = vec![0; 4097];
    handle.read_exact_at(&mut odd, 123_457).expect("pread");
    assert_eq!(odd, old.as_bytes()[123_457..][..4097]);
    let mut vectors = [vec![0; 13], vec![0; 77]];
    let [a, b] = &mut vectors;
    let mut parts = [io::IoSliceMut::new(a), io::IoSliceMut::new(b)];
    let read = rustix::io::preadv(&handle, &mut parts, 1).expect("preadv");
    assert_eq!(read, 90);
    assert_eq!(vectors.concat(), old.as_bytes()[1..91]);
    assert_eq!(one.read("a"), new);
}

#[test]
fn promise_3_the_page_cache_shows_the_current_version() {
    let mut one = One::of(&[("a", &"1".repeat(9000))]);
    let old = File::open(one.join("a")).expect("opens");
    assert_eq!(sendfile(&old), "1".repeat(9000));
    for (round, size) in [(2, 9000), (3, 100), (4, 20_000), (5, 0), (6, 9000)] {
        let text = round.to_string().repeat(size);
        one.commit(&[("a", &text)]);
        // First, before anybody has asked for anything: whoever stats would mend what a commit forgot.
        assert_eq!(sendfile(&old), text, "an old handle, round {round}");
        let fresh = File::open(one.join("a")).expect("opens");
        assert_eq!(fresh.metadata().expect("stat").len(), size as u64);
        assert_eq!(sendfile(&fresh), text, "a fresh handle, round {round}");
        assert_eq!(mapped(&fresh, size), text);
    }
}

#[test]
fn promise_2_the_page_cache_of_every_changed_file_is_new_at_the_first_event() {
    let names: Vec<String> = (0..300).map(|number| format!("f{number:03}")).collect();
    let files = |text: &str| -> Tree {
        let file = |name: &String| (name.clone(), (text.repeat(9000).into_bytes(), 0o644));
        names.iter().map(file).collect()
    };
    let mut one = One::with(&files("0"));
    let last = File::open(one.join(&names[299])).expect("opens");
    let mut watch = Watch::all(&one.join(&names[0]));
    for round in ["1", "2", "3"] {
        // Cached, and of the same size: only its time tells the kernel.
        sendfile(&last);
        one.served.offer("v", &files(round));
        watch.next_until("the first event", |event| event.is("OPEN"));
        assert_eq!(sendfile(&last), round.repeat(9000), "round {round}");
        one.served.settle("v");
        watch.drain();
    }
}

fn sendfile(file: &File) -> String {
    let (mut out, input) = io::pipe().expect("a pipe");
    let copy = file.try_clone().expect("a descriptor");
    let sender = std::thread::spawn(move || {
        let mut offset = 0;
        while rustix::fs::sendfile(&input, &copy, Some(&mut offset), 1 << 16).expect("sendfile") > 0
        {
        }
    });
    let mut text = String::new();
    out.read_to_string(&mut text).expect("the pipe");
    sender.join().expect("the sender");
    text
}

fn mapped(file: &File, size: usize) -> String {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    if size == 0 {
        return String::new();
    }
    // SAFETY: a fresh mapping of the whole file, read within its size while nothing commits, and
    // unmapped before anybody else knows of it.
    let bytes = unsafe {
        let at = mmap(
            std::ptr::null_mut(),
            size,
            ProtFlags::READ,
            MapFlags::SHARED,
            file,
            0,
        )
        .expect("mmap");
        let bytes = std::slice::from_raw_parts(at.cast::<u8>(), size).to_vec();
        munmap(at, size).expect("munmap");
        bytes
    };
    String::from_utf8(bytes).expect("text")
}

#[test]
fn promise_4_an_empty_file_stays_empty_after_its_ring() {
    // The kernel believes the ring's byte until it asks again.
    let mut one = One::of(&[("a", "1"), ("b", "1")]);
    for text in ["", "1", ""] {
        one.commit(&[("a", text), ("b", "1")]);
        let file = File::open(one.join("a")).expect("opens");
        assert_eq!(sendfile(&file), text);
        let size = file.metadata().expect("stat").len();
        assert_eq!(size, text.len() as u64);
        assert_eq!(file.seek_end(), text.len() as u64);
    }
}

trait SeekEnd {
    fn seek_end(&self) -> u64;
}

impl SeekEnd for File {
    fn seek_end(&self) -> u64 {
        rustix::fs::seek(self, SeekFrom::End(0)).expect("lseek")
    }
}

#[test]
fn promise_5_an_executable_gets_modify_alone_even_while_it_runs() {
    let sleep = fs::read("/bin/sleep").expect("a program");
    let mut padded = sleep.clone();
    padded.push(0);
    let files = |program: &[u8], script: &str| {
        Tree::from([
            ("run".to_owned(), (program.to_vec(), 0o755)),
            ("script".to_owned(), (script.as_bytes().to_vec(), 0o755)),
        ])
    };
    let mut one = One::with(&files(&sleep, "#!/bin/sh\necho one\n"));
    let mut watch = Watch::all(&one.path);
    let path = one.join("script");
    assert_eq!(output(&path), "one\n");
    watch.drain();
    one.served
        .commit("v", &files(&sleep, "#!/bin/sh\necho two\n"));
    assert_eq!(heard(&mut watch), ["MODIFY script"]);
    assert_eq!(output(&path), "two\n");

    let mut child = Command::new(one.join("run"))
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .expect("runs from the volume");
    watch.drain();
    one.served
        .commit("v", &files(&padded, "#!/bin/sh\necho two\n"));
    assert_eq!(heard(&mut watch), ["MODIFY run"]);
    child.kill().expect("ours to end");
    child.wait().expect("ours to reap");
    assert_eq!(fs::read(one.join("run")).expect("reads"), padded);
}

#[test]
fn promise_5_a_file_under_a_lease_gets_modify_alone() {
    let mut one = One::of(&[("a", "1")]);
    let file = File::open(one.join("a")).expect("opens");
    let mut byte = [0; 8];
    file.read_at(&mut byte, 0).expect("reads");
    lease(&file);
    let mut watch = Watch::all(&one.join("a"));
    one.commit(&[("a", "2")]);
    assert_eq!(heard(&mut watch), ["MODIFY"]);
    assert_eq!(one.read("a"), "2");
}

fn lease(file: &File) {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the kernel tells of a broken lease by SIGIO, which ends who does not expect it; ignoring
    // a signal touches no memory. fcntl takes an integer, on a descriptor that lives through the call.
    let taken = unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK)
    };
    assert_eq!(taken, 0, "a read lease: {}", io::Error::last_os_error());
}

fn output(program: &Path) -> String {
    let output = Command::new(program).output().expect("it runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn promise_5_folders_and_changes_of_type() {
    let mut one = One::of(&[("a", "file"), ("d/x", "1"), ("d/y", "1"), ("k", "1")]);
    let file = one.ino("a");
    let mut watch = Watch::all(&one.path);

    // A whole folder appears as one name; a file becomes a folder, a folder a file.
    one.commit(&[
        ("a/b/c", "deep"),
        ("d", "file now"),
        ("k", "1"),
        ("new/e/f", "1"),
    ]);
    assert_eq!(
        heard(&mut watch),
        [
            "DELETE a",
            "MOVED_TO,ISDIR a",
            "DELETE,ISDIR d",
            "MOVED_TO d",
            "MOVED_TO,ISDIR new"
        ]
    );
    assert_eq!(one.read("a/b/c"), "deep");
    assert_eq!(one.read("d"), "file now");
    assert_eq!(one.read("new/e/f"), "1");
    assert_ne!(one.ino("a"), file);

    watch.drain();
    let mut below = Watch::all(&one.join("a/b"));
    one.commit(&[("a/b/c", "deeper"), ("a/b/n", "1"), ("k", "1")]);
    assert_eq!(
        heard(&mut below),
        ["MOVED_TO n", "OPEN c", "MODIFY c", "CLOSE_WRITE c"]
    );
    assert_eq!(heard(&mut watch), ["DELETE,ISDIR new", "DELETE d"]);

    one.commit(&[("a", "file again"), ("k", "1")]);
    assert_eq!(one.read("a"), "file again");
    assert_eq!(one.ino("a"), file, "its number as a file");
}

#[test]
fn promise_8_times_and_attributes_are_right_on_the_first_stat() {
    let mut one = One::of(&[("a", "0"), ("b", "same")]);
    let stat = |one: &One, name: &str| fs::metadata(one.join(name)).expect(name);
    let time = |meta: &fs::Metadata| (meta.mtime(), meta.mtime_nsec());
    let mut last = time(&stat(&one, "a"));
    let other = time(&stat(&one, "b"));
    for round in 1..200_usize {
        // A content that was there before, too: mtime still moves.
        let text = "x".repeat(round % 7);
        one.commit(&[("a", &text), ("b", "same")]);
        let meta = stat(&one, "a");
        assert_eq!(meta.len(), text.len() as u64, "round {round}");
        assert!(time(&meta) > last, "round {round}");
        assert_eq!((meta.atime(), meta.atime_nsec()), time(&meta));
        assert_eq!((meta.ctime(), meta.ctime_nsec()), time(&meta));
        last = time(&meta);
        one.read("a");
        assert_eq!(time(&stat(&one, "a")), last, "reading changes nothing");
    }
    assert_eq!(
        time(&stat(&one, "b")),
        other,
        "an unchanged file keeps its time"
    );
}

/// Everything that could change a volume, tried on a path of it.
fn mutations(folder: &Path) -> Vec<(&'static str, io::Result<()>)> {
    let file = folder.join("a");
    let c = |text: &str| text.to_owned();
    let nix = |result: Result<(), Errno>| result.map_err(io::Error::from);
    vec![
        (
            "open for writing",
            OpenOptions::new().write(true).open(&file).map(drop),
        ),
        (
            "open for both",
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&file)
                .map(drop),
        ),
        (
            "truncate",
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(&file)
                .map(drop),
        ),
        (
            "append",
            OpenOptions::new().append(true).open(&file).map(drop),
        ),
        ("create", File::create(folder.join("new")).map(drop)),
        ("unlink", fs::remove_file(&file)),
        ("rename", fs::rename(&file, folder.join("z"))),
        ("rename over", fs::rename(&file, folder.join("b"))),
        ("mkdir", fs::create_dir(folder.join("dir"))),
        ("rmdir", fs::remove_dir(folder.join("d"))),
        (
            "symlink",
            std::os::unix::fs::symlink("a", folder.join("link")),
        ),
        ("link", fs::hard_link(&file, folder.join("hard"))),
        (
            "chmod",
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)),
        ),
        ("chown", std::os::unix::fs::chown(&file, Some(1), Some(1))),
        (
            "utimens",
            nix(rustix::fs::utimensat(
                CWD,
                &file,
                &rustix::fs::Timestamps {
                    last_access: rustix::fs::Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    },
                    last_modification: rustix::fs::Timespec {
                        tv_sec: 1,
                        tv_nsec: 0,
                    },
                },
                AtFlags::empty(),
            )),
        ),
        (
            "setxattr",
            nix(rustix::fs::setxattr(
                &file,
                c("user.x"),
                b"1",
                rustix::fs::XattrFlags::empty(),
            )),
        ),
        (
            "mknod",
            nix(rustix::fs::mknodat(
                CWD,
                folder.join("fifo"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )),
        ),
    ]
}

#[test]
fn promise_9_every_mutation_is_erofs_whoever_asks() {
    let mut one = One::of(&[("a", "1"), ("b", "1"), ("d/e", "1")]);
    let refused = |folder: &Path| {
        for (what, result) in mutations(folder) {
            let error = result.expect_err(what);
            assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{what}: {error}");
        }
    };
    refused(&one.path);

    // A rogue makes its bind writable in its own mount namespace. The kernel asks us then.
    let pod = Namespace::bind(&one.scratch, &one.path);
    let path = pod.path().to_owned();
    pod.run(move || {
        mount_bind(&path, &path).expect("a bind of its own");
        mount_remount(&path, MountFlags::BIND, "").expect("made writable");
        for (what, result) in mutations(&path) {
            let error = result.expect_err(what);
            assert_eq!(error.raw_os_error(), Some(libc::EROFS), "{what}: {error}");
        }
        rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).expect("taken away");
    });
    let mut watch = Watch::all(&one.path);
    one.commit(&[("a", "2"), ("b", "1"), ("d/e", "1")]);
    assert_eq!(heard(&mut watch), ["OPEN a", "MODIFY a", "CLOSE_WRITE a"]);
    assert_eq!(one.read("a"), "2");
}

/// Ends a rogue, whatever happens to the test.
struct End(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn promise_9_a_rogue_that_writes_all_the_time_harms_no_commit() {
    let mut one = One::of(&[("a", "0"), ("b", "1")]);
    let pod = Namespace::bind(&one.scratch, &one.path);
    let path = pod.path().to_owned();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    std::thread::scope(|scope| {
        let end = End(stop);
        let rogue = scope.spawn(|| {
            pod.run(move || {
                mount_remount(&path, MountFlags::BIND, "").expect("made writable");
                let mut tries = 0_u64;
                while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = OpenOptions::new()
                        .write(true)
                        .open(path.join("a"))
                        .map(|file| {
                            let _ = file.write_at(b"rogue", 0);
                        });
                    let _ = fs::remove_file(path.join("n"));
                    let _ = fs::rename(path.join("a"), path.join("z"));
                    let _ = fs::remove_file(path.join("a"));
                    tries += 1;
                }
                tries
            })
        });
        for round in 1..=100 {
            let text = format!("round {round}");
            let mut files = vec![("a", text.as_str()), ("b", "1")];
            if round % 2 == 0 {
                files.push(("n", "now and then"));
            }
            one.commit(&files);
            assert_eq!(one.read("a"), text);
            // The rogue may have brought our unlink itself, and its own call may not have ended yet.
            crate::support::wait_until("the name is right", crate::support::PATIENCE, || {
                one.join("n").exists() == (round % 2 == 0)
            });
        }
        drop(end);
        assert!(rogue.join().expect("the rogue ends") > 0);
    });
}

#[test]
fn promise_12_a_forced_unmount_of_one_volume_leaves_the_others_alone() {
    let scratch = Scratch::new();
    let mut served = Served::in_test(scratch.path());
    let paths = ["v1", "v2", "v3"].map(|name| scratch.join(name));
    for path in &paths {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        served.publish(name, path, &tree(&[("a", "1")]));
    }
    let mut watches = paths.each_ref().map(|path| Watch::all(&path.join("a")));
    // `umount -f` aborts the whole connection, even where it then says that the mount is busy.
    let status = Command::new("umount")
        .arg("-f")
        .arg(&paths[1])
        .output()
        .expect("umount runs");
    drop(status);
    served.offer("v2", &tree(&[("a", "2")]));
    for name in ["v1", "v3"] {
        served.commit(name, &tree(&[("a", "2")]));
    }
    for index in [0, 2] {
        assert_eq!(
            heard(&mut watches[index]),
            ["OPEN", "MODIFY", "CLOSE_WRITE"]
        );
        let text = fs::read_to_string(paths[index].join("a")).expect("served");
        assert_eq!(text, "2");
    }
    // The one that was aborted can be taken away and mounted again.
    served.unpublish("v2");
    served.publish("v2", &paths[1], &tree(&[("a", "3")]));
    assert_eq!(
        fs::read_to_string(paths[1].join("a")).expect("served again"),
        "3"
    );
}

#[test]
fn promise_12_a_reader_that_never_reads_delays_its_own_volume_alone() {
    let scratch = Scratch::new();
    let mut served = Served::in_test(scratch.path());
    let long = Settings {
        drain: Duration::from_secs(10),
        ..Settings::default()
    };
    let (slow, quick) = (scratch.join("slow"), scratch.join("quick"));
    served.publish_with("slow", &slow, &tree(&[("a", "1")]), long, None);
    served.publish_with("quick", &quick, &tree(&[("a", "1")]), long, None);
    let mut watch = Watch::all(&slow.join("a"));
    let unread = File::open(slow.join("a")).expect("opens");
    watch.drain();
    served.offer("slow", &tree(&[("a", "2")]));
    let mut other = Watch::all(&quick.join("a"));
    served.commit("quick", &tree(&[("a", "2")]));
    assert_eq!(heard(&mut other), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
    drop(unread);
    served.settle("slow");
    // Our own close comes first.
    assert_eq!(
        heard(&mut watch),
        ["CLOSE_NOWRITE", "OPEN", "MODIFY", "CLOSE_WRITE"]
    );
}

#[test]
fn locks_work_and_delay_nobody() {
    let mut one = One::of(&[("a", "1")]);
    let file = File::open(one.join("a")).expect("opens");
    let mut byte = [0; 8];
    file.read_at(&mut byte, 0).expect("reads");
    rustix::fs::flock(&file, FlockOperation::LockExclusive).expect("flock");
    let other = File::open(one.join("a")).expect("opens");
    let taken = rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(taken, Err(Errno::WOULDBLOCK), "the lock holds");
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockShared).expect("fcntl lock");
    let mut watch = Watch::all(&one.join("a"));
    one.commit(&[("a", "2")]);
    assert_eq!(heard(&mut watch), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
}

#[test]
fn readdir_seeks_back_to_where_it_was() {
    let names: Vec<String> = (0..300).map(|number| format!("name-{number}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let mut one = One::of(&files);
    let folder = File::open(&one.path).expect("opens");
    let mut dir = rustix::fs::Dir::read_from(&folder).expect("a folder");
    let mut seen: Vec<OsString> = Vec::new();
    let mut take = |dir: &mut rustix::fs::Dir, most: usize| {
        for entry in dir.by_ref().take(most) {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_str().expect("text").to_owned();
            if name.starts_with("name-") {
                seen.push(name.into());
            }
        }
    };
    take(&mut dir, 100);
    // Half of the names go and others come while the listing is open.
    let mut stay: Vec<(&str, &str)> = files.iter().copied().step_by(2).collect();
    stay.extend([("other-1", ""), ("other-2", "")]);
    one.commit(&stay);
    take(&mut dir, 1000);
    for (name, _) in stay.iter().filter(|(name, _)| name.starts_with("name-")) {
        let times = seen.iter().filter(|seen| *seen == *name).count();
        assert_eq!(times, 1, "{name}");
    }
    dir.rewind();
    let again = dir.filter_map(Result::ok).count();
    assert_eq!(again, stay.len() + 2, "with . and ..");
}

#[test]
fn modes_and_owners_are_those_of_the_spec() {
    let scratch = Scratch::new();
    let mut served = Served::in_test(scratch.path());
    let mut files = tree(&[("a", "1"), ("d/b", "1")]);
    files.insert("secret".into(), (b"1".to_vec(), 0o400));
    let mode = |path: PathBuf| {
        let meta = fs::metadata(path).expect("stat");
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    let plain = scratch.join("plain");
    served.publish("plain", &plain, &files);
    assert_eq!(mode(plain.clone()), (0o777, 0, 0));
    assert_eq!(mode(plain.join("d")), (0o755, 0, 0));
    assert_eq!(mode(plain.join("a")), (0o644, 0, 0));
    assert_eq!(mode(plain.join("secret")), (0o400, 0, 0));
    let grouped = scratch.join("grouped");
    served.publish_with("grouped", &grouped, &files, Settings::default(), Some(4242));
    assert_eq!(mode(grouped.clone()), (0o2777, 0, 4242));
    assert_eq!(mode(grouped.join("d")), (0o2755, 0, 4242));
    assert_eq!(mode(grouped.join("secret")), (0o440, 0, 4242));
}

#[test]
fn a_mode_alone_changes_without_an_event() {
    let mut one = One::with(&Tree::from([("a".to_owned(), (b"1".to_vec(), 0o644))]));
    let mut watch = Watch::all(&one.path);
    one.served
        .commit("v", &Tree::from([("a".to_owned(), (b"1".to_vec(), 0o600))]));
    assert_eq!(heard(&mut watch), [""; 0]);
    let mode = fs::metadata(one.join("a")).expect("stat").mode() & 0o7777;
    assert_eq!(mode, 0o600);
}

#[test]
fn an_open_handle_on_a_removed_name_answers_its_last_bytes() {
    let mut one = One::of(&[("a", "last"), ("b", "1")]);
    let file = File::open(one.join("a")).expect("opens");
    one.commit(&[("b", "1")]);
    let meta = file.metadata().expect("fstat");
    assert_eq!((meta.nlink(), meta.len()), (0, 4));
    let mut text = String::new();
    (&file).read_to_string(&mut text).expect("reads");
    assert_eq!(text, "last");
    assert_eq!(sendfile(&file), "last");
}

#[test]
fn binary_and_large_values_are_exact() {
    let mut state = 1_u32;
    let bytes: Vec<u8> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let one = One::with(&Tree::from([
        ("binary".to_owned(), (bytes.clone(), 0o644)),
        ("empty".to_owned(), (Vec::new(), 0o644)),
    ]));
    assert_eq!(fs::read(one.join("binary")).expect("reads"), bytes);
    assert_eq!(fs::read(one.join("empty")).expect("reads"), b"");
    let stat = rustix::fs::statfs(&one.path).expect("statfs");
    assert!(stat.f_blocks * stat.f_bsize.unsigned_abs() >= 1 << 20);
}
