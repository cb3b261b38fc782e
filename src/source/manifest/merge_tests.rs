//! What all files say together, as a table of small histories: no file, no inotify, and a clock that
//! the test turns.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use tokio::time::Instant;

use super::merge::MergedFiles;
use super::parse::LocatedObject;

const GRACE: Duration = Duration::from_secs(1);

struct Scene {
    merged: MergedFiles,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            merged: MergedFiles::new(GRACE),
            now: Instant::now(),
        }
    }

    /// A file tells these objects, written as `name=value`, one to a line.
    fn says(&mut self, file: &str, objects: &[&str]) -> &mut Self {
        let located = objects.iter().enumerate().map(|(at, object)| {
            let (name, value) = object.split_once('=').expect("name=value");
            let key = ObjectKey {
                kind: Kind::ConfigMap,
                namespace: "default".into(),
                name: name.into(),
                origin: super::ORIGIN,
            };
            let data = BTreeMap::from([("k".to_owned(), Bytes::from(value))]);
            LocatedObject {
                object: Object::new(key, data).expect("legal"),
                line: at + 1,
            }
        });
        self.merged.set(Path::new(file), located.collect());
        self
    }

    fn breaks(&mut self, file: &str) -> &mut Self {
        self.merged.set_broken(Path::new(file));
        self
    }

    fn goes(&mut self, file: &str) -> &mut Self {
        self.merged.set_gone(Path::new(file), self.now);
        self
    }

    fn waits(&mut self) -> &mut Self {
        let deadline = self.merged.deadline().expect("something changes by itself");
        assert!(deadline > self.now, "it is overdue");
        self.now = deadline;
        self
    }

    /// What counts now, written as it was told.
    #[track_caller]
    fn counts(&mut self, objects: &[&str]) -> &mut Self {
        self.merged.merge(self.now);
        let all = self.merged.objects();
        let words: Vec<String> = all
            .values()
            .map(|object| {
                let value = str::from_utf8(&object.data()["k"]).expect("text");
                format!("{}={value}", object.key.name)
            })
            .collect();
        assert_eq!(words, objects);
        self
    }

    #[track_caller]
    fn tells(&mut self, errors: &[&str]) -> &mut Self {
        let told = self.merged.overdue(self.now);
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, errors);
        self
    }
}

#[test]
fn files_are_one_list() {
    let mut scene = Scene::new();
    scene.says("b", &["y=1", "z=1"]).says("a", &["x=1"]);
    scene.counts(&["x=1", "y=1", "z=1"]).tells(&[]);
    assert_eq!(scene.merged.deadline(), None);
    assert!(!scene.merged.merge(scene.now), "nothing has changed");
    scene
        .says("b", &["y=2", "z=1"])
        .counts(&["x=1", "y=2", "z=1"]);
}

#[test]
fn a_broken_file_keeps_its_own_and_nobody_elses() {
    let mut scene = Scene::new();
    scene
        .says("a", &["x=1"])
        .says("b", &["y=1"])
        .counts(&["x=1", "y=1"]);
    scene
        .breaks("a")
        .says("b", &["y=2"])
        .counts(&["x=1", "y=2"]);
    scene.says("a", &["x=3"]).counts(&["x=3", "y=2"]).tells(&[]);
}

#[test]
fn an_object_that_nobody_tells_any_more_goes_after_a_while() {
    let mut scene = Scene::new();
    scene.says("a", &["x=1", "y=1"]).counts(&["x=1", "y=1"]);
    scene.says("a", &["y=2"]).counts(&["x=1", "y=2"]);
    scene.waits().counts(&["y=2"]);
    scene
        .goes("a")
        .counts(&["y=2"])
        .waits()
        .counts(&[])
        .tells(&[]);
    assert_eq!(scene.merged.deadline(), None);
}

#[test]
fn an_object_on_its_way_from_file_to_file_never_goes() {
    let mut scene = Scene::new();
    scene.says("a", &["x=1", "y=1"]).counts(&["x=1", "y=1"]);
    // Out of one file, then into another, and the other way round.
    scene.says("a", &["y=1"]).counts(&["x=1", "y=1"]);
    scene.says("b", &["x=2"]).counts(&["x=2", "y=1"]).tells(&[]);
    scene.says("a", &["x=3", "y=1"]).counts(&["x=2", "y=1"]);
    scene.says("b", &[]).counts(&["x=3", "y=1"]).tells(&[]);
    // A file that is renamed.
    scene
        .goes("a")
        .says("c", &["x=3", "y=4"])
        .counts(&["x=3", "y=4"]);
    scene.waits().counts(&["x=3", "y=4"]).tells(&[]);
    // And one that comes back broken keeps what it had.
    scene.goes("c").counts(&["x=3", "y=4"]).breaks("c");
    scene.counts(&["x=3", "y=4"]);
    assert_eq!(scene.merged.deadline(), None);
}

#[test]
fn what_two_files_tell_stays_as_it_was_in_both() {
    let mut scene = Scene::new();
    scene
        .says("a", &["x=1"])
        .says("b", &["y=1"])
        .counts(&["x=1", "y=1"]);
    scene.says("b", &["y=2", "x=2"]).counts(&["x=1", "y=1"]);
    // It may be a checkout that is not through yet.
    scene.tells(&[]).waits();
    scene.tells(&["b:2: ConfigMap default/x: told twice, first at a:1"]);
    // Neither file is read on, whichever changes, and it is told once.
    scene.says("a", &["x=3"]).says("b", &["y=3", "z=3", "x=3"]);
    scene.counts(&["x=1", "y=1"]).tells(&[]);
    scene.merged.report_again();
    scene.tells(&["b:3: ConfigMap default/x: told twice, first at a:1"]);
    // Other files go on.
    scene.says("c", &["w=3"]).counts(&["w=3", "x=1", "y=1"]);
    // Either may be corrected, and the other one is heard then.
    scene.says("b", &["y=4"]).counts(&["w=3", "x=3", "y=4"]);
    scene
        .says("b", &["y=5", "x=5"])
        .counts(&["w=3", "x=3", "y=4"]);
    scene.says("a", &[]).counts(&["w=3", "x=5", "y=5"]);
    assert_eq!(scene.merged.deadline(), None);
}

#[test]
fn a_conflict_ends_with_a_file_that_goes() {
    let mut scene = Scene::new();
    scene.says("a", &["x=1"]).counts(&["x=1"]);
    scene.says("b", &["x=2"]).counts(&["x=1"]).waits();
    scene.tells(&["b:1: ConfigMap default/x: told twice, first at a:1"]);
    scene
        .goes("a")
        .counts(&["x=2"])
        .says("a", &["x=3"])
        .counts(&["x=2"]);
    scene.waits();
    scene.tells(&["b:1: ConfigMap default/x: told twice, first at a:1"]);
}

#[test]
fn what_a_broken_file_keeps_is_taken_from_it_by_nobody() {
    let mut scene = Scene::new();
    scene
        .says("b", &["w=1", "x=1"])
        .counts(&["w=1", "x=1"])
        .breaks("b");
    scene.says("a", &["x=2"]).counts(&["w=1", "x=1"]).waits();
    scene.tells(&["b:2: ConfigMap default/x: told twice, first at a:1"]);
    scene.says("b", &["w=3"]).counts(&["w=3", "x=2"]);
}

#[test]
fn a_file_that_is_held_back_may_hold_back_another() {
    let mut scene = Scene::new();
    scene
        .says("a", &["x=1"])
        .says("b", &["z=1"])
        .counts(&["x=1", "z=1"]);
    // a gives x up and takes z, which b has: a keeps x, so c cannot have it.
    scene
        .says("a", &["z=2"])
        .says("c", &["x=2"])
        .counts(&["x=1", "z=1"])
        .waits();
    scene.tells(&[
        "c:1: ConfigMap default/x: told twice, first at a:1",
        "b:1: ConfigMap default/z: told twice, first at a:1",
    ]);
    scene.says("b", &[]).counts(&["x=2", "z=2"]);
}

#[test]
fn two_files_may_change_places() {
    let mut scene = Scene::new();
    scene
        .says("a", &["x=1"])
        .says("b", &["y=1"])
        .counts(&["x=1", "y=1"]);
    scene.says("a", &["y=2"]).counts(&["x=1", "y=1"]);
    scene.says("b", &["x=2"]).counts(&["x=2", "y=2"]).tells(&[]);
}

#[test]
fn a_single_file_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.merged = MergedFiles::new(Duration::ZERO);
    scene.says("a", &["x=1", "y=1"]).counts(&["x=1", "y=1"]);
    scene.says("a", &["y=2"]).counts(&["y=2"]);
}
