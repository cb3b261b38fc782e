//! The rules that a compiler cannot keep: which room may name which (`rooms`), that every file opens with its
//! reason (docs/ARCHITECTURE.md), and that each clause of docs/SEMANTICS.md has a test.

mod names;
mod planted;
mod rooms;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rooms::{Krate, judge, table};
use tree::Sources;

/// Where `unsafe` is allowed, each with its proof beside it (clippy demands that).
const UNSAFE: &[&str] = &[
    "hand/src/sys.rs",
    "keeper/src/sys.rs",
    "src/fs/takeover.rs",
    "src/publish/session.rs",
    "src/source/manifest/sys.rs",
    "src/store/memory.rs",
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

/// The crates that have rooms: the root of each, and the name by which others name it.
const CRATES: &[(&str, &str)] = &[
    ("csi/src/lib.rs", "livemount_csi"),
    ("engine/src/lib.rs", "livemount_engine"),
    ("hand/src/lib.rs", "livemount_hand"),
    ("keeper/src/lib.rs", "livemount_keeper"),
    ("volume/src/lib.rs", "livemount_volume"),
    ("src/lib.rs", "livemount"),
    ("src/main.rs", "main"),
];

/// The texts of all rooms, by their path in the repository.
fn texts() -> Sources {
    let mut files = Vec::new();
    for (crate_root, _) in CRATES {
        let folder = Path::new(crate_root)
            .parent()
            .expect("a file is in a folder");
        sources(&root().join(folder), &mut files);
    }
    files
        .iter()
        .map(|file| {
            let name = file.strip_prefix(root()).expect("it is in the repository");
            let text = fs::read_to_string(file).expect("a source file is text");
            (name.display().to_string(), text)
        })
        .collect()
}

/// The crates that the workspace depends on, by the names that a path begins with.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let (_, dependencies) = manifest
        .split_once("[workspace.dependencies]\n")
        .expect("all dependencies stand there");
    dependencies
        .lines()
        .map_while(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .collect()
}

#[test]
fn rooms_name_only_what_is_below_them() {
    let map = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("it is there");
    let roots: Vec<Krate> = CRATES
        .iter()
        .map(|(root, name)| Krate { root, name })
        .collect();
    let wrong = judge(&table(&map), &roots, &crates(), &texts());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_its_reason() {
    let mut files = Vec::new();
    for room in [
        "engine/src",
        "hand/src",
        "keeper/src",
        "volume/src",
        "src",
        "tests",
        "benches",
        "fuzz/src",
        "fuzz/fuzz_targets",
    ] {
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
    let elsewhere: Vec<String> = texts()
        .iter()
        .filter(|(file, text)| {
            let (modules, _) = names::read(file, text, &[], false);
            modules.values().any(|module| module.has_unsafe)
        })
        .map(|(file, _)| file.clone())
        .filter(|file| !UNSAFE.contains(&file.as_str()))
        .collect();
    assert!(elsewhere.is_empty(), "unsafe in {elsewhere:?}");
}

#[test]
fn the_compiler_is_the_oldest_that_is_promised() {
    let pin = fs::read_to_string(root().join("rust-toolchain.toml")).expect("it is there");
    let channel = pin
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix("\""))
        .expect("it names a compiler");
    let promised = env!("CARGO_PKG_RUST_VERSION");
    assert_eq!(
        channel.rsplit_once('.').map(|(minor, _)| minor),
        Some(promised)
    );
}

/// Where docs/SEMANTICS.md finds tests that are not in a file that bears their place's name.
const PLACES: &[(&str, &[&str])] = &[
    ("volume", &["volume/src/tests.rs", "src/served/tests.rs"]),
    ("kept", &["src/served/kept_tests.rs"]),
    (
        "restart",
        &["tests/restart/kills.rs", "tests/restart/successors.rs"],
    ),
    ("engine", &["engine/src/engine/tests.rs"]),
    ("render", &["engine/src/render/tests.rs"]),
    ("merge", &["src/source/manifest/merge_tests.rs"]),
    ("source", &["src/source/manifest/directory_tests.rs"]),
    (
        "hand",
        &[
            "hand/tests/mounts/cases.rs",
            "hand/tests/mounts/deaths.rs",
            "hand/tests/mounts/apart.rs",
            "hand/tests/mounts/guests.rs",
            "hand/tests/mounts/abort.rs",
        ],
    ),
];

/// Everything that docs/SEMANTICS.md says, piece by piece: a row, a point, or lines up to an empty one.
/// Headings, and what only leads to a table or stands in brackets, say nothing that a test could hold.
fn clauses(text: &str) -> Vec<String> {
    let (_, promises) = text
        .split_once("\n## The promises\n")
        .expect("SEMANTICS.md lists the promises");
    let mut clauses = vec![String::new()];
    for line in promises.lines() {
        if line.is_empty() || line.starts_with(['-', '|', '#']) {
            clauses.push(String::new());
        }
        if let Some(clause) = clauses.last_mut().filter(|_| !line.starts_with(['#', '('])) {
            clause.push_str(line);
            clause.push('\n');
        }
    }
    // A table's head says nothing either: the row before its line of dashes.
    let rules: Vec<usize> = (1..clauses.len())
        .filter(|at| clauses[*at].starts_with("|-"))
        .collect();
    for at in rules {
        clauses[at - 1].clear();
        clauses[at].clear();
    }
    clauses.retain(|clause| !clause.trim().is_empty());
    clauses
        .iter()
        .map(|clause| clause.trim().to_owned())
        .collect()
}

/// The tests that a clause names, as place and function.
fn named(clause: &str) -> Vec<(&str, &str)> {
    let code = clause.split('`').skip(1).step_by(2);
    code.filter_map(|code| code.split_once("::")).collect()
}

/// Whether a file has a test of this name that is run.
fn has_test(file: &Path, name: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    // The hand's tests are a program of their own with a list.
    if text.contains(&format!("\"{name}\",")) {
        return true;
    }
    let lines: Vec<&str> = text.lines().collect();
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    let Some(at) = lines
        .iter()
        .position(|line| heads.iter().any(|head| line.starts_with(head.as_str())))
    else {
        return false;
    };
    let before = lines[..at].iter().rev();
    let attributes: Vec<&&str> = before.take_while(|line| line.starts_with("#[")).collect();
    attributes.iter().any(|line| line.contains("test"))
        && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

#[test]
fn each_clause_of_semantics_names_a_test_that_is_there() {
    let text = fs::read_to_string(root().join("docs/SEMANTICS.md")).expect("it is there");
    let clauses = clauses(&text);
    assert!(clauses.len() > 40, "{} clauses: cut wrongly", clauses.len());
    let mut wrong = Vec::new();
    for clause in &clauses {
        let tests = named(clause);
        // Lines that only lead to their table or points have nothing to hold.
        let leads = clause.lines().count() == 1 && !clause.starts_with(['|', '-']);
        if tests.is_empty() && !leads {
            wrong.push(format!("no test holds: {clause}"));
        }
        for (place, name) in tests {
            let files = PLACES
                .iter()
                .find(|(known, _)| *known == place)
                .map_or_else(
                    || {
                        ["tests/mounts", "tests/repository", "tests"]
                            .map(|folder| format!("{folder}/{place}.rs"))
                            .to_vec()
                    },
                    |(_, files)| files.iter().map(ToString::to_string).collect(),
                );
            if !files.iter().any(|file| has_test(&root().join(file), name)) {
                wrong.push(format!("{place} has no test {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_promise_has_a_test_that_carries_its_number() {
    let text = fs::read_to_string(root().join("docs/SEMANTICS.md")).expect("it is there");
    let numbers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("**")?.split_once(". "))
        .map(|(number, _)| number)
        .collect();
    assert!(numbers.len() >= 8, "{numbers:?}");
    let tests: Vec<&str> = text.lines().flat_map(named).map(|(_, name)| name).collect();
    let without: Vec<_> = numbers
        .iter()
        .filter(|number| {
            let carries = format!("promise_{number}_");
            !tests.iter().any(|name| name.starts_with(&carries))
        })
        .collect();
    assert!(
        without.is_empty(),
        "no test is named promise_N of {without:?}"
    );
}
