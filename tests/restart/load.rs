//! The process of one who uses a mount: it does one thing again and again until it is told to stop, and
//! tells then what it saw.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::readers::Reader;
use crate::support::served::{monotonic, read_frame, stdin, write_frame};

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Open, fstat, one read of that size, close.
    Whole,
    /// The same, with reads in odd pieces.
    Pieces,
    /// The same through the page cache.
    Sendfile,
    /// Map, read each page, unmap.
    Map,
    /// List the folder, stat each file.
    List,
    /// Keep handles open over many versions, and read them again.
    Hold,
    /// Open `..data`, and read several files of that one version.
    Snapshot,
}

impl Role {
    /// Whether one round is what one request of a program waits for.
    pub fn is_short(self) -> bool {
        matches!(
            self,
            Self::Whole | Self::Pieces | Self::Sendfile | Self::Map | Self::List
        )
    }
}

/// What a process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub folder: PathBuf,
    pub role: Role,
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Say {
    /// It has done its task once.
    Started,
    /// It has stopped.
    Done(Box<Report>),
}

/// A system call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub step: String,
    pub errno: i32,
    /// When, by the monotonic clock.
    pub at: u64,
}

/// What somebody saw. `bad` is what must not be.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub role: Role,
    pub rounds: u64,
    /// Longer than the drain's bound, with a size that is not its bytes', or mixed by sendfile: allowed.
    pub slow: u32,
    /// Rounds of more than a millisecond: from when until when.
    pub waits: Vec<(u64, u64)>,
    pub failures: Vec<Failure>,
    pub bad: Vec<String>,
}

/// A round is noted from this on, in nanoseconds.
const NOTED: u64 = 1_000_000;

impl Report {
    fn of(role: Role) -> Self {
        Self {
            role,
            rounds: 0,
            slow: 0,
            waits: Vec::new(),
            failures: Vec::new(),
            bad: Vec::new(),
        }
    }

    /// What the same one saw at another mount.
    pub fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.slow += other.slow;
        self.waits.extend(other.waits);
        self.failures.extend(other.failures);
        self.bad.extend(other.bad);
    }

    /// What a step gave, unless it failed, which is noted.
    pub fn tried<T>(&mut self, step: &str, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failures.push(Failure {
                    step: step.to_owned(),
                    errno: error.raw_os_error().unwrap_or(0),
                    at: monotonic(),
                });
                None
            }
        }
    }
}

/// What the test `load` runs.
pub fn main() {
    let mut socket = stdin();
    let Some(Task { folder, role }) = read_frame::<Task>(&mut socket) else {
        return;
    };
    let stop = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let mut socket = socket.try_clone().expect("a socket can be shared");
        let stop = Arc::clone(&stop);
        move || {
            // A frame, or the end of whoever could send one.
            let _told = read_frame::<()>(&mut socket);
            stop.store(true, Ordering::Relaxed);
        }
    });
    let mut report = Report::of(role);
    let mut reader = Reader::new(folder, role);
    while !stop.load(Ordering::Relaxed) {
        let began = monotonic();
        reader.round(&mut report);
        let ended = monotonic();
        if ended - began >= NOTED {
            report.waits.push((began, ended));
        }
        report.rounds += 1;
        if report.rounds == 1 {
            write_frame(&mut socket, &Say::Started);
        }
    }
    write_frame(&mut socket, &Say::Done(Box::new(report)));
}
