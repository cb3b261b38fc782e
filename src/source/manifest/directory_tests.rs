//! Real folders, real inotify: what all files say together while they come, change and go. Nothing
//! here waits for time to pass except where the passing of time is what is tested.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::read_options::ReadOptions;
use super::{Manifests, Objects, Reading, SourceError, open};

pub(super) const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(1);

/// `ConfigMaps` written as `name=value`, one document each.
pub(super) fn manifest(objects: &[&str]) -> String {
    let document = |object: &&str| {
        let (name, value) = object.split_once('=').expect("name=value");
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: \"{name}\"}}\ndata: {{k: \"{value}\"}}\n"
        )
    };
    let documents: Vec<String> = objects.iter().map(document).collect();
    format!("# all of it\n{}", documents.join("---\n"))
}

pub(super) fn write(path: &Path, objects: &[&str]) {
    fs::write(path, manifest(objects)).expect("written");
}

/// Writes beside a file and renames onto it, as `sed -i` does.
pub(super) fn replace(path: &Path, text: &str) {
    let beside = path.with_file_name(".new");
    fs::write(&beside, text).expect("written");
    fs::rename(beside, path).expect("renamed");
}

/// Makes a symlink, or swaps the one that is there.
pub(super) fn link(target: &str, at: &Path) {
    let beside = at.with_file_name(".link");
    symlink(target, &beside).expect("linked");
    fs::rename(beside, at).expect("renamed");
}

/// All objects, written as they were told.
pub(super) fn words(objects: &Objects) -> Vec<String> {
    objects
        .values()
        .map(|object| {
            let value = str::from_utf8(&object.data()["k"]).expect("text");
            format!("{}={value}", object.key.name)
        })
        .collect()
}

pub(super) fn options(grace: Duration) -> ReadOptions {
    ReadOptions {
        grace,
        ..ReadOptions::new("default")
    }
}

struct Watched {
    home: TempDir,
    readings: mpsc::Receiver<Reading>,
    reload: Arc<Notify>,
    /// The states before the one that was waited for.
    passed: Vec<Vec<String>>,
    errors: Vec<String>,
}

impl Watched {
    /// Watches `dir` below a new folder, which holds these files with these objects.
    fn new(options: ReadOptions, files: &[(&str, &[&str])]) -> Self {
        Self::laid(options, |home| {
            fs::create_dir(home.join("dir")).expect("made");
            for (name, objects) in files {
                write(&home.join("dir").join(name), objects);
            }
        })
    }

    fn laid(options: ReadOptions, lay: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        lay(home.path());
        let source = open::open(home.path().join("dir"), options).expect("legal");
        Self::of(home, source)
    }

    fn of(home: TempDir, source: Manifests) -> Self {
        let (tell, readings) = mpsc::channel(1);
        let reload = Arc::new(Notify::new());
        tokio::spawn(source.watch(tell, Arc::clone(&reload)));
        Self {
            home,
            readings,
            reload,
            passed: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, objects: &[&str]) {
        write(&self.at("dir").join(name), objects);
    }

    fn replace(&self, name: &str, objects: &[&str]) {
        replace(&self.at("dir").join(name), &manifest(objects));
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.at("dir").join(name)).expect("removed");
    }

    async fn next(&mut self) -> Reading {
        let reading = timeout(Duration::from_secs(20), self.readings.recv()).await;
        reading.expect("a reading in time").expect("a reading")
    }

    /// Waits until these are the objects.
    async fn until(&mut self, objects: &[&str]) {
        loop {
            match self.next().await {
                Reading::Objects(told) if words(&told) == objects => return,
                Reading::Objects(told) => self.passed.push(words(&told)),
                Reading::Broken(error) => self.errors.push(self.shown(&error)),
            }
        }
    }

    /// Waits until this is told.
    async fn told(&mut self, sentence: &str) {
        loop {
            match self.next().await {
                Reading::Objects(told) => self.passed.push(words(&told)),
                Reading::Broken(error) if self.shown(&error) == sentence => return,
                Reading::Broken(error) => panic!("{error} and not {sentence}"),
            }
        }
    }

    fn shown(&self, error: &SourceError) -> String {
        let home = format!("{}/", self.home.path().display());
        error.to_string().replace(&home, "")
    }
}

#[tokio::test]
async fn files_come_and_change_and_go() {
    let mut dir = Watched::new(options(SOON), &[("a.yaml", &["x=1"]), ("b.json", &["y=1"])]);
    dir.write("a.yaml", &["x=2"]);
    dir.until(&["x=2", "y=1"]).await;
    dir.replace("b.json", &["y=2"]);
    dir.until(&["x=2", "y=2"]).await;
    dir.write("c.yml", &["z=1", "w=1"]);
    dir.until(&["w=1", "x=2", "y=2", "z=1"]).await;
    dir.replace("c.yml", &["z=1"]);
    dir.until(&["x=2", "y=2", "z=1"]).await;
    dir.remove("b.json");
    dir.until(&["x=2", "z=1"]).await;
    fs::rename(dir.at("dir/a.yaml"), dir.at("a.yaml")).expect("moved away");
    dir.until(&["z=1"]).await;
    fs::rename(dir.at("a.yaml"), dir.at("dir/d.yaml")).expect("moved back");
    dir.until(&["x=2", "z=1"]).await;
    assert_eq!(dir.errors, [""; 0]);
}

#[tokio::test]
async fn other_names_are_nobodys_business() {
    let mut dir = Watched::new(options(NEVER), &[("a.yaml", &["x=1"])]);
    for name in [".b.yaml", "c.yaml~", "d.txt", "4913", ".a.yaml.swp"] {
        dir.write(name, &["x=7"]);
    }
    fs::create_dir(dir.at("dir/e.yaml")).expect("made");
    fs::write(dir.at("dir/e.yaml/f.yaml"), "[").expect("written");
    dir.replace("a.yaml", &["x=2"]);
    dir.until(&["x=2"]).await;
    assert_eq!((dir.passed, dir.errors), (vec![], vec![]));
}

#[tokio::test]
async fn a_file_that_is_renamed_keeps_its_objects() {
    let mut dir = Watched::new(
        options(NEVER),
        &[("a.yaml", &["x=1"]), ("z.yaml", &["z=1"])],
    );
    for n in 0..20 {
        let (from, to) = (format!("dir/a{n}.yaml"), format!("dir/a{}.yaml", n + 1));
        if n == 0 {
            fs::rename(dir.at("dir/a.yaml"), dir.at(&to)).expect("renamed");
        } else {
            fs::rename(dir.at(&from), dir.at(&to)).expect("renamed");
        }
        dir.replace("z.yaml", &[&format!("z={}", n + 2)]);
        dir.until(&["x=1", &format!("z={}", n + 2)]).await;
    }
    assert!(
        dir.passed.iter().all(|state| state[0] == "x=1"),
        "{:?}",
        dir.passed
    );
    assert_eq!(dir.errors, [""; 0]);
}

/// As git checkout does it: one file after the other is removed and written anew, while objects
/// wander from file to file.
#[tokio::test]
async fn a_checkout_loses_nothing_on_its_way() {
    const ROUNDS: usize = 60;
    let names = ["a.yaml", "b.yaml", "c.yaml"];
    let mut dir = Watched::new(
        options(NEVER),
        &[
            ("a.yaml", &["x=0"]),
            ("b.yaml", &["y=0"]),
            ("c.yaml", &["z=0"]),
        ],
    );
    let folder = dir.at("dir");
    let writer = std::thread::spawn(move || {
        for n in 1..=ROUNDS {
            let [x, y, z] = ["x", "y", "z"].map(|name| format!("{name}={n}"));
            let mut files = [vec![x], vec![y], vec![z]];
            if n % 2 == 0 {
                files.rotate_left(n % 3);
            }
            if n % 5 == 0 {
                let all = files.iter_mut().flat_map(std::mem::take).collect();
                files[n % 3] = all;
            }
            for (name, objects) in names.iter().zip(&files) {
                let path = folder.join(name);
                fs::remove_file(&path).expect("removed");
                std::thread::yield_now();
                let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
                fs::write(&path, manifest(&objects)).expect("written");
            }
        }
    });
    let last = ["x", "y", "z"].map(|name| format!("{name}={ROUNDS}"));
    dir.until(&last.each_ref().map(String::as_str)).await;
    writer.join().expect("written");
    for state in &dir.passed {
        let names: Vec<&str> = state.iter().map(|object| &object[..2]).collect();
        assert_eq!(names, ["x=", "y=", "z="], "{state:?}");
    }
    // What is empty on the way, or told twice, is a passing state.
    assert_eq!(dir.errors, [""; 0]);
}

#[tokio::test]
async fn an_object_told_twice_stays_as_it_was_until_one_is_corrected() {
    let mut dir = Watched::new(
        options(SOON),
        &[
            ("a.yaml", &["w=1", "x=1"]),
            ("b.yaml", &["y=1"]),
            ("c.yaml", &["z=1"]),
        ],
    );
    dir.replace("b.yaml", &["y=2", "x=2"]);
    dir.told("dir/b.yaml:7: ConfigMap default/x: told twice, first at dir/a.yaml:7")
        .await;
    dir.replace("a.yaml", &["w=3", "x=3"]);
    dir.replace("c.yaml", &["z=3"]);
    dir.until(&["w=1", "x=1", "y=1", "z=3"]).await;
    dir.replace("b.yaml", &["y=4"]);
    dir.until(&["w=3", "x=3", "y=4", "z=3"]).await;
    // Again, and the other one is corrected.
    dir.replace("b.yaml", &["x=5"]);
    dir.told("dir/b.yaml:2: ConfigMap default/x: told twice, first at dir/a.yaml:7")
        .await;
    dir.reload.notify_one();
    dir.told("dir/b.yaml:2: ConfigMap default/x: told twice, first at dir/a.yaml:7")
        .await;
    dir.remove("a.yaml");
    dir.until(&["x=5", "z=3"]).await;
    // Within one file it is the file that is broken.
    dir.replace("c.yaml", &["z=6", "z=7"]);
    dir.told("dir/c.yaml:7: ConfigMap default/z: told twice, first on line 2")
        .await;
    dir.replace("c.yaml", &["z=8"]);
    dir.until(&["x=5", "z=8"]).await;
    for state in dir.passed.iter().flatten() {
        assert!(!["y=2", "z=6", "z=7"].contains(&&**state), "{state}");
    }
}

#[tokio::test]
async fn a_broken_file_holds_up_nobody_else() {
    let mut dir = Watched::new(
        options(NEVER),
        &[("a.yaml", &["x=1"]), ("b.yaml", &["y=1"])],
    );
    let broken = "dir/a.yaml:1: not YAML: brackets do not match";
    for _ in 0..2 {
        // Each attempt of its writer is answered.
        fs::write(dir.at("dir/a.yaml"), "[").expect("written");
        dir.told(broken).await;
        fs::write(dir.at("dir/a.yaml"), "[[").expect("written");
        dir.told(broken).await;
    }
    dir.write("b.yaml", &["y=2"]);
    dir.until(&["x=1", "y=2"]).await;
    dir.reload.notify_one();
    dir.reload.notify_one();
    dir.write("c.yaml", &["z=2"]);
    dir.until(&["x=1", "y=2", "z=2"]).await;
    dir.replace("a.yaml", &["x=3"]);
    dir.until(&["x=3", "y=2", "z=2"]).await;
}

#[tokio::test]
async fn an_empty_file_is_told_and_keeps_its_objects() {
    let mut dir = Watched::new(options(SOON), &[("a.yaml", &["x=1"]), ("b.yaml", &["y=1"])]);
    fs::write(dir.at("dir/a.yaml"), "").expect("emptied");
    dir.told("dir/a.yaml: the file is empty").await;
    dir.write("b.yaml", &["y=2"]);
    dir.until(&["x=1", "y=2"]).await;
    // One without objects is not empty.
    fs::write(dir.at("dir/a.yaml"), "# nothing\n").expect("written");
    dir.until(&["y=2"]).await;
}

#[tokio::test]
async fn a_folder_that_is_replaced() {
    let mut dir = Watched::new(
        options(NEVER),
        &[("a.yaml", &["x=1"]), ("b.yaml", &["y=1"])],
    );
    fs::create_dir(dir.at("next")).expect("made");
    write(&dir.at("next/a.yaml"), &["x=2"]);
    write(&dir.at("next/c.yaml"), &["y=2", "z=2"]);
    fs::rename(dir.at("dir"), dir.at("old")).expect("renamed");
    fs::rename(dir.at("next"), dir.at("dir")).expect("renamed");
    dir.until(&["x=2", "y=2", "z=2"]).await;
    // The one that was moved away is nobody's any more.
    write(&dir.at("old/a.yaml"), &["x=7"]);
    dir.replace("a.yaml", &["x=3"]);
    dir.until(&["x=3", "y=2", "z=2"]).await;
    // All of it is removed and made anew.
    fs::remove_dir_all(dir.at("dir")).expect("removed");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    fs::create_dir(dir.at("dir")).expect("made");
    dir.write("d.yaml", &["x=4", "y=4", "z=4"]);
    dir.until(&["x=4", "y=4", "z=4"]).await;
    assert!(dir.passed.iter().flatten().all(|object| object != "x=7"));
    assert_eq!(dir.errors, [""; 0]);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_told_and_keeps_everything() {
    let mut dir = Watched::new(options(SOON), &[("a.yaml", &["x=1"]), ("b.yaml", &["y=1"])]);
    fs::rename(dir.at("dir"), dir.at("away")).expect("renamed");
    dir.told("dir: there is no such folder").await;
    write(&dir.at("away/a.yaml"), &["x=2"]);
    fs::rename(dir.at("away"), dir.at("dir")).expect("renamed");
    dir.until(&["x=2", "y=1"]).await;
    fs::rename(dir.at("dir"), dir.at("away")).expect("renamed");
    fs::write(dir.at("dir"), "").expect("written");
    dir.told("dir: there is no such folder").await;
    assert!(dir.passed.is_empty(), "{:?}", dir.passed);
}

#[tokio::test]
async fn a_symlink_to_the_folder_that_is_swapped() {
    let lay = |home: &Path| {
        for (n, version) in [("1", "v1"), ("2", "v2"), ("3", "v3")] {
            fs::create_dir(home.join(version)).expect("made");
            write(&home.join(version).join("a.yaml"), &[&format!("x={n}")]);
        }
        link("v1", &home.join("dir"));
    };
    let mut dir = Watched::laid(options(NEVER), lay);
    for (version, state) in [("v2", "x=2"), ("v3", "x=3"), ("v1", "x=1")] {
        link(version, &dir.at("dir"));
        dir.until(&[state]).await;
    }
    write(&dir.at("v3/a.yaml"), &["x=7"]);
    dir.replace("a.yaml", &["x=4"]);
    dir.until(&["x=4"]).await;
    assert_eq!((dir.passed, dir.errors), (vec![], vec![]));
}

#[tokio::test]
async fn files_that_are_symlinks_and_the_kubelets_layout() {
    let lay = |home: &Path| {
        fs::create_dir_all(home.join("dir/..1")).expect("made");
        fs::create_dir_all(home.join("dir/..2")).expect("made");
        for n in ["1", "2"] {
            let version = home.join(format!("dir/..{n}"));
            write(&version.join("a.yaml"), &[&format!("x={n}")]);
            write(&version.join("b.yaml"), &[&format!("y={n}")]);
        }
        link("..1", &home.join("dir/..data"));
        link("..data/a.yaml", &home.join("dir/a.yaml"));
        link("..data/b.yaml", &home.join("dir/b.yaml"));
        write(&home.join("elsewhere"), &["z=1"]);
        link("../elsewhere", &home.join("dir/c.yaml"));
    };
    let mut dir = Watched::laid(options(NEVER), lay);
    link("..2", &dir.at("dir/..data"));
    fs::remove_dir_all(dir.at("dir/..1")).expect("removed");
    dir.until(&["x=2", "y=2", "z=1"]).await;
    write(&dir.at("elsewhere"), &["z=2"]);
    dir.until(&["x=2", "y=2", "z=2"]).await;
    write(&dir.at("next"), &["z=3"]);
    link("../next", &dir.at("dir/c.yaml"));
    dir.until(&["x=2", "y=2", "z=3"]).await;
    assert_eq!(dir.errors, [""; 0]);
}

#[tokio::test]
async fn a_queue_that_overflowed_loses_nothing() {
    let mut dir = Watched::new(options(SOON), &[("a.yaml", &["x=1"]), ("b.yaml", &["y=1"])]);
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
    let limit: usize = limit.trim().parse().expect("a number");
    // Nobody listens meanwhile: this thread is the watcher's as well.
    for i in 0..=limit / 2 {
        let path = dir.at(&format!("dir/noise-{i}"));
        fs::write(&path, "").expect("made");
        fs::remove_file(path).expect("removed");
    }
    dir.remove("a.yaml");
    dir.replace("b.yaml", &["y=2"]);
    dir.write("c.yaml", &["z=2"]);
    dir.until(&["y=2", "z=2"]).await;
}

#[tokio::test]
async fn what_cannot_be_heard_is_polled() {
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join("dir")).expect("made");
    write(&home.path().join("dir/a.yaml"), &["x=1"]);
    let options = ReadOptions {
        grace: SOON,
        poll: SOON,
        inotify_unsupported: |_| true,
        ..ReadOptions::new("default")
    };
    let mut source = open::open(home.path().join("dir"), options).expect("legal");
    // No watches at all, as if the changes came from another machine.
    for id in [None, Some("a.yaml".into())] {
        source.watch.watches.remove(&id);
    }
    let mut dir = Watched::of(home, source);
    dir.replace("a.yaml", &["x=2"]);
    dir.until(&["x=2"]).await;
    dir.write("b.yaml", &["y=2"]);
    dir.until(&["x=2", "y=2"]).await;
    dir.remove("a.yaml");
    dir.until(&["y=2"]).await;
    fs::write(dir.at("dir/b.yaml"), "[").expect("written");
    dir.told("dir/b.yaml:1: not YAML: brackets do not match")
        .await;
}
