//! docs/WATCHERS.md: the table that the tests measure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::measure::Counts;

/// The rows, in order.
const ROWS: &[&str] = &[
    "viper",
    "koanf",
    "notify, folder",
    "notify, file",
    "watchdog, folder",
    "watchdog, file",
    "watchfiles, folder",
    "watchfiles, file",
    "chokidar, folder",
    "chokidar, file",
    "JDK WatchService",
    "Spring-style directory watcher",
    "inotifywait, folder",
    "inotifywait, file",
    "reflex",
    "Caddy --watch",
    "configmap-reload style",
    "configmap-reload style, `--compat dotdata`",
    "nginx, sendfile on",
];

/// What the table's lines begin with.
const HEAD: &str = "| program |";
const RULE: &str = "|---";

/// One program writes at a time.
static FILE: Mutex<()> = Mutex::new(());

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/WATCHERS.md")
}

/// A cell of counts. What depends on timing is marked, and not compared.
pub fn counts(Counts(counts): Counts, steady: bool) -> String {
    let cell = counts.map(|count| count.to_string()).join(" / ");
    if steady { cell } else { format!("{cell} ~") }
}

/// Writes a program's row, or compares it with what is written. Versions are told, not compared.
pub fn set(row: &str, version: &str, cells: &[String; 3]) {
    assert!(ROWS.contains(&row), "{row} has no place in the table");
    let _file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(path()).unwrap_or_default();
    let measured = format!("| {row} | {version} | {} |", cells.join(" | "));
    println!("{measured}");
    if std::env::var_os("LIVEMOUNT_WRITE_DOCS").is_some_and(|value| value == "1") {
        fs::write(path(), with(&text, row, &measured)).expect("docs/WATCHERS.md can be written");
        return;
    }
    let written = rows(&text).find(|line| name(line) == row);
    let compared = |line: &str| -> Vec<String> {
        line.split(" | ")
            .skip(2)
            .map(|cell| {
                let cell = cell.trim_end_matches(" |");
                if cell.ends_with('~') { "~" } else { cell }.to_owned()
            })
            .collect()
    };
    assert_eq!(
        written.map(compared),
        Some(compared(&measured)),
        "docs/WATCHERS.md says something else about {row}: run these tests with \
         LIVEMOUNT_WRITE_DOCS=1 if what they measure is right"
    );
}

/// Fails unless the table has exactly the programs that are measured.
pub fn check_rows() {
    if std::env::var_os("LIVEMOUNT_WRITE_DOCS").is_some() {
        return;
    }
    let text = fs::read_to_string(path()).expect("docs/WATCHERS.md can be read");
    assert_eq!(rows(&text).map(name).collect::<Vec<_>>(), ROWS);
}

/// The table's rows.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .skip_while(|line| !line.starts_with(HEAD))
        .skip(1)
        .skip_while(|line| line.starts_with(RULE))
        .take_while(|line| line.starts_with('|'))
}

fn name(row: &str) -> &str {
    row.trim_start_matches("| ")
        .split(" | ")
        .next()
        .unwrap_or_default()
}

/// The text with a row in its place.
fn with(text: &str, row: &str, measured: &str) -> String {
    let head = text.lines().position(|line| line.starts_with(HEAD));
    let head = head.expect("docs/WATCHERS.md has the table's head");
    let old: Vec<_> = rows(text).collect();
    let lines: Vec<_> = text.lines().collect();
    let (before, rest) = lines.split_at(head + 2);
    let after = &rest[old.len()..];
    let new = ROWS.iter().filter_map(|known| {
        if *known == row {
            Some(measured)
        } else {
            old.iter().copied().find(|line| name(line) == *known)
        }
    });
    let mut text: String = before
        .iter()
        .copied()
        .chain(new)
        .chain(after.iter().copied())
        .flat_map(|line| [line, "\n"])
        .collect();
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
