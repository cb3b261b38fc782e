//! Real programs that watch their configuration, each as its own documentation says to use it: how
//! often its changed-callback is called for one update, for five, for a key added and a key removed.
//! On a volume, on a single file of it bound into a pod, and on the kubelet's own layout beside them.
//! docs/WATCHERS.md is the table; with `LIVEMOUNT_WRITE_DOCS=1` these tests write it, otherwise they
//! fail where it says anything else than they measure.
//!
//! A reaction carries what the program read, which has to be the new content. Each update waits for
//! the reaction to the one before it, and a bell (see `measure`) proves that nothing more came.

mod driver;
mod idle;
mod installed;
mod kubelet;
mod measure;
mod nginx;
mod places;
mod table;

use std::process::Command;

use driver::Ask;
use measure::{Bell, Program, Way};

/// A program that watches a folder, told of every name in it.
const FOLDER: Program = Program {
    row: "",
    command: |_| unreachable!("each program has its own"),
    render: |value, _| value.to_owned(),
    ready: |_| (),
    watches_file: false,
    options: &[],
    folder: Way::all(Bell::Named),
    // A watch on a folder never hears what happens to a file that is mounted over a name in it.
    bind: Way::none(Bell::Named),
    kubelet: Way::updates(Bell::Named),
    steady: true,
    apart: false,
};

/// A program that watches a folder for one name in it.
const NAME: Program = Program {
    folder: Way::updates(Bell::Content),
    bind: Way::none(Bell::Poke),
    kubelet: Way::updates(Bell::Content),
    ..FOLDER
};

/// A program that watches a file.
const FILE: Program = Program {
    watches_file: true,
    folder: Way::updates(Bell::Content),
    bind: Way::updates(Bell::Content),
    kubelet: Way::first(true),
    ..FOLDER
};

fn json(value: &str, _: &std::path::Path) -> String {
    format!(r#"{{"value":"{value}"}}"#)
}

fn go(ask: &Ask, program: &str) -> Command {
    let mut command = ask.program(installed::go());
    command.arg(program).arg(ask.watched).arg(ask.file);
    command
}

fn script(ask: &Ask, interpreter: impl AsRef<std::ffi::OsStr>, script: &str) -> Command {
    let mut command = ask.program(interpreter);
    command
        .arg(installed::source(script))
        .arg(ask.watched)
        .arg(ask.file);
    command
}

#[test]
fn viper() {
    measure::run(&Program {
        row: "viper",
        command: |ask| go(ask, "viper"),
        render: json,
        ..NAME
    });
}

#[test]
fn koanf() {
    measure::run(&Program {
        row: "koanf",
        command: |ask| go(ask, "koanf"),
        render: json,
        // It takes the same event within 5 ms for one, and so misses the second of two such updates;
        // and it ends for good where the kubelet's old folder goes while it resolves the link.
        apart: true,
        ..NAME
    });
}

fn notify(ask: &Ask) -> Command {
    let mut command = ask.program(installed::notify());
    command.arg(ask.watched).arg(ask.file);
    command
}

#[test]
fn notify_on_a_folder() {
    measure::run(&Program {
        row: "notify, folder",
        command: notify,
        ..FOLDER
    });
}

#[test]
fn notify_on_a_file() {
    measure::run(&Program {
        row: "notify, file",
        command: notify,
        ..FILE
    });
}

fn watchdog(ask: &Ask) -> Command {
    script(ask, installed::python(), "python/with_watchdog.py")
}

#[test]
fn watchdog_on_a_folder() {
    measure::run(&Program {
        row: "watchdog, folder",
        command: watchdog,
        ready: idle::wait_until_watching,
        ..FOLDER
    });
}

#[test]
fn watchdog_on_a_file() {
    measure::run(&Program {
        row: "watchdog, file",
        command: watchdog,
        ready: idle::wait_until_watching,
        watches_file: true,
        // It watches the folder for the file's name, which the kubelet's events never tell.
        kubelet: Way::none(Bell::Idle),
        ..NAME
    });
}

fn watchfiles(ask: &Ask) -> Command {
    script(ask, installed::python(), "python/with_watchfiles.py")
}

#[test]
fn watchfiles_on_a_folder() {
    measure::run(&Program {
        row: "watchfiles, folder",
        command: watchfiles,
        ready: idle::wait_until_watching,
        // A round ends when nothing came for 50 ms: how many the kubelet's steps make is timing.
        kubelet: Way::all(Bell::Named),
        steady: false,
        ..FOLDER
    });
}

#[test]
fn watchfiles_on_a_file() {
    measure::run(&Program {
        row: "watchfiles, file",
        command: watchfiles,
        ready: idle::wait_until_watching,
        ..FILE
    });
}

fn chokidar(ask: &Ask) -> Command {
    let mut command = ask.program("node");
    command
        .arg(installed::source("node/watch.mjs"))
        .arg(installed::chokidar())
        .arg(ask.watched)
        .arg(ask.file);
    command
}

#[test]
fn chokidar_on_a_folder() {
    measure::run(&Program {
        row: "chokidar, folder",
        command: chokidar,
        // It watches each file of the folder as well, and so hears one that is mounted there.
        bind: Way::updates(Bell::Named),
        // How often it looks at the folder while the kubelet works in it is timing.
        kubelet: Way::all(Bell::Named),
        steady: false,
        ..FOLDER
    });
}

#[test]
fn chokidar_on_a_file() {
    measure::run(&Program {
        row: "chokidar, file",
        command: chokidar,
        // Every commit of the kubelet is a new file.
        kubelet: Way::commits(Bell::Content),
        ..FILE
    });
}

#[test]
fn jdk_watch_service() {
    measure::run(&Program {
        row: "JDK WatchService",
        command: |ask| script(ask, installed::java(), "java/Watch.java"),
        ..FOLDER
    });
}

#[test]
fn spring_style_directory_watcher() {
    measure::run(&Program {
        row: "Spring-style directory watcher",
        command: |ask| script(ask, installed::java(), "java/DirectoryWatcher.java"),
        ..NAME
    });
}

fn inotifywait(ask: &Ask) -> Command {
    installed::need("inotifywait", "--help");
    script(ask, "sh", "shell/inotifywait.sh")
}

#[test]
fn inotifywait_on_a_folder() {
    measure::run(&Program {
        row: "inotifywait, folder",
        command: inotifywait,
        ..FOLDER
    });
}

#[test]
fn inotifywait_on_a_file() {
    measure::run(&Program {
        row: "inotifywait, file",
        command: inotifywait,
        // The end of a watch is not what it asks for.
        kubelet: Way::first(false),
        ..FILE
    });
}

#[test]
fn reflex() {
    measure::run(&Program {
        row: "reflex",
        command: |ask| {
            installed::need("reflex", "--help");
            script(ask, "sh", "shell/reflex.sh")
        },
        ready: idle::wait_until_watching,
        // It does not tell of what is gone.
        folder: Way::added(Bell::Named),
        // It takes together what comes within 300 ms.
        steady: false,
        ..FOLDER
    });
}

#[test]
fn caddy_watch() {
    measure::run(&Program {
        row: "Caddy --watch",
        command: |ask| {
            let mut command = ask.program(installed::python());
            command
                .arg(installed::source("python/with_caddy.py"))
                .arg(installed::caddy())
                .arg(ask.file)
                .arg(ask.private.join("socket"))
                .env("HOME", ask.private)
                .env("XDG_CONFIG_HOME", ask.private)
                .env("XDG_DATA_HOME", ask.private);
            command
        },
        render: |value, private| {
            let socket = private.join("socket");
            let handler = serde_json::json!({"handler": "static_response", "body": value});
            let server = serde_json::json!({
                "listen": [format!("unix/{}", socket.display())],
                "routes": [{"handle": [handler]}],
            });
            serde_json::json!({
                "admin": {"disabled": true},
                "apps": {"http": {"servers": {"test": server}}},
            })
            .to_string()
        },
        // It polls, and so it is the same for it wherever its file is.
        bind: Way::updates(Bell::Content),
        ..NAME
    });
}

/// What waits for `..data` and for nothing else hears nothing on a volume that has no such thing to
/// tell.
const DOTDATA: Program = Program {
    command: |ask| go(ask, "dotdata"),
    folder: Way::none(Bell::Named),
    kubelet: Way::commits(Bell::Named),
    ..FOLDER
};

#[test]
fn configmap_reload_style() {
    measure::run(&Program {
        row: "configmap-reload style",
        ..DOTDATA
    });
}

#[test]
fn configmap_reload_style_with_compat_dotdata() {
    measure::run(&Program {
        row: "configmap-reload style, `--compat dotdata`",
        options: &["--compat", "dotdata"],
        // The bell's own commit ends with `..data` as well.
        folder: Way::commits(Bell::Content),
        ..DOTDATA
    });
}

#[test]
fn nginx_answers_whole_files_under_reload() {
    nginx::run();
}

#[test]
fn the_table_has_every_program_and_no_other() {
    table::check_rows();
}
