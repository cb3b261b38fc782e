//! Real files, real inotify: what is read, when, and what is not. Nothing here waits for time to
//! pass except where the passing of time is what is tested.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::directory_tests::{link, replace};
use super::inotify_watches::{Changes, PathChange};
use super::read_options::ReadOptions;
use super::{Manifests, Objects, Reading, SourceError, open};

const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(1);

/// A manifest that says a number at its beginning and at its end.
fn manifest(n: u32) -> String {
    let fill = "    # nothing\n".repeat(50);
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app}}\ndata:\n  first: \"{n}\"\n  fill: \
         |\n{fill}  last: \"{n}\"\n"
    )
}

/// The number that the only object says.
fn number(objects: &Objects) -> u32 {
    let object = objects.values().next().expect("an object");
    let said = |key| {
        let text = str::from_utf8(&object.data()[key]).expect("text");
        text.parse::<u32>().expect("a number")
    };
    assert_eq!(said("first"), said("last"));
    said("first")
}

/// A file that is read with this patience.
fn open_with(path: &Path, grace: Duration) -> Manifests {
    let options = ReadOptions {
        grace,
        ..ReadOptions::new("default")
    };
    open::open(path.to_owned(), options).expect("legal")
}

struct Watched {
    folder: TempDir,
    readings: mpsc::Receiver<Reading>,
    task: JoinHandle<Result<(), SourceError>>,
}

impl Watched {
    /// Watches `path` below a new folder that was laid out first.
    fn new(path: &str, grace: Duration, lay: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        lay(folder.path());
        let (tell, readings) = mpsc::channel(1);
        let file = open_with(&folder.path().join(path), grace);
        assert_eq!(number(&file.objects()), 1);
        let task = tokio::spawn(file.watch(tell, Arc::new(Notify::new())));
        Self {
            folder,
            readings,
            task,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn replace(&self, name: &str, n: u32) {
        replace(&self.at(name), &manifest(n));
    }

    async fn reading(&mut self) -> Reading {
        let reading = timeout(Duration::from_secs(20), self.readings.recv()).await;
        reading.expect("a reading in time").expect("a reading")
    }

    async fn number(&mut self) -> u32 {
        match self.reading().await {
            Reading::Objects(objects) => number(&objects),
            Reading::Broken(error) => panic!("{error}"),
        }
    }

    async fn refusal(&mut self) -> String {
        match self.reading().await {
            Reading::Broken(error) => {
                let folder = self.folder.path().display().to_string();
                error.to_string().replace(&folder, "")
            }
            Reading::Objects(objects) => panic!("taken as {objects:?}"),
        }
    }
}

fn write(path: &Path, n: u32) {
    fs::write(path, manifest(n)).expect("written");
}

fn one(folder: &Path) {
    write(&folder.join("app.yaml"), 1);
}

#[tokio::test]
async fn who_waits_before_he_watches_begins_with_what_is_then() {
    let folder = tempfile::tempdir().expect("a folder");
    one(folder.path());
    let path = folder.path().join("app.yaml");
    let mut file = open_with(&path, NEVER);
    for n in 2..4 {
        replace(&path, &manifest(n));
        assert_eq!(number(&file.objects()), n - 1);
        file.catch_up().expect("it is heard of");
        assert_eq!(number(&file.objects()), n);
    }
    // A broken one is told, and the last good one stays.
    replace(&path, "[");
    file.catch_up().expect("it is heard of");
    assert_eq!(number(&file.objects()), 3);
    assert_eq!(file.file_errors().len(), 1);
    // Nothing of that comes a second time.
    let (tell, mut readings) = mpsc::channel(1);
    let _task = tokio::spawn(file.watch(tell, Arc::new(Notify::new())));
    replace(&path, &manifest(5));
    match readings.recv().await {
        Some(Reading::Objects(objects)) => assert_eq!(number(&objects), 5),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_rename_onto_the_name_is_one_reading() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    for n in 2..5 {
        watched.replace("app.yaml", n);
        assert_eq!(watched.number().await, n);
    }
    // From another folder, as mv does.
    fs::create_dir(watched.at("other")).expect("made");
    write(&watched.at("other/x"), 5);
    fs::rename(watched.at("other/x"), watched.at("app.yaml")).expect("renamed");
    assert_eq!(watched.number().await, 5);
}

/// The first half of a manifest, which is a legal one.
fn half(n: u32) -> String {
    let stable = manifest(n);
    stable.split_inclusive("# nothing\n").take(20).collect()
}

#[tokio::test]
async fn a_write_in_place_is_read_when_it_is_closed() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    for n in 2..20 {
        let mut file = File::create(watched.at("app.yaml")).expect("opened");
        file.write_all(half(n).as_bytes()).expect("written");
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let rest = &manifest(n)[half(n).len()..];
        file.write_all(rest.as_bytes()).expect("written");
        drop(file);
        assert_eq!(watched.number().await, n);
    }
}

#[test]
fn a_mere_modify_is_not_even_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    one(folder.path());
    let path = folder.path().join("app.yaml");
    let mut file = open_with(&path, NEVER);
    let mut heard = || {
        let mut changes = Changes::default();
        let drained = file
            .watch
            .watches
            .read_events(&mut file.inotify, &mut changes);
        assert!(drained.expect("readable"));
        changes.of(&None)
    };
    let nothing = PathChange::default();
    let mut writer = File::options().append(true).open(&path).expect("opened");
    writer.write_all(b"  more: x\n").expect("written");
    assert_eq!(heard(), nothing);
    drop(writer);
    assert!(heard().closed);
    // A reader's close and a neighbour's file are nobody's business.
    drop(File::open(&path).expect("opened"));
    write(&folder.path().join("other"), 1);
    assert_eq!(heard(), nothing);
}

#[tokio::test]
async fn one_of_two_writers_who_closes_does_not_show_the_others_half() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    let path = watched.at("app.yaml");
    let mut slow = File::create(&path).expect("opened");
    slow.write_all(half(2).as_bytes()).expect("written");
    drop(File::options().append(true).open(&path).expect("opened"));
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    slow.write_all(&manifest(2).as_bytes()[half(2).len()..])
        .expect("written");
    drop(slow);
    assert_eq!(watched.number().await, 2);
}

#[tokio::test]
async fn whatever_a_hasty_writer_does_only_whole_versions_arrive_and_the_last_does() {
    const LAST: u32 = 400;
    let mut watched = Watched::new("app.yaml", NEVER, one);
    let path = watched.at("app.yaml");
    let writer = std::thread::spawn(move || {
        for n in 2..=LAST {
            if n % 3 == 0 {
                replace(&path, &manifest(n));
                continue;
            }
            let mut file = File::create(&path).expect("opened");
            for part in manifest(n).as_bytes().chunks(100) {
                file.write_all(part).expect("written");
                std::thread::yield_now();
            }
        }
    });
    let mut last = 1;
    while last < LAST {
        let next = watched.number().await;
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    writer.join().expect("written");
}

#[tokio::test]
async fn quick_changes_may_become_one_reading() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    for n in 2..12 {
        watched.replace("app.yaml", n);
    }
    assert_eq!(watched.number().await, 11);
    watched.replace("app.yaml", 12);
    assert_eq!(watched.number().await, 12);
}

#[tokio::test]
async fn a_receiver_that_is_busy_gets_the_last() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    for n in 2..50 {
        watched.replace("app.yaml", n);
        tokio::task::yield_now().await;
    }
    let mut last = 0;
    while last < 49 {
        last = watched.number().await;
    }
}

#[tokio::test]
async fn a_symlink_that_is_swapped() {
    let lay = |folder: &Path| {
        write(&folder.join("v1"), 1);
        write(&folder.join("v2"), 2);
        link("v1", &folder.join("app.yaml"));
    };
    let mut watched = Watched::new("app.yaml", NEVER, lay);
    link("v2", &watched.at("app.yaml"));
    assert_eq!(watched.number().await, 2);
    // The target is heard as well, and the former one no more.
    write(&watched.at("v1"), 7);
    write(&watched.at("v2"), 3);
    assert_eq!(watched.number().await, 3);
    // Taken away and made anew instead of renamed.
    fs::remove_file(watched.at("app.yaml")).expect("removed");
    symlink("v1", watched.at("app.yaml")).expect("linked");
    assert_eq!(watched.number().await, 7);
}

#[tokio::test]
async fn the_kubelets_layout() {
    let lay = |folder: &Path| {
        let at = |name: &str| folder.join(name);
        for (n, version) in [(1, "..1"), (2, "..2")] {
            fs::create_dir(at(version)).expect("made");
            write(&at(version).join("app.yaml"), n);
        }
        link("..1", &at("..data"));
        link("..data/app.yaml", &at("app.yaml"));
        // And a way there that goes up, down and over an absolute link.
        fs::create_dir(at("way")).expect("made");
        symlink(folder, at("way/back")).expect("linked");
    };
    let mut watched = Watched::new("way/../way/back/app.yaml", NEVER, lay);
    link("..2", &watched.at("..data"));
    fs::remove_dir_all(watched.at("..1")).expect("removed");
    assert_eq!(watched.number().await, 2);
    fs::create_dir(watched.at("..3")).expect("made");
    write(&watched.at("..3/app.yaml"), 3);
    link("..3", &watched.at("..data"));
    assert_eq!(watched.number().await, 3);
}

#[tokio::test]
async fn away_and_back() {
    let mut watched = Watched::new("app.yaml", SOON, one);
    fs::remove_file(watched.at("app.yaml")).expect("removed");
    assert_eq!(watched.refusal().await, "/app.yaml: there is no such file");
    // Told once; the same bytes are news after that.
    write(&watched.at("other"), 1);
    fs::remove_file(watched.at("other")).expect("removed");
    watched.replace("app.yaml", 1);
    assert_eq!(watched.number().await, 1);
    File::create(watched.at("app.yaml")).expect("emptied");
    assert_eq!(watched.refusal().await, "/app.yaml: the file is empty");
    let mut slow = File::create(watched.at("app.yaml")).expect("opened");
    slow.write_all(manifest(2).as_bytes()).expect("written");
    drop(slow);
    assert_eq!(watched.number().await, 2);
}

#[tokio::test]
async fn somebody_who_never_closes_it_is_told_of() {
    let mut watched = Watched::new("app.yaml", SOON, one);
    let holder = File::options()
        .append(true)
        .open(watched.at("app.yaml"))
        .expect("opened");
    write(&watched.at("app.yaml"), 2);
    assert_eq!(
        watched.refusal().await,
        "/app.yaml: somebody has it open for writing"
    );
    drop(holder);
    assert_eq!(watched.number().await, 2);
}

#[tokio::test]
async fn removed_and_made_anew_at_once_is_nothing_but_a_change() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    for n in 2..10 {
        fs::remove_file(watched.at("app.yaml")).expect("removed");
        for _ in 0..n {
            tokio::task::yield_now().await;
        }
        write(&watched.at("app.yaml"), n);
        assert_eq!(watched.number().await, n);
    }
}

#[tokio::test]
async fn a_folder_of_the_path_that_is_replaced() {
    let lay = |folder: &Path| {
        fs::create_dir_all(folder.join("a/b")).expect("made");
        write(&folder.join("a/b/app.yaml"), 1);
    };
    let mut watched = Watched::new("a/b/app.yaml", NEVER, lay);
    let b = watched.at("a/b");
    // Another one is moved there.
    fs::create_dir(watched.at("next")).expect("made");
    write(&watched.at("next/app.yaml"), 2);
    fs::rename(&b, watched.at("old")).expect("moved");
    fs::rename(watched.at("next"), &b).expect("moved");
    assert_eq!(watched.number().await, 2);
    // The one that was moved away is nobody's any more.
    write(&watched.at("old/app.yaml"), 7);
    // All of it is removed and made anew, as by git checkout, by a writer who takes his time.
    fs::remove_dir_all(watched.at("a")).expect("removed");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    fs::create_dir_all(&b).expect("made");
    let mut slow = File::create(b.join("app.yaml")).expect("opened");
    slow.write_all(half(3).as_bytes()).expect("written");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    slow.write_all(&manifest(3).as_bytes()[half(3).len()..])
        .expect("written");
    drop(slow);
    assert_eq!(watched.number().await, 3);
    watched.replace("a/b/app.yaml", 4);
    assert_eq!(watched.number().await, 4);
}

#[tokio::test]
async fn a_writer_who_comes_by_another_name() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    fs::create_dir(watched.at("other")).expect("made");
    fs::hard_link(watched.at("app.yaml"), watched.at("other/name")).expect("linked");
    write(&watched.at("other/name"), 2);
    assert_eq!(watched.number().await, 2);
    // And a file that arrives by a hard link, which no writer closes.
    write(&watched.at("other/next"), 3);
    fs::remove_file(watched.at("app.yaml")).expect("removed");
    fs::hard_link(watched.at("other/next"), watched.at("app.yaml")).expect("linked");
    assert_eq!(watched.number().await, 3);
}

#[tokio::test]
async fn the_same_bytes_are_not_told_again() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    for n in 2..6 {
        watched.replace("app.yaml", n - 1);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        watched.replace("app.yaml", n);
        assert_eq!(watched.number().await, n);
    }
}

#[tokio::test]
async fn a_broken_file_is_told_once_and_mended() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    let broken = manifest(2).replace("\"2\"", "2");
    for _ in 0..2 {
        fs::write(watched.at("app.yaml"), &broken).expect("written");
        tokio::task::yield_now().await;
    }
    let error = watched.refusal().await;
    assert!(
        error.starts_with(
            "/app.yaml:5: ConfigMap default/app: key \"first\": the value is a number"
        ),
        "{error}"
    );
    watched.replace("app.yaml", 3);
    assert_eq!(watched.number().await, 3);
    fs::remove_file(watched.at("app.yaml")).expect("removed");
    fs::create_dir(watched.at("app.yaml")).expect("made");
    assert_eq!(watched.refusal().await, "/app.yaml: not a regular file");
    fs::remove_dir(watched.at("app.yaml")).expect("removed");
    symlink("app.yaml", watched.at("app.yaml")).expect("linked");
    assert!(
        watched
            .refusal()
            .await
            .contains("cannot be read: Too many levels")
    );
    fs::remove_file(watched.at("app.yaml")).expect("removed");
    watched.replace("app.yaml", 3);
    assert_eq!(watched.number().await, 3);
}

#[tokio::test]
async fn a_queue_that_overflowed_loses_nothing() {
    let mut watched = Watched::new("app.yaml", NEVER, one);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
    let limit: usize = limit.trim().parse().expect("a number");
    // Nobody listens meanwhile: this thread is the watcher's as well.
    for i in 0..=limit / 2 {
        let path = watched.at(&format!("noise-{i}"));
        File::create(&path).expect("made");
        fs::remove_file(path).expect("removed");
    }
    watched.replace("app.yaml", 2);
    assert_eq!(watched.number().await, 2);
}

#[tokio::test]
async fn the_watch_ends_with_its_receiver() {
    let watched = Watched::new("app.yaml", NEVER, one);
    drop(watched.readings);
    let ended = timeout(Duration::from_secs(20), watched.task).await;
    assert!(ended.expect("in time").expect("no panic").is_ok());
    let task = tokio::spawn(async { Ok(()) });
    assert!(matches!(SourceError::ended(task).await, SourceError::Ended));
}

#[test]
fn at_the_start_every_error_is_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let refusal = |name: &str| {
        let error = Manifests::open(at(name), "default").err().expect(name);
        error
            .to_string()
            .replace(&folder.path().display().to_string(), "")
    };
    one(folder.path());
    let file = Manifests::open(at("app.yaml"), "ns").expect("legal");
    let objects = file.objects();
    let key = objects.keys().next().expect("an object");
    assert_eq!(key.namespace, "ns");
    fs::write(at("empty"), "").expect("written");
    fs::write(at("bad"), "'a\n").expect("written");
    symlink("loop", at("loop")).expect("linked");
    let fifo = std::process::Command::new("mkfifo")
        .arg(at("fifo"))
        .status();
    assert!(fifo.expect("mkfifo").success());
    for (name, words) in [
        ("none", "/none: there is no such file"),
        ("no/ne", "/no/ne: there is no such file"),
        ("empty", "/empty: the file is empty"),
        ("fifo", "/fifo: not a regular file"),
        ("bad", "/bad:1: not YAML: a quote is opened and not closed"),
        (
            "loop",
            "/loop: cannot be read: Too many levels of symbolic links (os error 40)",
        ),
    ] {
        assert_eq!(refusal(name), words);
    }
}
