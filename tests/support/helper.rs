//! Readers in processes of their own, for what a test's own threads must not do: wait for a daemon
//! that gets killed, or die of SIGBUS.
//!
//! The test binary starts itself again, asking for its test `helper` alone. That test is this
//! module's `main`, and does nothing unless a variable says what.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::daemon::{Lines, command};
use super::process::Process;
use super::scratch::Scratch;

const TASK: &str = "LIVEMOUNT_TEST_HELPER";
const READY: &str = "helper: ready";

/// What a helper does until it is ended or an error ends it.
#[derive(Clone, Copy, Debug)]
pub enum Task {
    /// Opens the file, reads it whole and closes it, again and again.
    Read,
    /// Opens the file and sends it to a pipe through the page cache, again and again.
    Sendfile,
    /// Maps the file and reads the map, again and again.
    Map,
    /// Opens the file, reads half of it and keeps it open.
    Stall,
}

impl Task {
    const ALL: [Self; 4] = [Self::Read, Self::Sendfile, Self::Map, Self::Stall];

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// A helper process. Dropping it ends it.
pub struct Helper {
    child: Child,
    /// Its process.
    pub process: Process,
}

impl Helper {
    /// Starts a helper and waits until it has done its task once.
    pub fn start(scratch: &Scratch, task: Task, file: &Path) -> Self {
        let mut child = command(scratch, std::env::current_exe().expect("this binary"))
            .args([
                "helper",
                "--exact",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(TASK, task.name())
            .env("FILE", file)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary can be started again");
        let process = Process::child(child.id());
        Lines::read(child.stdout.take().expect("it is piped"))
            .wait_for("the helper is ready", |line| line.contains(READY));
        Self { child, process }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // One that cannot die is seen by the scratch folder; waiting for it here would hang.
        for _ in 0..10_000 {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                _ => return,
            }
        }
    }
}

/// What the test `helper` of a test binary runs.
pub fn main() {
    let Ok(name) = std::env::var(TASK) else {
        return;
    };
    let task = Task::ALL
        .into_iter()
        .find(|task| task.name() == name)
        .expect("a known task");
    let path = std::env::var_os("FILE").expect("a file");
    let path = Path::new(&path);
    let mut told = false;
    loop {
        let done = match task {
            Task::Read => std::fs::read(path).map(drop),
            Task::Sendfile => sendfile(path),
            Task::Map => map(path),
            Task::Stall => stall(path),
        };
        if let Err(error) = done {
            println!("helper: ended: {error}");
            return;
        }
        if !told {
            println!("\n{READY}");
            std::io::stdout().flush().expect("standard output is open");
            told = true;
        }
    }
}

fn sendfile(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    let (mut out, input) = std::io::pipe()?;
    let reader = thread::spawn(move || {
        let mut sink = Vec::new();
        out.read_to_end(&mut sink).map(drop)
    });
    while rustix::fs::sendfile(&input, &file, None, 1 << 16)? > 0 {}
    drop(input);
    reader.join().expect("the pipe's reader does not panic")
}

fn map(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).expect("a file that fits in memory");
    if len == 0 {
        return Ok(());
    }
    // SAFETY: a new mapping at a place of the kernel's choice.
    let start = unsafe {
        mmap(
            std::ptr::null_mut(),
            len,
            ProtFlags::READ,
            MapFlags::SHARED,
            &file,
            0,
        )
    }?;
    let mut sum = 0_u64;
    for at in 0..len {
        // SAFETY: within the mapping. The bytes may change at any time, hence a volatile read; and
        // one beyond a shorter new end ends this process, as it ends any that maps such a file.
        sum += u64::from(unsafe { start.cast::<u8>().add(at).read_volatile() });
    }
    std::hint::black_box(sum);
    // SAFETY: nothing refers to the mapping any more.
    unsafe { munmap(start, len) }?;
    Ok(())
}

fn stall(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    let half = usize::try_from(file.metadata()?.len() / 2).expect("a file that fits in memory");
    file.read_exact_at(&mut vec![0; half], 0)?;
    println!("\n{READY}");
    std::io::stdout().flush()?;
    loop {
        thread::park();
    }
}
