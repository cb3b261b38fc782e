//! The rules of docs/ARCHITECTURE.md that a compiler cannot keep: which room may name which, and that
//! every file opens with its reason.

use std::fs;
use std::path::{Path, PathBuf};

/// A room and what it must not name. "One way down" is told as absences.
const ABSENCES: &[(&str, &[&str])] = &[
    (
        "engine/src",
        &[
            "tokio",
            "kube::",
            "fuser",
            "tonic",
            "parking_lot",
            "std::time",
            "std::thread",
        ],
    ),
    (
        "hand/src",
        &[
            "tokio",
            "kube::",
            "fuser::",
            "livemount_engine",
            "livemount::",
        ],
    ),
    (
        "src/volume",
        &[
            "fuser",
            "tokio",
            "livemount_hand",
            "crate::publish",
            "crate::fs",
            "crate::source",
            "crate::mount",
        ],
    ),
    (
        "src/fs",
        &[
            "tokio",
            "livemount_hand",
            "crate::publish",
            "crate::source",
            "crate::mount",
            "crate::observe",
        ],
    ),
    (
        "src/publish",
        &["tokio", "crate::source", "crate::mount", "crate::cli"],
    ),
    (
        "src/source",
        &[
            "fuser",
            "livemount_hand",
            "crate::publish",
            "crate::volume",
            "crate::fs",
            "crate::mount",
        ],
    ),
    ("src/observe.rs", &["fuser", "tokio", "crate::"]),
    (
        "src/report.rs",
        &["fuser", "tokio", "crate::publish", "crate::status"],
    ),
    (
        "src/status",
        &["fuser", "tokio", "crate::fs", "crate::mount"],
    ),
    ("src/mount", &["fuser", "crate::fs", "crate::cli"]),
    (
        "src/stanza",
        &["fuser", "tokio", "crate::source", "crate::mount"],
    ),
    (
        "src/yaml",
        &["fuser", "tokio", "livemount_engine", "crate::source"],
    ),
];

/// Where `unsafe` is allowed, each with its proof beside it (clippy demands that).
const UNSAFE: &[&str] = &[
    "hand/src/sys.rs",
    "src/publish/session.rs",
    "src/source/manifest/sys.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(at: &Path, found: &mut Vec<PathBuf>) {
    if at.is_file() {
        found.push(at.to_owned());
        return;
    }
    for entry in fs::read_dir(at).unwrap_or_else(|error| panic!("{}: {error}", at.display())) {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() || path.extension().is_some_and(|ending| ending == "rs") {
            sources(&path, found);
        }
    }
}

/// The text without comments, which may speak of anything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is text");
    text.lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn rooms_name_only_what_is_below_them() {
    let mut broken = Vec::new();
    for (room, absent) in ABSENCES {
        let mut files = Vec::new();
        sources(&root().join(room), &mut files);
        assert!(!files.is_empty(), "{room} has moved: move its rule too");
        for file in files {
            let code = code(&file);
            for name in *absent {
                if code.contains(name) {
                    broken.push(format!("{} names {name}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_opens_with_its_reason() {
    let mut files = Vec::new();
    for room in ["engine/src", "hand/src", "src", "tests", "benches"] {
        sources(&root().join(room), &mut files);
    }
    let silent: Vec<String> = files
        .iter()
        .filter(|file| {
            !fs::read_to_string(file)
                .expect("a source file is text")
                .starts_with("//!")
        })
        .map(|file| file.display().to_string())
        .collect();
    assert!(
        silent.is_empty(),
        "no reason in the first line of {silent:?}"
    );
}

#[test]
fn unsafe_stays_where_it_is_proved() {
    let mut files = Vec::new();
    for room in ["engine/src", "hand/src", "src"] {
        sources(&root().join(room), &mut files);
    }
    let elsewhere: Vec<String> = files
        .iter()
        .filter(|file| code(file).contains("unsafe {"))
        .filter_map(|file| file.strip_prefix(root()).ok())
        .map(|file| file.display().to_string())
        .filter(|file| !UNSAFE.contains(&file.as_str()))
        .collect();
    assert!(elsewhere.is_empty(), "unsafe in {elsewhere:?}");
}
