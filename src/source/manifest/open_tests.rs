//! The first look at a folder, and the second look at a file that cannot be watched.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tokio::time::Instant;

use super::directory_tests::{NEVER, options, words, write};
use super::manifest_file::{FileReading, ManifestFile};
use super::{SourceError, open};

#[test]
fn where_nobody_says_who_writes_the_second_equal_reading_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.yaml");
    let second = Duration::from_secs(1);
    let mut file = ManifestFile::default();
    file.unsupported = true;
    let start = Instant::now();
    let mut read = |after: f64, objects: &[&str]| {
        write(&path, objects);
        let now = start + second.mul_f64(after);
        match file.read(&path, &path, "default", now, second) {
            None => 0,
            Some(FileReading::Objects(objects)) => objects.len(),
            Some(FileReading::Broken(error)) => panic!("{error}"),
        }
    };
    assert_eq!(read(0.0, &["x=1"]), 0);
    // Too soon: a writer may only be resting.
    assert_eq!(read(0.9, &["x=1"]), 0);
    assert_eq!(read(1.0, &["x=1", "y=1"]), 0);
    assert_eq!(read(2.0, &["x=1", "y=1"]), 2);
    // Nothing new, and what was on the way is forgotten.
    assert_eq!(read(3.0, &["x=1", "y=1"]), 0);
    assert_eq!(read(4.0, &["x=2"]), 0);
    assert_eq!(read(5.0, &["x=1", "y=1"]), 0);
    assert_eq!(read(6.0, &["x=2"]), 0);
    assert_eq!(read(7.0, &["x=2"]), 1);
}

#[test]
fn at_the_start_it_is_told_what_makes_the_folder_useless() {
    let home = tempfile::tempdir().expect("a folder");
    let dir = home.path().join("dir");
    fs::create_dir(&dir).expect("made");
    let open = || open::open(dir.clone(), options(NEVER));
    let shown = |error: &SourceError| {
        let prefix = format!("{}/", home.path().display());
        error.to_string().replace(&prefix, "")
    };
    let empty = open().expect("an empty folder is one");
    assert!(empty.is_directory() && empty.objects().is_empty());
    // Files that are broken are passed over, and told.
    write(&dir.join("a.yaml"), &["x=1"]);
    fs::write(dir.join("b.yaml"), "[").expect("written");
    fs::write(dir.join("c.yaml"), "").expect("written");
    symlink("nowhere", dir.join("d.yaml")).expect("linked");
    symlink("e.yaml", dir.join("e.yaml")).expect("linked");
    symlink("/dev/null", dir.join("f.yaml")).expect("linked");
    let mut source = open().expect("one file is good");
    assert_eq!(words(&source.objects()), ["x=1"]);
    let file_errors: Vec<String> = source.file_errors().iter().map(shown).collect();
    assert_eq!(
        file_errors,
        [
            "dir/b.yaml:1: not YAML: brackets do not match",
            "dir/c.yaml: the file is empty",
            "dir/d.yaml: there is no such file",
            "dir/e.yaml: cannot be read: Too many levels of symbolic links (os error 40)",
            "dir/f.yaml: not a regular file",
        ]
    );
    for (name, objects, sentence) in [
        (
            "g.yaml",
            &["w=1", "x=2"][..],
            "dir/g.yaml:7: ConfigMap default/x: told twice, first at dir/a.yaml:2",
        ),
        (
            "h.yaml",
            &["v=1", "v=2"],
            "dir/h.yaml:7: ConfigMap default/v: told twice, first on line 2",
        ),
    ] {
        write(&dir.join(name), objects);
        assert_eq!(open().err().as_ref().map(shown).as_deref(), Some(sentence));
    }
}
