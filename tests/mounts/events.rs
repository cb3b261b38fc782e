//! Exact event sequences: what raw inotify hears on a file, on its folder, and through a read-only
//! bind in another mount namespace, for everything that can happen to a key.
//!
//! The recorders listen to every event there is, so an event too many fails a test as one too few
//! does. The tests do not read a watched file while they record: that is an event as well.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::inotify::WatchFlags;

use crate::support::namespace::Namespace;
use crate::support::volume::Volume;
use crate::support::watch::{Watch, lines};

/// One round of events for one change, as a watch on the file hears it.
const ROUND: &[&str] = &["OPEN", "MODIFY", "CLOSE_WRITE"];

/// A volume seen from everywhere: recorders of its folder and of some files, here and in a pod.
struct Views {
    // Before the namespace, which they outlive only in a failing test.
    dir: Watch,
    files: Vec<Watch>,
    pod_dir: Watch,
    pod_files: Vec<Watch>,
    pod: Namespace,
}

impl Views {
    fn of(volume: &Volume, files: &[&str]) -> Self {
        let pod = Namespace::bind(&volume.scratch, volume.path());
        Self {
            dir: Watch::all(volume.path()),
            files: files
                .iter()
                .map(|file| Watch::all(&volume.join(file)))
                .collect(),
            pod_dir: watch_in(&pod, pod.path()),
            pod_files: files
                .iter()
                .map(|file| watch_in(&pod, &pod.path().join(file)))
                .collect(),
            pod,
        }
    }

    /// Expects the folder and each file to have told exactly this, here and in the pod.
    fn expect(&mut self, volume: &mut Volume, dir: &[&str], files: &[&[&str]]) {
        let mut recorders: Vec<(&mut Watch, &[&str])> =
            vec![(&mut self.dir, dir), (&mut self.pod_dir, dir)];
        recorders.extend(self.files.iter_mut().zip(files.iter().copied()));
        recorders.extend(self.pod_files.iter_mut().zip(files.iter().copied()));
        volume.expect_exactly(&mut recorders);
    }

    /// A file's content as the pod sees it.
    fn read_in_pod(&self, name: &str) -> String {
        let path = self.pod.path().join(name);
        self.pod
            .run(move || fs::read_to_string(path).expect("the pod can read the file"))
    }
}

/// Records every event of a path in another mount namespace.
fn watch_in(pod: &Namespace, path: &Path) -> Watch {
    let path = path.to_owned();
    pod.run(move || Watch::all(&path))
}

#[test]
fn promise_5_one_round_of_events_for_one_change() {
    let mut volume = Volume::of(&[("a", "one"), ("b", "same")]);
    let mut views = Views::of(&volume, &["a", "b"]);

    volume.change(&[("a", "two, and longer")]);

    views.expect(
        &mut volume,
        &["OPEN a", "MODIFY a", "CLOSE_WRITE a"],
        &[ROUND, &[]],
    );
    assert_eq!(volume.read("a"), "two, and longer");
    assert_eq!(views.read_in_pod("a"), "two, and longer");
}

#[test]
fn promise_5_one_round_for_each_of_several_changes() {
    let mut volume = Volume::of(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let mut views = Views::of(&volume, &["a", "b", "c", "d"]);

    volume.change(&[("d", "2"), ("a", "2"), ("c", "2")]);

    views.expect(
        &mut volume,
        &[
            "OPEN a",
            "MODIFY a",
            "CLOSE_WRITE a",
            "OPEN c",
            "MODIFY c",
            "CLOSE_WRITE c",
            "OPEN d",
            "MODIFY d",
            "CLOSE_WRITE d",
        ],
        &[ROUND, &[], ROUND, ROUND],
    );
}

#[test]
fn promise_5_one_round_whatever_the_sizes() {
    let mut volume = Volume::of(&[("a", "one")]);
    let mut views = Views::of(&volume, &["a"]);

    // To nothing, from nothing, to the same size, over a page, and back.
    for content in ["", "two", "six", &"x".repeat(10_000), "1"] {
        volume.change(&[("a", content)]);
        views.expect(
            &mut volume,
            &["OPEN a", "MODIFY a", "CLOSE_WRITE a"],
            &[ROUND],
        );
        // Reading is an event too; it is not to be mistaken for the next change's.
        assert_eq!(volume.read("a"), content);
        views = Views::of(&volume, &["a"]);
    }
}

#[test]
fn promise_5_an_added_name_is_one_moved_to_and_complete_from_its_first_moment() {
    let mut volume = Volume::of(&[("a", "1")]);
    let mut views = Views::of(&volume, &["a"]);
    let content = "new ".repeat(20_000);
    let mut first = Watch::one(
        volume.path(),
        WatchFlags::CREATE | WatchFlags::OPEN | WatchFlags::MOVED_TO,
    );

    volume.change(&[("new", &content)]);

    let seen = first.next_until("the name is there", |event| event.name == "new");
    let size = fs::metadata(volume.join("new")).expect("it is there").len();
    assert_eq!(lines(&seen), ["MOVED_TO new"]);
    assert_eq!(size, content.len() as u64);
    views.expect(&mut volume, &["MOVED_TO new"], &[&[]]);
    assert_eq!(volume.read("new"), content);
    assert_eq!(views.read_in_pod("new"), content);
}

#[test]
fn promise_5_a_removed_name_is_one_delete() {
    let mut volume = Volume::of(&[("a", "1"), ("b", "1")]);
    let mut views = Views::of(&volume, &["a", "b"]);

    volume.manifest.remove("b").replace();

    views.expect(
        &mut volume,
        &["DELETE b"],
        &[&[], &["ATTRIB", "DELETE_SELF", "IGNORED"]],
    );
    assert!(!volume.join("b").exists());
}

#[test]
fn promise_5_a_renamed_key_is_an_added_and_a_removed_name() {
    let mut volume = Volume::of(&[("a", "1"), ("old", "kept")]);
    let mut views = Views::of(&volume, &["a"]);

    volume.manifest.remove("old").set("new", "kept").replace();

    views.expect(&mut volume, &["MOVED_TO new", "DELETE old"], &[&[]]);
    assert_eq!(views.read_in_pod("new"), "kept");
}

#[test]
fn promise_5_a_name_that_returns_is_one_moved_to_again() {
    let mut volume = Volume::of(&[("a", "1"), ("b", "1")]);
    let mut views = Views::of(&volume, &["a"]);
    let inode = fs::metadata(volume.join("b")).expect("it is there").ino();

    volume.manifest.remove("b").replace();
    views.expect(&mut volume, &["DELETE b"], &[&[]]);
    volume.change(&[("b", "2")]);
    views.expect(&mut volume, &["MOVED_TO b"], &[&[]]);

    assert_eq!(fs::metadata(volume.join("b")).expect("back").ino(), inode);
    assert_eq!(volume.read("b"), "2");
}

#[test]
fn promise_5_nothing_is_heard_when_nothing_changed() {
    let mut volume = Volume::of(&[("a", "1"), ("b", "1")]);
    let mut views = Views::of(&volume, &["a", "b"]);

    // The same bytes again, and another object with the same values.
    volume.manifest.replace_and_wait_until_read();
    volume.manifest.touch().replace_and_wait_until_read();

    views.expect(&mut volume, &[], &[&[], &[]]);
}

#[test]
fn promise_5_ten_quick_changes_are_whole_rounds_and_end_with_the_last() {
    let mut volume = Volume::of(&[("a", "0"), ("b", "same")]);
    let mut views = Views::of(&volume, &["a", "b"]);

    for number in 1..=10 {
        volume.change(&[("a", &number.to_string())]);
    }
    volume.settle();

    // A burst may become fewer commits, never a part of a round and never more rounds than changes.
    for watch in [&mut views.files[0], &mut views.pod_files[0]] {
        let seen = lines(&watch.drain());
        let rounds = seen.len() / ROUND.len();
        assert!((1..=10).contains(&rounds), "{rounds} rounds: {seen:?}");
        assert_eq!(seen, ROUND.repeat(rounds));
    }
    for watch in [&mut views.files[1], &mut views.pod_files[1]] {
        assert_eq!(lines(&watch.drain()), [""; 0]);
    }
    assert_eq!(volume.read("a"), "10");
}

#[test]
fn promise_2_added_names_come_before_changes_and_removed_ones_after() {
    let mut volume = Volume::of(&[("b", "1"), ("d", "1"), ("old", "1")]);
    let mut views = Views::of(&volume, &["b"]);

    volume.manifest.remove("old").set("a", "1").set("z", "1");
    volume.change(&[("d", "2"), ("b", "2")]);

    views.expect(
        &mut volume,
        &[
            "MOVED_TO a",
            "MOVED_TO z",
            "OPEN b",
            "MODIFY b",
            "CLOSE_WRITE b",
            "OPEN d",
            "MODIFY d",
            "CLOSE_WRITE d",
            "DELETE old",
        ],
        &[ROUND],
    );
}

/// The same content for each name.
fn each<'a>(names: &'a [String], content: &'a str) -> Vec<(&'a str, &'a str)> {
    names.iter().map(|name| (name.as_str(), content)).collect()
}

#[test]
fn promise_2_every_changed_file_reads_as_new_at_the_first_event() {
    // So many that the last has not been rung when the first is heard.
    let names: Vec<String> = (0..60).map(|number| format!("file-{number:02}")).collect();
    let mut volume = Volume::of(&each(&names, "0"));

    for number in 1..=20 {
        let content = format!("{number} ").repeat(number * 40);
        // So that the kernel has the old sizes at hand.
        for name in &names {
            fs::metadata(volume.join(name)).expect("it is there");
        }
        let mut watch = Watch::all(volume.path());
        volume.change(&each(&names, &content));
        watch.next_until("something is heard", |_| true);
        for name in names.iter().rev() {
            let size = fs::metadata(volume.join(name)).expect("it is there").len();
            assert_eq!(size, content.len() as u64, "{name} in commit {number}");
            assert!(volume.read(name) == content, "{name} in commit {number}");
        }
        // The commit's other events are not the next one's first.
        volume.settle();
    }
}

#[test]
fn promise_2_every_added_name_is_there_at_the_first_modify() {
    let mut volume = Volume::of(&[("main.conf", "0")]);

    for number in 1..=50 {
        let added = [format!("include-{number}-a"), format!("zz-{number}-z")];
        let mut watch = Watch::one(volume.path(), WatchFlags::MODIFY);
        for name in &added {
            volume.manifest.set(name, "included");
        }
        volume.change(&[("main.conf", &number.to_string())]);
        watch.next_until("main.conf is rung", |event| event.is("MODIFY"));
        for name in &added {
            assert_eq!(volume.read(name), "included");
        }
        for name in &added {
            volume.manifest.remove(name);
        }
        volume.settle();
    }
}

#[test]
fn promise_1_a_file_watch_and_a_file_bind_live_through_every_update() {
    let mut volume = Volume::of(&[("a", "0")]);
    let bind = Namespace::bind(&volume.scratch, &volume.join("a"));
    let mut here = Watch::all(&volume.join("a"));
    let mut bound = watch_in(&bind, bind.path());
    let path = bind.path().to_owned();
    let stat = move || fs::metadata(&path).expect("the bound file can be asked");
    let mut before = bind.run(stat.clone());

    for number in 1..=20 {
        volume.change(&[("a", &"x".repeat(number))]);
        volume.expect_exactly(&mut [(&mut here, ROUND), (&mut bound, ROUND)]);
        let after = bind.run(stat.clone());
        assert_eq!(after.ino(), before.ino());
        assert_eq!(after.len(), number as u64);
        assert!(
            (after.mtime(), after.mtime_nsec()) > (before.mtime(), before.mtime_nsec()),
            "promise 8: mtime moves forward"
        );
        before = after;
    }
}
