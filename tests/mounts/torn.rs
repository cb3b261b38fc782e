//! Promises 3 and 4 under load: readers that open, `fstat` and read exactly that many bytes, while a
//! writer commits as fast as it can. Every content carries its length and a checksum, so a mix of two
//! versions or a size of another one is seen.
//!
//! A reader stamps its own time. Within the drain's bound nothing may be wrong. A slower `read` must
//! still be bytes of one version, but its size may be another's; a slower `sendfile` may mix two and
//! is only counted (docs/SEMANTICS.md says so).

use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use livemount::publish::Settings;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::support::scratch::Scratch;
use crate::support::served::{Served, Tree, again, read_frame, stdin, write_frame};

const FILES: [&str; 3] = ["a", "b", "dir/c"];
const BOUND: Duration = Duration::from_millis(250);
/// Length and checksum before the body.
const HEADER: usize = 16;

/// A reader that a test starts as a process of its own.
#[test]
#[ignore = "a reader that the other tests start; not a test"]
fn reader() {
    let mut socket = stdin();
    while let Some(task) = read_frame::<Task>(&mut socket) {
        write_frame(&mut socket, &task.run());
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum How {
    /// One read of the whole size.
    Whole,
    /// Reads in odd pieces.
    Pieces,
    /// Positioned reads from the end to the start.
    Backwards,
    /// Through the page cache.
    Sendfile,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    folder: PathBuf,
    how: How,
    reads: u32,
}

/// What a reader saw. `bad` is what must not be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Report {
    reads: u32,
    /// Longer than the bound.
    slow: u32,
    /// Of those, with a size that is not its bytes': allowed.
    slow_other_size: u32,
    /// Of those, by sendfile and mixed: allowed.
    slow_mixed: u32,
    /// How often a file was seen changed.
    changes: u32,
    bad: Vec<String>,
}

/// A content that can be told from every other, and from a part of it.
fn content(version: u64, file: usize) -> Vec<u8> {
    // Sizes grow and shrink, across pages and requests.
    let size =
        [64, 5_000, 300, 70_000, 4_096, 1, 12_345][usize::try_from(version).expect("small") % 7];
    let seed = version * 31 + file as u64;
    let mut body = Vec::with_capacity(size + 8);
    body.extend_from_slice(&seed.to_le_bytes());
    body.extend((0..size).map(|at| (seed.wrapping_mul(at as u64 | 1) >> 3).to_le_bytes()[0]));
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(&(HEADER as u64 + body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&sum(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn sum(body: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    hasher.finish()
}

/// Whether these are all bytes of one version; otherwise what is wrong.
fn check(bytes: &[u8]) -> Result<u64, String> {
    let Some((header, body)) = bytes.split_at_checked(HEADER) else {
        return Err(format!("{} bytes", bytes.len()));
    };
    let number = |at: usize| u64::from_le_bytes(header[at..][..8].try_into().expect("8 bytes"));
    if number(0) != bytes.len() as u64 {
        return Err(format!("{} bytes of {}", bytes.len(), number(0)));
    }
    if number(8) != sum(body) {
        return Err("a mix".into());
    }
    Ok(u64::from_le_bytes(body[..8].try_into().expect("8 bytes")))
}

impl Task {
    fn run(&self) -> Report {
        let mut report = Report::default();
        let mut last = [None; FILES.len()];
        let files = FILES.map(|name| self.folder.join(name));
        for round in 0..self.reads {
            let file = round as usize % files.len();
            let path = &files[file];
            let began = Instant::now();
            let (size, bytes) = self.read(path).unwrap_or_else(|error| {
                panic!("{}: {error}", path.display());
            });
            let slow = began.elapsed() >= BOUND;
            report.reads += 1;
            report.slow += u32::from(slow);
            self.judge(&mut report, slow, size, &bytes, &mut last[file]);
        }
        report
    }

    fn judge(
        &self,
        report: &mut Report,
        slow: bool,
        size: usize,
        bytes: &[u8],
        last: &mut Option<u64>,
    ) {
        let whole = check(&bytes[..size.min(bytes.len())]);
        match whole {
            Ok(seed) if bytes.len() == size => {
                report.changes += u32::from(*last != Some(seed));
                *last = Some(seed);
            }
            _ if !slow => report.bad.push(format!(
                "{:?}: size {size}, {} read: {whole:?}",
                self.how,
                bytes.len()
            )),
            // What was read belongs to one version, whatever size was told.
            _ if check(bytes).is_ok() => report.slow_other_size += 1,
            _ if matches!(self.how, How::Sendfile) => report.slow_mixed += 1,
            // Cut short by a size that was told too small: as far as it goes it is one version's.
            _ if bytes.len() == size => report.slow_other_size += 1,
            _ => report.bad.push(format!(
                "slow {:?}: size {size}, {} read",
                self.how,
                bytes.len()
            )),
        }
    }

    /// What a strict reader does: the size by fstat, then that many bytes, as far as there are any.
    fn read(&self, path: &Path) -> io::Result<(usize, Vec<u8>)> {
        let mut file = File::open(path)?;
        let size = usize::try_from(file.metadata()?.len()).expect("a small file");
        let mut bytes = vec![0; size];
        let mut got = 0;
        match self.how {
            How::Whole => got = fill(&mut bytes, |part, _| file.read(part))?,
            How::Pieces => {
                got = fill(&mut bytes, |part, _| {
                    let most = part.len().min(1_237);
                    file.read(&mut part[..most])
                })?;
            }
            How::Backwards => {
                let mut end = size;
                while end > 0 {
                    let start = end.saturating_sub(4_999);
                    got += fill(&mut bytes[start..end], |part, at| {
                        file.read_at(part, (start + at) as u64)
                    })?;
                    end = start;
                }
            }
            How::Sendfile => {
                let (mut out, input) = io::pipe()?;
                got = fill(&mut bytes, |part, _| {
                    let most = part.len().min(1 << 15);
                    let sent = rustix::fs::sendfile(&input, &file, None, most)?;
                    out.read_exact(&mut part[..sent])?;
                    Ok(sent)
                })?;
            }
        }
        bytes.truncate(got);
        Ok((size, bytes))
    }
}

fn fill(
    bytes: &mut [u8],
    mut read: impl FnMut(&mut [u8], usize) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match read(&mut bytes[at..], at)? {
            0 => break,
            got => at += got,
        }
    }
    Ok(at)
}

/// A reader's process.
struct Reader {
    child: Child,
    socket: UnixStream,
}

impl Reader {
    fn start(scratch: &Scratch) -> Self {
        let arguments = ["torn::reader", "--exact", "--ignored", "--nocapture"];
        let (child, socket) = again(scratch.path(), &arguments);
        // A throttled reader takes its time; the scratch folder's watchdog bounds the whole test.
        socket.set_read_timeout(None).expect("no timeout");
        Self { child, socket }
    }

    fn run(&mut self, task: &Task) -> Report {
        write_frame(&mut self.socket, task);
        read_frame(&mut self.socket).expect("the reader reports")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs readers in processes of their own against a volume that changes all the time, and adds up
/// what they saw.
fn readers_against_a_writer(
    readers: &mut [Reader],
    reads: u32,
    scratch: &Scratch,
    settings: Settings,
) -> Report {
    let path = scratch.join("v");
    let tree = |version: u64| -> Tree {
        let files = FILES.iter().enumerate();
        files
            .map(|(file, name)| ((*name).to_owned(), (content(version, file), 0o644)))
            .collect()
    };
    let mut served = Served::in_test(scratch.path());
    served.publish_with("v", &path, &tree(0), settings, None);
    let done = AtomicBool::new(false);
    let mut total = Report::default();
    let mut commits = 0_u64;
    std::thread::scope(|scope| {
        let hows = [How::Whole, How::Pieces, How::Backwards, How::Sendfile];
        let running: Vec<_> = readers
            .iter_mut()
            .zip(hows.into_iter().cycle())
            .map(|(reader, how)| {
                let task = Task {
                    folder: path.clone(),
                    how,
                    reads,
                };
                scope.spawn(move || reader.run(&task))
            })
            .collect();
        let writer = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                commits += 1;
                served.commit("v", &tree(commits));
            }
        });
        for reader in running {
            let report = reader.join().expect("a reader ends");
            total.reads += report.reads;
            total.slow += report.slow;
            total.slow_other_size += report.slow_other_size;
            total.slow_mixed += report.slow_mixed;
            total.changes += report.changes;
            total.bad.extend(report.bad);
        }
        done.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends");
    });
    println!(
        "{commits} commits, {} reads, {} slow ({} of another size, {} mixed by sendfile), {} changes seen, {} bad",
        total.reads,
        total.slow,
        total.slow_other_size,
        total.slow_mixed,
        total.changes,
        total.bad.len()
    );
    assert!(commits > 10, "the writer did commit");
    assert!(total.changes > 10, "the readers did see changes");
    total
}

#[test]
fn promises_3_and_4_no_read_is_torn() {
    let scratch = Scratch::new();
    let mut readers: Vec<_> = (0..4).map(|_| Reader::start(&scratch)).collect();
    let total = readers_against_a_writer(&mut readers, 50_000, &scratch, Settings::default());
    assert_eq!(total.reads, 200_000);
    assert!(
        total.bad.is_empty(),
        "{:#?}",
        &total.bad[..total.bad.len().min(10)]
    );
}

#[test]
fn promises_3_and_4_no_read_is_torn_by_readers_in_a_cpu_quota() {
    let scratch = Scratch::new();
    let mut readers: Vec<_> = (0..4).map(|_| Reader::start(&scratch)).collect();
    let quotas: Vec<Quota> = readers
        .iter()
        .map(|reader| Quota::of(reader.child.id()))
        .collect();
    let total = readers_against_a_writer(&mut readers, 1_000, &scratch, Settings::default());
    drop(readers);
    drop(quotas);
    assert_eq!(total.reads, 4_000);
    assert!(
        total.bad.is_empty(),
        "{:#?}",
        &total.bad[..total.bad.len().min(10)]
    );
}

#[test]
fn without_the_drain_sizes_do_go_wrong() {
    // The two tests above are worth something only if they see what they look for.
    let scratch = Scratch::new();
    let mut readers: Vec<_> = (0..4).map(|_| Reader::start(&scratch)).collect();
    let none = Settings {
        drain: Duration::ZERO,
        ..Settings::default()
    };
    let total = readers_against_a_writer(&mut readers, 10_000, &scratch, none);
    assert!(
        !total.bad.is_empty(),
        "a drain of 0 should let some sizes go wrong"
    );
}

/// A CPU quota of 5 ms in 100 ms for one process, as a pod's limit makes it; gone with its value.
struct Quota {
    folder: PathBuf,
}

impl Quota {
    fn of(pid: u32) -> Self {
        let name = format!("livemount-test-{pid}");
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let write = |path: PathBuf, text: &str| {
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        };
        let folder = if v1.join("cpu.cfs_quota_us").exists() || v1.join("tasks").exists() {
            let folder = v1.join(name);
            fs::create_dir(&folder).expect("a cgroup can be made");
            write(folder.join("cpu.cfs_period_us"), "100000");
            write(folder.join("cpu.cfs_quota_us"), "5000");
            write(folder.join("tasks"), &pid.to_string());
            folder
        } else {
            let v2 = Path::new("/sys/fs/cgroup");
            write(v2.join("cgroup.subtree_control"), "+cpu");
            let folder = v2.join(name);
            fs::create_dir(&folder).expect("a cgroup can be made");
            write(folder.join("cpu.max"), "5000 100000");
            write(folder.join("cgroup.procs"), &pid.to_string());
            folder
        };
        Self { folder }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Its process may take a moment to leave.
        crate::support::wait_until("the cgroup is empty", crate::support::PATIENCE, || {
            fs::remove_dir(&self.folder).is_ok()
        });
    }
}
