//! The smallest FUSE daemon that the hand can be tried on: a fixed tree, every change allowed, and
//! requests that can be held back.
//!
//! Numbers and layouts are those of linux/fuse.h.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

pub const LOOKUP: u32 = 1;
pub const GETATTR: u32 = 3;
pub const WRITE: u32 = 16;
const ROOT: u64 = 1;
const FILES: u64 = 2;
const STAGE: u64 = 3;
const FIRST_FILE: u64 = 10;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENOSYS: i32 = 38;
const RESEND: i32 = 7;

/// What the test sees and steers.
pub struct Seen {
    /// Names of the requests that change something, in their order.
    pub changes: Vec<&'static str>,
    /// Requests of this kind are not answered.
    pub hold: Option<u32>,
    /// Those that have come.
    held: Vec<u64>,
    fuse: Arc<OwnedFd>,
}

impl Seen {
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Holds nothing any more, and answers what was held with an error.
    pub fn release(&mut self) {
        self.hold = None;
        for unique in self.held.drain(..) {
            answer(&self.fuse, unique, Err(EIO));
        }
    }
}

/// Has the kernel send again what a dead process had read from the descriptor and not answered
/// (`FUSE_NOTIFY_RESEND`, Linux 6.9).
pub fn resend(fuse: &OwnedFd) {
    answer(fuse, 0, Err(-RESEND));
}

struct Server {
    fuse: Arc<OwnedFd>,
    /// Files are numbered from [`FIRST_FILE`] on; everything below is a directory.
    names: HashMap<(u64, Vec<u8>), u64>,
    seen: Arc<Mutex<Seen>>,
}

/// Serves `files/a`, `files/b` and `stage/n` on a thread, until the connection ends.
pub fn serve(fuse: OwnedFd) -> Arc<Mutex<Seen>> {
    serve_holding(fuse, None)
}

/// The same, not answering requests of kind `hold` from the first on.
pub fn serve_holding(fuse: OwnedFd, hold: Option<u32>) -> Arc<Mutex<Seen>> {
    let fuse = Arc::new(fuse);
    let seen = Seen {
        changes: Vec::new(),
        hold,
        held: Vec::new(),
        fuse: Arc::clone(&fuse),
    };
    let seen = Arc::new(Mutex::new(seen));
    let tree = [
        (ROOT, "files", FILES),
        (ROOT, "stage", STAGE),
        (FILES, "a", 10),
        (FILES, "b", 11),
        (STAGE, "n", 12),
    ];
    let names = tree
        .map(|(parent, name, node)| ((parent, name.as_bytes().to_vec()), node))
        .into();
    let mut server = Server {
        fuse,
        names,
        seen: Arc::clone(&seen),
    };
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 17];
        while let Ok(length) = rustix::io::read(&server.fuse, &mut buffer) {
            server.answer(&buffer[..length]);
        }
    });
    seen
}

impl Server {
    fn answer(&mut self, request: &[u8]) {
        let word =
            |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("four bytes"));
        let long =
            |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("eight bytes"));
        let (opcode, unique, node) = (word(4), long(8), long(16));
        let body = &request[40..];
        {
            let mut seen = self.seen.lock();
            if seen.hold == Some(opcode) {
                return seen.held.push(unique);
            }
        }
        let change = |name| self.seen.lock().changes.push(name);
        let outcome = match opcode {
            // FORGET, INTERRUPT and BATCH_FORGET have no answer.
            2 | 36 | 42 => return,
            LOOKUP => self
                .names
                .get(&(node, name(body)))
                .map(|found| entry(*found))
                .ok_or(ENOENT),
            GETATTR => Ok(attributes(node)),
            4 => {
                change("setattr");
                Ok(attributes(node))
            }
            10 | 11 => {
                change("remove");
                self.names
                    .remove(&(node, name(body)))
                    .map(|_| Vec::new())
                    .ok_or(ENOENT)
            }
            12 => {
                change("rename");
                self.rename(node, long(40), &body[8..])
            }
            14 => {
                if word(40) & 0o3 != 0 {
                    change("open");
                }
                Ok(vec![0; 16])
            }
            WRITE => {
                change("write");
                Ok([word(56), 0]
                    .iter()
                    .flat_map(|word| word.to_ne_bytes())
                    .collect())
            }
            17 => Ok(vec![0; 80]),
            26 => Ok(init()),
            // OPENDIR; READDIR says that there is nothing; RELEASE, FLUSH, RELEASEDIR.
            27 => Ok(vec![0; 16]),
            18 | 25 | 28 | 29 => Ok(Vec::new()),
            _ => Err(ENOSYS),
        };
        answer(&self.fuse, unique, outcome);
    }

    fn rename(&mut self, from: u64, to: u64, names: &[u8]) -> Result<Vec<u8>, i32> {
        let old = name(names);
        let new = name(&names[old.len() + 1..]);
        let node = self.names.remove(&(from, old)).ok_or(ENOENT)?;
        self.names.insert((to, new), node);
        Ok(Vec::new())
    }
}

fn answer(fuse: &OwnedFd, unique: u64, outcome: Result<Vec<u8>, i32>) {
    let (error, data) = match outcome {
        Ok(data) => (0, data),
        Err(errno) => (-errno, Vec::new()),
    };
    let length = u32::try_from(16 + data.len()).expect("short");
    let header = [
        &length.to_ne_bytes()[..],
        &i32::to_ne_bytes(error),
        &unique.to_ne_bytes(),
    ]
    .concat();
    // The request may have been aborted meanwhile.
    let _gone = rustix::io::write(fuse, &[header, data].concat());
}

/// A name ends with a NUL.
fn name(body: &[u8]) -> Vec<u8> {
    body.split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec()
}

/// Version 7.31, no flags, writes of 4 KiB.
fn init() -> Vec<u8> {
    let mut words = [0_u32; 16];
    (words[0], words[1], words[5], words[6]) = (7, 31, 4096, 1);
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Valid for a minute, as in the product: nothing asks twice unless it is made to.
fn attributes(node: u64) -> Vec<u8> {
    [60_u64.to_ne_bytes().to_vec(), vec![0; 8], attr(node)].concat()
}

fn entry(node: u64) -> Vec<u8> {
    let longs: Vec<u8> = [node, 0, 60, 60, 0]
        .iter()
        .flat_map(|long: &u64| long.to_ne_bytes())
        .collect();
    [longs, attr(node)].concat()
}

fn attr(node: u64) -> Vec<u8> {
    let (mode, size) = if node < FIRST_FILE {
        (0o040_755, 0)
    } else {
        (0o100_644, 3)
    };
    let longs: Vec<u8> = [node, size, 1, 0, 0, 0]
        .iter()
        .flat_map(|long: &u64| long.to_ne_bytes())
        .collect();
    let words: Vec<u8> = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0]
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect();
    [longs, words].concat()
}
