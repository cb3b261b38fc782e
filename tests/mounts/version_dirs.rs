//! What a volume says beyond its files: `..data` and `..<n>`, extended attributes, and the one event
//! that `compat: dotdata` adds.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use livemount::publish::{Compat, Settings};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::support::one::One;
use crate::support::served::tree;
use crate::support::watch::{Watch, lines};

/// Where `..data` leads.
fn link(one: &One) -> String {
    let target = fs::read_link(one.path.join("..data")).expect("a link");
    target.to_str().expect("text").to_owned()
}

fn read_below(folder: &File, name: &str) -> Result<String, Errno> {
    let mut file = File::from(openat(
        folder,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?);
    let mut text = String::new();
    file.read_to_string(&mut text).expect("reads");
    Ok(text)
}

fn open_folder(path: &Path, flags: OFlags) -> File {
    File::from(
        openat(
            CWD,
            path,
            flags | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .expect("a folder"),
    )
}

#[test]
fn dotdata_leads_to_the_current_version_and_is_not_listed() {
    let mut one = One::of(&[("a", "1"), ("d/b", "1")]);
    for round in 2..=20 {
        let text = round.to_string();
        one.commit(&[("a", &text), ("d/b", &text)]);
        assert_eq!(link(&one), format!("..{round}"));
        let size = fs::symlink_metadata(one.path.join("..data"))
            .expect("stat")
            .len();
        assert_eq!(size, link(&one).len() as u64);
        for name in ["..data/a", "..data/d/b", "a", "d/b"] {
            let read = fs::read_to_string(one.path.join(name));
            assert_eq!(read.expect(name), text);
        }
    }
    let mut names: Vec<_> = fs::read_dir(&one.path)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["a", "d"]);
    let mut names: Vec<_> = fs::read_dir(one.path.join("..data"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["a", "d"]);
    for missing in ["..0", "..99", "..020", "..x", "...", "..data_tmp"] {
        assert!(!one.path.join(missing).exists(), "{missing}");
    }
}

#[test]
fn promise_3_a_held_folder_shows_one_whole_version() {
    let mut one = One::of(&[("a", "1"), ("d/b", "1")]);
    let held = open_folder(&one.path.join("..data"), OFlags::RDONLY);
    let by_path_alone = open_folder(&one.path.join("..data"), OFlags::PATH);
    let deep = open_folder(&one.path.join("..data/d"), OFlags::PATH);
    for round in 2..=10 {
        let text = round.to_string();
        one.commit(&[("a", &text), ("d/b", &text), ("new", "1")]);
        assert_eq!(read_below(&held, "a"), Ok("1".into()));
        assert_eq!(read_below(&by_path_alone, "d/b"), Ok("1".into()));
        assert_eq!(read_below(&deep, "b"), Ok("1".into()));
        assert_eq!(read_below(&held, "new"), Err(Errno::NOENT));
    }
}

#[test]
fn a_held_folder_goes_with_its_version_when_too_many_are_kept() {
    let mut one = One::of(&[("a", "0")]);
    let held: Vec<File> = (1..=34)
        .map(|round| {
            let folder = open_folder(&one.path.join("..data"), OFlags::RDONLY);
            one.commit(&[("a", &round.to_string())]);
            folder
        })
        .collect();
    // 34 older versions are held, 32 are kept.
    assert_eq!(read_below(&held[0], "a"), Err(Errno::STALE));
    assert_eq!(read_below(&held[1], "a"), Err(Errno::STALE));
    assert_eq!(read_below(&held[2], "a"), Ok("2".into()));
    assert_eq!(fs::read_to_string(one.path.join("a")).expect("reads"), "34");
}

#[test]
fn a_folder_that_nobody_holds_pins_nothing() {
    let mut one = One::of(&[("a", &"x".repeat(100_000))]);
    let inodes = |one: &One| rustix::fs::statfs(&one.path).expect("statfs").f_files;
    fs::read(one.path.join("..data/a")).expect("reads");
    let with_one_view = inodes(&one);
    // Each version is walked through and then only cached. The last few keep their names for a
    // moment; were a cached name a hold, there would be two more inodes with every version.
    for round in 0..100 {
        one.commit(&[("a", &round.to_string())]);
        fs::read(one.path.join("..data/a")).expect("reads");
    }
    let left = inodes(&one) - with_one_view;
    assert!(left <= 2 * 9, "{left} inodes of former versions");
}

#[test]
fn promise_5_dotdata_is_one_moved_to_at_the_end_where_it_is_asked_for() {
    let settings = Settings {
        compat: Compat::Dotdata,
        ..Settings::default()
    };
    let mut one = One::that(settings, &tree(&[("a", "1"), ("old", "1")]));
    let mut watch = Watch::all(&one.path);
    for round in 2..=5 {
        let text = round.to_string();
        one.commit(&[("a", &text), ("old", "1")]);
        assert_eq!(
            lines(&watch.drain()),
            ["OPEN a", "MODIFY a", "CLOSE_WRITE a", "MOVED_TO ..data"]
        );
        assert_eq!(link(&one), format!("..{round}"));
        assert_eq!(
            fs::read_to_string(one.path.join("..data/a")).expect("reads"),
            text
        );
        watch.drain();
    }
    one.commit(&[("a", "5"), ("new", "1")]);
    assert_eq!(
        lines(&watch.drain()),
        ["MOVED_TO new", "DELETE old", "MOVED_TO ..data"]
    );
}

#[test]
fn extended_attributes_tell_object_and_version() {
    let mut one = One::of(&[("a", "1"), ("b", "same")]);
    let get = |one: &One, name: &str, attr: &str| {
        let mut value = vec![0; 256];
        let size = rustix::fs::getxattr(
            one.path.join(name),
            format!("user.livemount.{attr}"),
            &mut value[..],
        )?;
        value.truncate(size);
        Ok::<_, Errno>(String::from_utf8(value).expect("text"))
    };
    assert_eq!(get(&one, "a", "object"), Ok("ConfigMap default/0".into()));
    assert_eq!(get(&one, "b", "object"), Ok("ConfigMap default/1".into()));
    assert_eq!(get(&one, "a", "version"), Ok("1".into()));
    assert_eq!(
        get(&one, "a", "resourceVersion"),
        Err(Errno::NODATA),
        "a manifest has none"
    );
    let said = |one: &One| {
        ["a", "b", ""].map(|name| (get(one, name, "digest"), get(one, name, "committed")))
    };
    let before = said(&one);
    one.commit(&[("a", "2"), ("b", "same")]);
    let after = said(&one);
    assert_ne!(before[2].0, after[2].0, "the root's is of the whole volume");
    assert_eq!(before[2].1, after[2].1, "no name came or went");
    one.commit(&[("a", "2"), ("b", "same"), ("c", "1")]);
    assert_ne!(said(&one)[2].1, after[2].1);
    one.commit(&[("a", "2"), ("b", "same")]);
    assert_eq!(said(&one)[2].0, after[2].0, "equal means equal");
    assert_ne!(before[0].0, after[0].0);
    assert_ne!(before[0].1, after[0].1);
    assert_eq!(before[1], after[1], "an unchanged file says the same");
    assert_eq!(get(&one, "a", "version"), Ok("4".into()));

    let mut names = vec![0; 1024];
    let size = rustix::fs::listxattr(one.path.join("a"), &mut names[..]).expect("listxattr");
    let names = String::from_utf8(names[..size].to_vec()).expect("text");
    let names: Vec<_> = names.split_terminator('\0').collect();
    let ours =
        ["object", "version", "committed", "digest"].map(|name| format!("user.livemount.{name}"));
    assert_eq!(names, ours);
    assert_eq!(
        get(&one, "", "object"),
        Ok("ConfigMap default/0, ConfigMap default/1".into())
    );
    let mut short = [0; 3];
    let result = rustix::fs::getxattr(one.path.join("a"), "user.livemount.object", &mut short[..]);
    assert_eq!(result, Err(Errno::RANGE));
    let result = rustix::fs::getxattr(one.path.join("a"), "user.other", &mut short[..]);
    assert_eq!(result, Err(Errno::NODATA));
    assert_ne!(fs::metadata(&one.path).expect("stat").ino(), 0);
}
