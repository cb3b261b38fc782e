//! What each role does with a mount, and what it expects of it.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::load::{Report, Role};
use crate::sealed::{CHANGING, MAPPED, SAME, check, version_of};

/// Within how long a reader must be done for its size to be promised: the drain's own bound.
const DRAIN: Duration = Duration::from_millis(250);
/// How many handles are kept, and how long each round of looking at them waits.
const HELD: usize = 8;

/// One who uses the mount.
pub struct Reader {
    folder: PathBuf,
    role: Role,
    rounds: usize,
    newest: HashMap<&'static str, u64>,
    held: VecDeque<(File, Vec<u8>)>,
}

impl Reader {
    pub fn new(folder: PathBuf, role: Role) -> Self {
        Self {
            folder,
            role,
            rounds: 0,
            newest: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    pub fn round(&mut self, report: &mut Report) {
        self.rounds += 1;
        let name = CHANGING[self.rounds % CHANGING.len()].0;
        match self.role {
            Role::Whole | Role::Pieces | Role::Sendfile => self.read(name, report),
            Role::Map => self.map(report),
            Role::List => self.list(report),
            Role::Hold => self.hold(report),
            Role::Snapshot => self.snapshot(report),
        }
    }

    /// What a strict reader does: the size by fstat, then that many bytes, as far as there are any.
    fn read(&mut self, name: &'static str, report: &mut Report) {
        let began = Instant::now();
        let opened = File::open(self.folder.join(name));
        let Some(mut file) = report.tried("open", opened) else {
            return;
        };
        let Some(size) = report.tried("fstat", file.metadata().map(|meta| meta.len())) else {
            return;
        };
        let mut bytes = vec![0; usize::try_from(size).expect("a small file")];
        let got = match self.role {
            Role::Sendfile => fill(&mut bytes, |part, _| through_a_pipe(&file, part)),
            Role::Pieces => fill(&mut bytes, |part, _| {
                let most = part.len().min(1_237);
                file.read(&mut part[..most])
            }),
            _ => fill(&mut bytes, |part, _| file.read(part)),
        };
        let Some(got) = report.tried("read", got) else {
            return;
        };
        drop(file);
        let slow = began.elapsed() >= DRAIN;
        self.judge(name, &bytes[..got], bytes.len(), slow, report);
    }

    fn judge(
        &mut self,
        name: &'static str,
        bytes: &[u8],
        size: usize,
        slow: bool,
        report: &mut Report,
    ) {
        match check(bytes) {
            Ok(version) if bytes.len() == size => {
                let newest = self.newest.entry(name).or_default();
                if version < *newest {
                    let role = self.role;
                    report
                        .bad
                        .push(format!("{role:?} {name}: {version} after {newest}"));
                }
                *newest = version.max(*newest);
            }
            // Bytes of one version, whatever size was told; or cut short by it.
            _ if slow => report.slow += 1,
            wrong => report.bad.push(format!(
                "{:?} {name}: size {size}, {} read: {wrong:?}",
                self.role,
                bytes.len()
            )),
        }
    }

    fn map(&mut self, report: &mut Report) {
        let opened = File::open(self.folder.join(MAPPED));
        let Some(file) = report.tried("open", opened) else {
            return;
        };
        let Some(size) = report.tried("fstat", file.metadata().map(|meta| meta.len())) else {
            return;
        };
        let len = usize::try_from(size).expect("a small file");
        // SAFETY: a new mapping at a place of the kernel's choice.
        let mapped = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        let Some(start) = report.tried("map", mapped.map_err(io::Error::from)) else {
            return;
        };
        let mut sum = 0_u64;
        for at in (0..len).step_by(4096) {
            // SAFETY: within the mapping, whose file never becomes shorter. The bytes may change at any
            // time, hence a volatile read.
            sum += u64::from(unsafe { start.cast::<u8>().add(at).read_volatile() });
        }
        std::hint::black_box(sum);
        // SAFETY: nothing refers to the mapping any more.
        report.tried(
            "unmap",
            unsafe { munmap(start, len) }.map_err(io::Error::from),
        );
    }

    fn list(&mut self, report: &mut Report) {
        let names = fs::read_dir(&self.folder).and_then(|lines| {
            lines
                .map(|line| Ok(line?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<String>>>()
        });
        if let Some(mut names) = report.tried("readdir", names) {
            names.sort();
            let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
            let here = |name: &&str| {
                names
                    .binary_search_by(|known| known.as_str().cmp(name))
                    .is_ok()
            };
            let stay = CHANGING.map(|(name, _)| name);
            if twice || !stay.iter().chain([&SAME]).all(here) {
                report.bad.push(format!("listed {names:?}"));
            }
        }
        for (name, _) in CHANGING {
            report.tried("stat", fs::metadata(self.folder.join(name)).map(drop));
        }
    }

    /// Opens one more, reads all that are kept, and lets the oldest go.
    fn hold(&mut self, report: &mut Report) {
        let opened = File::open(self.folder.join("a"));
        if let Some(file) = report.tried("open", opened)
            && let Some(bytes) = report.tried("read", whole(&file))
        {
            if let Err(wrong) = check(&bytes) {
                report.bad.push(format!("a handle's first read: {wrong}"));
            }
            self.held.push_back((file, bytes));
        }
        let again = Instant::now() + Duration::from_millis(100);
        while Instant::now() < again {
            for (file, bytes) in &self.held {
                if let Some(now) = report.tried("read", whole(file))
                    && now != *bytes
                {
                    let (was, is) = (check(bytes), check(&now));
                    report
                        .bad
                        .push(format!("a kept handle read {was:?}, now {is:?}"));
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.held.len() > HELD {
            self.held.pop_front();
        }
    }

    fn snapshot(&mut self, report: &mut Report) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(self.folder.join("..data"), flags, Mode::empty());
        let Some(folder) = report.tried("open ..data", opened.map_err(io::Error::from)) else {
            return;
        };
        let mut read = |name: &str| {
            let file = openat(
                &folder,
                name,
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            );
            let file = report.tried("openat", file.map_err(io::Error::from))?;
            let bytes = report.tried("read", whole(&File::from(file)))?;
            Some(check(&bytes))
        };
        let (Some(a), Some(b)) = (read("a"), read("b")) else {
            return;
        };
        let one = matches!((&a, &b), (Ok(a), Ok(b)) if version_of("b", *a) == *b);
        if !one {
            report.bad.push(format!("..data: a {a:?}, b {b:?}"));
        }
    }
}

/// All bytes of a handle, whatever its size is said to be.
fn whole(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 128 << 10];
    let got = fill(&mut bytes, |part, at| file.read_at(part, at as u64))?;
    bytes.truncate(got);
    Ok(bytes)
}

fn through_a_pipe(file: &File, part: &mut [u8]) -> io::Result<usize> {
    let (mut out, input) = io::pipe()?;
    let most = part.len().min(1 << 15);
    let sent = rustix::fs::sendfile(&input, file, None, most)?;
    out.read_exact(&mut part[..sent])?;
    Ok(sent)
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
