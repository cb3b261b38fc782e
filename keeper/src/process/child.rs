//! A child that is started again whenever it ends, later each time while it does not live.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Also how long one has to live to be taken for well.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Restarted {
    what: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
    running: Option<Running>,
    shortest: Duration,
    pause: Duration,
    /// Not before.
    next: Instant,
}

struct Running {
    child: Child,
    /// None where the machine gave none: then its end is seen at the next look, whatever causes that.
    pidfd: Option<OwnedFd>,
    begun: Instant,
}

impl Restarted {
    pub fn hand(program: &Path, args: Vec<OsString>) -> Self {
        Self::new("hand", program, args, Duration::from_millis(10))
    }

    pub fn caretaker(program: &Path, args: Vec<OsString>) -> Self {
        Self::new("caretaker", program, args, Duration::from_millis(200))
    }

    fn new(what: &'static str, program: &Path, args: Vec<OsString>, shortest: Duration) -> Self {
        Self {
            what,
            program: program.to_owned(),
            args,
            running: None,
            shortest,
            pause: shortest,
            next: Instant::now(),
        }
    }

    /// When it can be started, where it is not running.
    pub fn due(&self) -> Option<Instant> {
        self.running.is_none().then_some(self.next)
    }

    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref()?.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// It was not needed for a while, so its last failures are old.
    pub fn forgive(&mut self, now: Instant) {
        self.pause = self.shortest;
        self.next = self.next.min(now);
    }

    /// Reaps one that has ended, and starts another where it is due and time. One that has ended when nobody
    /// needed it has not failed.
    pub fn attend(&mut self, now: Instant, is_needed: bool, is_due: bool) {
        self.reap(now, is_needed);
        if is_due && self.running.is_none() && self.next <= now {
            self.start(now);
        }
    }

    fn reap(&mut self, now: Instant, is_needed: bool) {
        let Some(running) = &mut self.running else {
            return;
        };
        let status = match running.child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let lived = now.saturating_duration_since(running.begun);
        self.running = None;
        let lived_ms = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
        if is_needed {
            tracing::warn!(status, lived_ms, "the {} ended", self.what);
        } else {
            tracing::info!(status, lived_ms, "the {} ended", self.what);
        }
        if !is_needed || lived >= LONGEST_PAUSE {
            self.pause = self.shortest;
        }
        if is_needed {
            self.later(now);
        }
    }

    fn start(&mut self, now: Instant) {
        let mut command = Command::new(&self.program);
        let spawned = command.args(&self.args).stdin(Stdio::null()).spawn();
        match spawned {
            Ok(child) => {
                tracing::info!(pid = child.id(), "the {} is started", self.what);
                let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                let begun = now;
                self.running = Some(Running {
                    child,
                    pidfd,
                    begun,
                });
            }
            Err(error) => {
                tracing::error!(%error, "the {} cannot be started", self.what);
                self.later(now);
            }
        }
    }

    fn later(&mut self, now: Instant) {
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Ends it for good. It is not waited for: one that is stuck in the kernel would keep us.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _gone = running.child.kill();
        }
    }
}
