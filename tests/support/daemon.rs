//! The daemon as a user starts it: the built binary, its standard error recorded line by line, and
//! readiness told by `sd_notify`.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process::{MARKER, Process};
use super::scratch::Scratch;
use super::{PATIENCE, wait_for};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_livemount");

/// A command with an environment that is the same on every machine, and the marker by which
/// leftovers are found.
pub fn command(scratch: &Scratch, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env(MARKER, scratch.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command
}

/// A daemon about to be started.
pub struct Launch<'s> {
    scratch: &'s Scratch,
    wrapper: Vec<OsString>,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, &'static str)>,
}

impl<'s> Launch<'s> {
    /// `livemount mount`, and what the test adds.
    pub fn mount(scratch: &'s Scratch) -> Self {
        Self::bare(scratch).arg("mount")
    }

    /// `livemount` without any argument yet.
    pub fn bare(scratch: &'s Scratch) -> Self {
        Self {
            scratch,
            wrapper: Vec::new(),
            program: BINARY.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Another binary than the one under test.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|argument| OsString::from(*argument)));
        self
    }

    /// A program, with arguments, that is to start the daemon in its own place by exec.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(self) -> Daemon {
        let daemon = self.spawn();
        daemon.wait_until_ready();
        daemon
    }

    /// Starts it and waits until it has ended by itself.
    pub fn run(self) -> Finished {
        let mut daemon = self.spawn();
        let status = daemon.wait_for_end(PATIENCE);
        Finished {
            status,
            stdout: daemon.stdout.finish(),
            stderr: daemon.stderr.finish(),
        }
    }

    /// Starts it and waits for nothing.
    pub fn spawn(self) -> Daemon {
        let notify = self.scratch.fresh("notify");
        let socket = UnixDatagram::bind(&notify).expect("a socket can be bound");
        let mut words = self.wrapper;
        words.push(self.program.into());
        words.extend(self.arguments);
        let mut child = command(self.scratch, &words[0])
            .args(&words[1..])
            .env("NOTIFY_SOCKET", &notify)
            .envs(self.environment)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", words[0].display()));
        let stdout = Lines::read(child.stdout.take().expect("it is piped"));
        let stderr = Lines::read(child.stderr.take().expect("it is piped"));
        let process = Process::child(child.id());
        Daemon {
            child,
            process,
            scratch: self.scratch.path().to_owned(),
            notify: socket,
            status: None,
            stdout,
            stderr,
        }
    }
}

/// How a daemon that ended by itself did so.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: Vec<String>,
    /// What it logged.
    pub stderr: Vec<String>,
}

impl Finished {
    /// The exit code; a signal fails the test.
    pub fn code(&self) -> i32 {
        let signal = self.status.signal();
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by signal {signal:?}: {self:#?}"))
    }

    /// The one line on standard error of a run that failed with this code.
    pub fn sentence(&self, code: i32) -> &str {
        assert_eq!(self.code(), code, "{self:#?}");
        let [line] = &self.stderr[..] else {
            panic!("one line on standard error was expected: {self:#?}");
        };
        line
    }
}

/// A daemon that was started. Dropping it ends it, in whatever state it is.
pub struct Daemon {
    child: Child,
    /// Its process.
    pub process: Process,
    scratch: PathBuf,
    notify: UnixDatagram,
    status: Option<ExitStatus>,
    /// What it prints.
    pub stdout: Lines,
    /// What it logs.
    pub stderr: Lines,
}

impl Daemon {
    /// Waits for `READY=1`.
    pub fn wait_until_ready(&self) {
        assert!(
            self.ready_or_ended(),
            "the daemon ended: {:#?}",
            self.stderr.finish()
        );
    }

    /// Waits for `READY=1` or the daemon's end; says whether it is ready.
    pub fn ready_or_ended(&self) -> bool {
        self.notify
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a timeout can be set");
        let mut buffer = [0; 4096];
        wait_for("the daemon says READY=1", PATIENCE, || {
            let alive = self.process.alive();
            let ready = self.notify.recv(&mut buffer).is_ok_and(|len| {
                buffer[..len]
                    .split(|byte| *byte == b'\n')
                    .any(|line| line == b"READY=1")
            });
            if ready {
                Some(true)
            } else if alive {
                None
            } else {
                Some(false)
            }
        })
    }

    /// The daemon's hand, waited for.
    pub fn hand(&self) -> Process {
        wait_for("the daemon has a hand", PATIENCE, || self.process.hand())
    }

    /// Sends a signal to the daemon alone.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it as an administrator does, and expects it to go in peace.
    pub fn stop(&mut self) {
        self.stop_by(Signal::TERM);
    }

    /// Ends it by a signal that it handles, and expects exit status 0.
    pub fn stop_by(&mut self, signal: Signal) {
        self.signal(signal);
        let status = self.wait_for_end(PATIENCE);
        assert!(
            status.success(),
            "after {signal:?}: {status}: {:#?}",
            self.stderr.finish()
        );
    }

    /// Ends it by SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait_for_end(PATIENCE);
    }

    /// Waits until it has ended. Its parent reaps it here and nowhere else.
    pub fn wait_for_end(&mut self, patience: Duration) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        let scratch = self.scratch.clone();
        let child = &mut self.child;
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.status = Some(status);
                return status;
            }
            assert!(
                Instant::now() < end,
                "the daemon did not end in {patience:?}: {:#?}, {:#?}",
                super::process::of_scratch(&scratch)
                    .into_iter()
                    .map(super::process::describe)
                    .collect::<Vec<_>>(),
                self.stderr.all(),
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a line on standard error.
    pub fn wait_for_line(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        self.stderr.wait_for(what, matches)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.status.is_none() {
            // A stopped daemon takes no signal but this one. What it leaves, the scratch folder's
            // own end sees.
            self.signal(Signal::KILL);
            if thread::panicking() {
                for line in self.stderr.all() {
                    println!("daemon: {line}");
                }
                let end = Instant::now() + PATIENCE;
                while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
                    thread::sleep(Duration::from_millis(2));
                }
            } else {
                self.wait_for_end(PATIENCE);
            }
        }
    }
}

/// A stream's lines, collected while they come.
#[derive(Clone)]
pub struct Lines(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects a stream's lines until its end.
    pub fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let shared = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                shared.lock().lines.push(line);
                shared.0.1.notify_all();
            }
            shared.lock().ended = true;
            shared.0.1.notify_all();
        });
        lines
    }

    /// The lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// How many of the lines so far match.
    pub fn count(&self, matches: impl Fn(&str) -> bool) -> usize {
        self.lock()
            .lines
            .iter()
            .filter(|line| matches(line))
            .count()
    }

    /// Waits for a line.
    pub fn wait_for(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        self.wait_nth(0, what, matches)
    }

    /// Waits for the line with this number, from 0, among those that match.
    pub fn wait_nth(&self, number: usize, what: &str, matches: impl Fn(&str) -> bool) -> String {
        self.wait(what, |lines| {
            let mut matching = lines.iter().filter(|line| matches(line));
            matching.nth(number).cloned()
        })
    }

    /// Waits for a line from a position on.
    pub fn wait_past(&self, start: usize, what: &str, matches: impl Fn(&str) -> bool) -> String {
        self.wait(what, |lines| {
            let mut later = lines.iter().skip(start);
            later.find(|line| matches(line)).cloned()
        })
    }

    fn wait<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let (collected, _) = self
            .0
            .1
            .wait_timeout_while(self.lock(), PATIENCE, |collected| {
                find(&collected.lines).is_none() && !collected.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        find(&collected.lines)
            .unwrap_or_else(|| panic!("no line came: {what}; these did: {:#?}", collected.lines))
    }

    /// All lines, once whoever writes them has gone.
    pub fn finish(&self) -> Vec<String> {
        let (collected, _) = self
            .0
            .1
            .wait_timeout_while(self.lock(), PATIENCE, |collected| !collected.ended)
            .unwrap_or_else(PoisonError::into_inner);
        collected.lines.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `livemount mount [OPTIONS] SOURCE MOUNTPOINT`, ready.
pub fn mount(scratch: &Scratch, options: &[&str], source: &Path, mountpoint: &Path) -> Daemon {
    Launch::mount(scratch)
        .args(options)
        .arg(source)
        .arg(mountpoint)
        .start()
}
