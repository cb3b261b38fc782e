//! Where the programs are. `tests/run` installs them, by `tests/programs/install`; what is missing
//! here fails its test and says so.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Ends the test with what to do. Nothing is ever skipped.
pub fn missing(program: &str, why: &str) -> ! {
    panic!("{program}: {why}; install it by tests/run");
}

/// A file of the drivers' own sources.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(name)
}

/// The folder that `tests/programs/install` fills.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("programs")
}

fn installed(name: &str, path: PathBuf) -> PathBuf {
    if !path.exists() {
        missing(name, "it is not there");
    }
    path
}

/// The Python that has watchdog and watchfiles.
pub fn python() -> PathBuf {
    installed("watchdog", folder().join("python/bin/watchmedo"));
    installed("watchfiles", folder().join("python/bin/watchfiles"));
    folder().join("python/bin/python")
}

/// Caddy.
pub fn caddy() -> PathBuf {
    installed("caddy", folder().join("python/bin/caddy"))
}

/// The folder of chokidar.
pub fn chokidar() -> PathBuf {
    need("node", "--version");
    installed("chokidar", folder().join("node/node_modules/chokidar"))
}

/// A Java that runs a source file.
pub fn java() -> &'static str {
    need("javac", "--version");
    "java"
}

/// The Go programs, built once.
pub fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let programs = folder().join("go-programs");
        let mut build = Command::new("go");
        build
            .args(["build", "-o"])
            .arg(&programs)
            .arg(".")
            .current_dir(source("go"))
            .env("CGO_ENABLED", "0");
        run("the Go modules", &mut build);
        programs
    })
}

/// The program that uses the crate notify, built once.
pub fn notify() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = folder().join("notify");
        let mut build = Command::new(env!("CARGO"));
        build
            .args([
                "build",
                "--quiet",
                "--locked",
                "--offline",
                "--manifest-path",
            ])
            .arg(source("notify/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .current_dir(source("notify"));
        run("the crate notify", &mut build);
        target.join("debug/livemount-test-notify")
    })
}

/// Fails unless a program can be started.
pub fn need(program: impl AsRef<OsStr>, argument: &str) {
    let program = program.as_ref();
    if let Err(error) = Command::new(program).arg(argument).output() {
        missing(&program.to_string_lossy(), &error.to_string());
    }
}

fn run(what: &str, command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| missing(what, &error.to_string()));
    if !output.status.success() {
        missing(what, &String::from_utf8_lossy(&output.stderr));
    }
}
