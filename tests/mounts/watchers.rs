//! Real programs that watch their configuration: `inotifywait` as scripts use it, fsnotify as Go
//! services do, and Node's `fs.watch` with `readFileSync`. One update is one reaction, which reads the
//! new content; five updates are five reactions.
//!
//! Each update waits for the reaction to the one before it. A reaction too many would come before
//! the next update's, for a watch tells in order; after the last update one more, which is not
//! counted, brings out what may still be queued.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::daemon::{self, Lines};
use crate::support::scratch::Scratch;
use crate::support::volume::Volume;

/// The file that is watched, and what the updates make of it: longer, shorter, over many pages.
const FILE: &str = "app.conf";

fn contents() -> [String; 6] {
    [
        "one".to_owned(),
        "two, which is longer ".repeat(400),
        "3".to_owned(),
        "four fills more than a page cache's page ".repeat(3_000),
        "the fifth".to_owned(),
        "the one that brings out the rest".to_owned(),
    ]
}

/// A watching program. It and its children end when this is dropped.
struct Watcher {
    child: Child,
    lines: Lines,
}

impl Watcher {
    /// Starts a program and waits until it says that it watches.
    fn start(mut command: Command, ready: &str) -> Self {
        let program = command.get_program().to_owned();
        let mut child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| missing(&program.to_string_lossy(), &error.to_string()));
        let lines = Lines::read(child.stdout.take().expect("it is piped"));
        let watcher = Self { child, lines };
        watcher
            .lines
            .wait_for("the program watches", |line| line.starts_with(ready));
        watcher
    }

    /// All reactions so far.
    fn reactions(&self) -> Vec<String> {
        let mut lines = self.lines.all();
        lines.retain(|line| line.starts_with("reaction "));
        lines
    }

    /// Waits for the reaction with this number, the first being 0.
    fn wait_for_reaction(&self, number: usize) -> String {
        self.lines
            .wait_nth(number, &format!("reaction {number}"), |line| {
                line.starts_with("reaction ")
            })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Ok(Some(group)) = i32::try_from(self.child.id()).map(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Ends the test with what to do. Nothing is ever skipped.
fn missing(program: &str, why: &str) -> ! {
    panic!("{program}: {why}; install it by tests/run");
}

/// Updates the volume's file, again and again, and expects one reaction each.
fn expect_one_reaction_each(volume: &mut Volume, watcher: &Watcher, quoted: bool) {
    for (number, content) in contents().iter().enumerate() {
        volume.change(&[(FILE, content)]);
        let reaction = watcher.wait_for_reaction(number);
        let expected = if quoted {
            serde_json::to_string(content).expect("a string is JSON")
        } else {
            content.clone()
        };
        assert!(
            reaction.ends_with(&format!(" {expected}")),
            "update {number}: {reaction}"
        );
    }
    let reactions = watcher.reactions();
    assert_eq!(reactions.len(), contents().len(), "{reactions:#?}");
}

/// A script as they are written: `inotifywait` in a pipe, and a read of the file at each line.
fn inotifywait(volume: &Volume, watched: &Path, event: &str) -> Watcher {
    let script = r#"
        inotifywait --monitor --event "$1" --format %e "$2" 2>&1 | while read -r line; do
            case $line in
                Setting*) ;;
                Watches*) echo ready ;;
                *) printf 'reaction %s %s\n' "$line" "$(cat "$3")" ;;
            esac
        done
    "#;
    // A shell that misses a program in a pipe goes on; here it is to be told.
    let found = Command::new("inotifywait").arg("--help").output();
    if let Err(error) = found {
        missing("inotifywait", &error.to_string());
    }
    let mut command = daemon::command(&volume.scratch, "sh");
    command
        .args(["-c", script, "sh", event])
        .arg(watched)
        .arg(volume.join(FILE));
    Watcher::start(command, "ready")
}

#[test]
fn inotifywait_on_the_folder_reacts_once_to_one_update() {
    let mut volume = Volume::of(&[(FILE, "zero"), ("other", "same")]);
    let watcher = inotifywait(&volume, volume.path(), "close_write,moved_to");
    expect_one_reaction_each(&mut volume, &watcher, false);
}

#[test]
fn inotifywait_on_the_file_reacts_once_to_one_update() {
    let mut volume = Volume::of(&[(FILE, "zero"), ("other", "same")]);
    let watcher = inotifywait(&volume, &volume.join(FILE), "modify");
    expect_one_reaction_each(&mut volume, &watcher, false);
}

/// The fsnotify program, built once.
fn fsnotify(scratch: &Scratch, watched: &Path, file: &Path) -> Watcher {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let driver = BUILT.get_or_init(|| {
        let driver = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fsnotify-driver");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&driver)
            .arg(".")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/watchers/go"))
            .env("CGO_ENABLED", "0")
            .output()
            .unwrap_or_else(|error| missing("go", &error.to_string()));
        if !built.status.success() {
            let why = String::from_utf8_lossy(&built.stderr);
            missing("the Go module fsnotify", &why);
        }
        driver
    });
    let mut command = daemon::command(scratch, driver);
    command.arg(watched).arg(file);
    Watcher::start(command, "ready")
}

#[test]
fn fsnotify_on_the_folder_reacts_once_to_one_update() {
    let mut volume = Volume::of(&[(FILE, "zero"), ("other", "same")]);
    let watcher = fsnotify(&volume.scratch, volume.path(), &volume.join(FILE));
    expect_one_reaction_each(&mut volume, &watcher, true);
}

#[test]
fn fsnotify_on_the_file_reacts_once_to_one_update() {
    let mut volume = Volume::of(&[(FILE, "zero"), ("other", "same")]);
    let watcher = fsnotify(&volume.scratch, &volume.join(FILE), &volume.join(FILE));
    expect_one_reaction_each(&mut volume, &watcher, true);
}

fn node(scratch: &Scratch, watched: &Path, file: &Path) -> Watcher {
    let mut command = daemon::command(scratch, "node");
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/watchers/node/watch.js"
        ))
        .arg(watched)
        .arg(file);
    Watcher::start(command, "ready")
}

#[test]
fn node_on_the_folder_reacts_once_to_one_update() {
    let mut volume = Volume::of(&[(FILE, "zero"), ("other", "same")]);
    let watcher = node(&volume.scratch, volume.path(), &volume.join(FILE));
    expect_one_reaction_each(&mut volume, &watcher, true);
}

#[test]
fn node_on_the_file_reacts_once_to_one_update() {
    let mut volume = Volume::of(&[(FILE, "zero"), ("other", "same")]);
    let watcher = node(&volume.scratch, &volume.join(FILE), &volume.join(FILE));
    expect_one_reaction_each(&mut volume, &watcher, true);
}
