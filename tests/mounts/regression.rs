//! One test for each fault that was found once, named after its cause.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::support::PATIENCE;
use crate::support::daemon;
use crate::support::manifest::Manifest;
use crate::support::one::One;
use crate::support::scratch::Scratch;
use crate::support::served::tree;
use crate::support::watch::{Watch, lines};

/// Something mounted over a name in the hand's own namespace: the kernel refuses to unlink that.
struct Cover(PathBuf);

impl Cover {
    fn over(path: PathBuf) -> Self {
        mount_bind("/etc/passwd", &path).expect("a file can be bound over another");
        Self(path)
    }
}

impl Drop for Cover {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_staged_name_whose_rename_failed_was_cached_and_served_another_file() {
    let mut one = One::of(&[("d/x", "1"), ("k", "1")]);
    let cover = Cover::over(one.join("d/x"));
    // The folder cannot become a file as long as d/x cannot go: the rename fails after its lookup.
    one.commit(&[("d", "d as a file"), ("k", "1")]);
    drop(cover);
    one.commit(&[("d/x", "1"), ("b", "bee"), ("k", "2")]);
    assert_eq!(one.read("b"), "bee");
    assert_eq!(one.read("d/x"), "1");
}

#[test]
fn a_change_that_the_kernel_refused_is_brought_later_without_a_new_version() {
    let mut one = One::of(&[("t", "file"), ("k", "1")]);
    let cover = Cover::over(one.join("t"));
    one.commit(&[("t/x", "inside"), ("k", "1")]);
    assert!(one.join("t").is_file(), "still covered");
    drop(cover);
    crate::support::wait_until("the folder is there", PATIENCE, || {
        fs::read_to_string(one.join("t/x")).is_ok_and(|text| text == "inside")
    });
    one.commit(&[("t/x", "inside"), ("b", "bee"), ("k", "3")]);
    assert_eq!(one.read("b"), "bee");
    assert_eq!(one.read("t/x"), "inside");
}

#[test]
fn promise_5_a_ring_that_was_refused_is_rung_later() {
    let mut one = One::of(&[("a", "1"), ("k", "1")]);
    let mut watch = Watch::all(&one.join("a"));
    // On a FUSE mount this makes the whole superblock read-only, the publisher's mount included.
    remount(&one.path, "remount,ro");
    one.commit(&[("a", "2"), ("k", "1")]);
    assert_eq!(lines(&watch.drain()), [""; 0]);
    remount(&one.path, "remount,rw");
    let heard = watch.next_until("the ring", |event| event.is("CLOSE_WRITE"));
    assert_eq!(lines(&heard), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
    assert_eq!(one.read("a"), "2");
}

fn remount(path: &Path, how: &str) {
    let status = Command::new("mount").args(["-o", how]).arg(path).status();
    assert!(status.expect("mount runs").success(), "{how}");
}

#[test]
fn bytes_already_sent_are_not_zeroed_when_their_file_gets_shorter() {
    let long = "sent ".repeat(3_000);
    let mut one = One::of(&[("a", &long), ("k", "1")]);
    for round in 0..10 {
        let file = File::open(one.join("a")).expect("opens");
        let size = usize::try_from(file.metadata().expect("stat").len()).expect("small");
        let (mut out, input) = io::pipe().expect("a pipe");
        // The pipe holds the pages of the page cache themselves until somebody reads it.
        let mut sent = 0;
        while sent < size {
            sent += rustix::fs::sendfile(&input, &file, None, size - sent).expect("sendfile");
        }
        drop((file, input));
        one.commit(&[("a", &format!("short {round}")), ("k", "1")]);
        let mut text = String::new();
        out.read_to_string(&mut text).expect("the pipe");
        assert!(text == long, "round {round}: {:?}", text.find('\0'));
        one.commit(&[("a", &long), ("k", "1")]);
    }
}

#[test]
fn a_name_like_dotdata_below_a_folder_is_a_name_like_any_other() {
    let mut one = One::of(&[("a", "1")]);
    one.commit(&[("a", "1"), ("conf/..data", "mine")]);
    assert_eq!(one.read("conf/..data"), "mine");
    one.commit(&[("a", "1"), ("conf/..data", "mine"), ("conf/..x", "too")]);
    one.commit(&[("a", "2"), ("conf/..data", "changed"), ("conf/..x", "too")]);
    assert_eq!(one.read("conf/..data"), "changed");
    assert_eq!(one.read("conf/..x"), "too");
}

#[test]
fn promise_4_a_file_that_returns_while_it_is_held_has_the_size_of_its_bytes() {
    let mut one = One::of(&[("a", "1"), ("k", "1")]);
    let kept = one.scratch.join("kept");
    fs::write(&kept, "").expect("a file");
    mount_bind(one.join("a"), &kept).expect("a single-file bind");
    for round in 0..20_usize {
        one.commit(&[("k", "1")]);
        let text = "x".repeat(1 + round % 5);
        one.served.offer("v", &tree(&[("a", &text), ("k", "1")]));
        // While the file comes back, whoever opens the bind sees one version's size and bytes.
        let file = File::open(&kept).expect("opens");
        let size = file.metadata().expect("stat").len();
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes).expect("reads");
        assert_eq!(bytes.len() as u64, size, "round {round}");
        one.served.settle("v");
    }
    unmount(&kept, UnmountFlags::DETACH).expect("ours to take away");
}

#[test]
fn status_tells_which_version_was_read_and_who_holds_an_older_one() {
    let scratch = Scratch::new();
    let mut manifest = Manifest::config_map(&scratch.join("manifest.yaml"), "app");
    manifest.set("a", "1");
    manifest.write();
    let path = scratch.join("volume");
    let daemon = daemon::mount(&scratch, &[], manifest.path(), &path);
    let held = File::open(path.join("a")).expect("opens");
    manifest.set("a", "2").replace();
    daemon.wait_for_line("the commit", |line| line.contains("version=2"));
    let status = |format: &str| {
        let output = daemon::command(&scratch, daemon::BINARY)
            .args(["status", "--format", format])
            .output()
            .expect("it runs");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    let reports: serde_json::Value = serde_json::from_str(&status("json")).expect("JSON");
    let target = path.to_str().expect("text");
    let volumes: Vec<&serde_json::Value> = reports
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|report| report["volumes"].as_array().expect("a list"))
        .filter(|volume| volume["target"] == target)
        .collect();
    let [volume] = volumes[..] else {
        panic!("one volume at {target}: {reports}");
    };
    assert_eq!(volume["name"], "app");
    assert_eq!(volume["current"]["version"], 2);
    assert!(volume["current"]["lastOpen"].is_null(), "never opened");
    assert_eq!(volume["older"][0]["version"], 1);
    assert_eq!(volume["older"][0]["held"], 1);
    assert!(volume["older"][0]["firstOpen"].is_string());
    let text = status("text");
    assert!(text.contains(&format!("app at {target}")), "{text}");
    assert!(text.contains("version 2 committed"), "{text}");
    drop(held);
}
