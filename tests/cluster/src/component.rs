//! A program of the cluster that runs: its log, its end, and being stopped in its tracks.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::inside::folder;
use crate::wait;

/// Lines of each log that a failure shows.
const TAIL: usize = 12;

/// A program that is started, killed and started again with the same arguments. Ends with its
/// owner. Its log, of all its lives, is `logs/NAME` in the run's folder.
#[derive(Debug)]
pub struct Component {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Component {
    /// A component that is not started yet.
    pub fn new(name: impl Into<String>, program: PathBuf) -> Component {
        Component {
            name: name.into(),
            program,
            arguments: Vec::new(),
            child: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Component {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments, for this and every later start.
    pub fn args<S: Into<String>>(&mut self, arguments: impl IntoIterator<Item = S>) {
        self.arguments.extend(arguments.into_iter().map(Into::into));
    }

    /// The file that all that it writes goes to.
    pub fn log(&self) -> PathBuf {
        folder().join("logs").join(&self.name)
    }

    /// Starts the program. It is not waited for.
    pub fn start(&mut self) {
        assert!(!self.is_running(), "{} runs already", self.name);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap_or_else(|error| panic!("the log of {}: {error}", self.name));
        let also = log.try_clone().expect("a descriptor can be cloned");
        let child = Command::new(&self.program)
            .args(self.arguments.iter().map(OsStr::new))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// Whether it was started and has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// That it is still worth waiting for.
    ///
    /// # Panics
    /// If it has ended by itself, with the ends of all logs.
    pub fn check(&mut self) {
        assert!(self.is_running(), "{} has ended\n{}", self.name, tails());
    }

    /// Its process, which the caller must not wait for.
    pub fn pid(&self) -> u32 {
        self.child
            .as_ref()
            .map(Child::id)
            .expect("the component was started")
    }

    /// Ends it at once, as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A child that has ended by itself cannot be killed, and is waited for all the same.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end, as an operator does, and waits until it is gone.
    pub fn terminate(&mut self) {
        if self.is_running() {
            self.signal(Signal::TERM);
        }
        if let Some(mut child) = self.child.take() {
            wait::until_blocking(&format!("{} ends", self.name), || {
                match child.try_wait().expect("a child can be waited for") {
                    Some(_) => Ok(()),
                    None => Err("it still runs".to_owned()),
                }
            });
        }
    }

    /// Stops it in its tracks: its connections stay open, and nothing answers on them.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Component::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().try_into().ok().and_then(Pid::from_raw);
        // The child has not been waited for, so its number is its own.
        kill_process(pid.expect("a process has a number"), signal)
            .unwrap_or_else(|error| panic!("{} gets {signal:?}: {error}", self.name));
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The ends of all logs of this run.
pub(crate) fn tails() -> String {
    let logs = folder().join("logs");
    let mut text = format!("logs in {}", logs.display());
    let mut names: Vec<PathBuf> = fs::read_dir(&logs)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    names.sort();
    for log in names {
        let content = fs::read(&log).unwrap_or_default();
        let content = String::from_utf8_lossy(&content);
        let lines: Vec<&str> = content.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        let name = log.file_name().unwrap_or_default().to_string_lossy();
        let _ = write!(text, "\n--- {name}\n{}", lines[from..].join("\n"));
    }
    text
}
