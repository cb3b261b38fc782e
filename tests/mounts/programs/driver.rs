//! A program under test: a process that prints `ready VERSION` when it watches, and one line of JSON
//! a reaction.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use super::installed::missing;
use super::places::Place;
use crate::support::daemon::{self, Lines};
use crate::support::scratch::Scratch;

/// What a program is to watch.
pub struct Ask<'a> {
    scratch: &'a Scratch,
    /// The folder or the file.
    pub watched: &'a Path,
    /// The file.
    pub file: &'a Path,
    /// A folder of this run alone.
    pub private: &'a Path,
}

impl Ask<'_> {
    /// A command that finds its programs and nothing else of this process's environment.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = daemon::command(self.scratch, program);
        // Python would leave its own files beside the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// One call of a program's changed-callback.
#[derive(Debug, Default, Deserialize)]
pub struct Reaction {
    /// The name that the program was told, or several with a comma between, or none.
    pub name: String,
    /// What it read in the file.
    pub file: Option<String>,
    /// What it read under the name that it was told.
    pub named: Option<String>,
}

impl Reaction {
    /// The names that the program was told.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.name.split(',')
    }
}

/// A line of a program.
#[derive(Debug)]
pub enum Line {
    Reaction(Reaction),
    /// An event for this name was heard and passed over.
    Ignored(String),
    Other,
}

impl Line {
    fn parse(line: &str) -> Self {
        if let Some(json) = line.strip_prefix("reaction ") {
            match serde_json::from_str(json) {
                Ok(reaction) => Self::Reaction(reaction),
                Err(error) => panic!("{error}: {line}"),
            }
        } else if let Some(name) = line.strip_prefix("ignored ") {
            Self::Ignored(name.to_owned())
        } else {
            Self::Other
        }
    }
}

/// A running program. It and its children end when this is dropped.
pub struct Driver {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    /// The version that it says it is.
    pub version: String,
}

impl Driver {
    /// Starts a program in a place and waits until it says that it watches.
    pub fn start(
        place: &dyn Place,
        command: fn(&Ask) -> Command,
        file: bool,
        private: &Path,
    ) -> Self {
        let path = place.folder().join(super::places::FILE);
        let mut command = command(&Ask {
            scratch: place.scratch(),
            watched: if file { &path } else { place.folder() },
            file: &path,
            private,
        });
        command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = place
            .spawn(command)
            .unwrap_or_else(|error: io::Error| missing(&program, &error.to_string()));
        let mut driver = Self {
            stdout: Lines::read(child.stdout.take().expect("it is piped")),
            stderr: Lines::read(child.stderr.take().expect("it is piped")),
            child,
            version: String::new(),
        };
        let ready = driver
            .stdout
            .wait_for("the program watches", |line| line.starts_with("ready"));
        let version = ready["ready".len()..].trim();
        version
            .trim_start_matches('v')
            .clone_into(&mut driver.version);
        driver
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        let lines = self.stdout.all();
        lines.iter().map(|line| Line::parse(line)).collect()
    }

    /// Waits for a line, and comes back with its number.
    pub fn wait(&self, from: usize, what: &str, matches: impl Fn(&Line) -> bool) -> usize {
        self.stdout
            .wait_past(from, what, |line| matches(&Line::parse(line)));
        let found = self.lines().iter().skip(from).position(matches);
        from + found.expect("it was there")
    }

    /// Ends the program and comes back with all that it has printed.
    pub fn finish(mut self) -> Vec<Line> {
        self.end();
        let lines = self.stdout.finish();
        lines.iter().map(|line| Line::parse(line)).collect()
    }

    fn end(&mut self) {
        if let Ok(Some(group)) = i32::try_from(self.child.id()).map(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            for line in self.stdout.all().iter().chain(&self.stderr.all()) {
                println!("program: {line:.300}");
            }
        }
    }
}
