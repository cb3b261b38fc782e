//! What a restart costs those who read, and what it costs to be ready for one.
//!
//! These machines are shared and noisy: each figure is the middle of several rounds with the worst beside
//! it, and what is compared is measured turn by turn in one run. A goal that is missed is said; nothing
//! here fails. The daemon is a process of its own, because a daemon must not touch its own mounts and a
//! benchmark must; all run in namespaces of their own, so that nothing is left.
//!
//! `cargo bench --bench restart restarts`, `commits` or `reads` measures a part.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;
use support::daemon::{Daemon, Launch};
use support::process::Process;
use support::scratch::Scratch;
use support::served::{Served, Tree, monotonic};
use support::{PATIENCE, apart, wait_for};

const KIB4: usize = 4 << 10;
/// Says that this process is in namespaces of its own.
const INSIDE: &str = "LIVEMOUNT_BENCH_INSIDE";

fn main() {
    // `cargo bench` adds arguments of its own.
    if std::env::args().any(|argument| argument == "served") {
        return support::served::main();
    }
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    if std::env::var_os(INSIDE).is_none() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let status = apart::run(&words, (INSIDE, "1"), |line| println!("{line}"));
        assert!(status.success(), "{status}");
        return;
    }
    let wanted = |what: &str| words.is_empty() || words.iter().any(|word| word == what);
    if wanted("restarts") {
        println!(
            "\n| volumes | who comes | end to first read | worst | end to last read | worst | kill to end | goal |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        let memory = [1, 100, 1000].map(restarts);
        println!("\n| volumes | keeper | hand | caretaker |");
        println!("|---|---|---|---|");
        for line in memory {
            println!("{line}");
        }
    }
    println!("\n| what | without p50 | p99 | with p50 | p99 | ratio p50 | goal |");
    println!("|---|---|---|---|---|---|---|");
    if wanted("commits") {
        commits();
    }
    if wanted("reads") {
        reads();
    }
    println!();
}

/// A keeper with its hand, and a place for mounts.
struct House {
    keeper: Daemon,
    scratch: Scratch,
}

impl House {
    fn new() -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("mounts")).expect("a folder");
        let keeper = Launch::bare(&scratch)
            .args(&["keep", "--dir"])
            .arg(scratch.join("keeper"))
            .arg("--root")
            .arg(scratch.join("mounts"))
            .spawn();
        Self { keeper, scratch }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.join("mounts").join(name)
    }

    /// A daemon that is about to be.
    fn begin(&self, resend: bool) -> Served {
        let folder = self.scratch.join("keeper");
        Served::begin_kept(self.scratch.path(), &["served"], &folder, resend)
    }

    fn daemon(&self, resend: bool) -> Served {
        let mut daemon = self.begin(resend);
        daemon.wait_until_ready();
        daemon
    }

    /// All volumes go, so that the keeper may.
    fn end(mut self, mut daemon: Served, volumes: impl Iterator<Item = String>) {
        for volume in volumes {
            daemon.unpublish(&volume);
        }
        drop(daemon);
        self.keeper.stop();
    }
}

fn tree(byte: u8) -> Tree {
    Tree::from([("a".to_owned(), (vec![byte; KIB4], 0o644))])
}

/// How long reads took, in nanoseconds.
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        Self(Histogram::new(3).expect("three digits"))
    }

    fn add(&mut self, nanoseconds: u64) {
        self.0.record(nanoseconds).expect("a time");
    }

    fn p(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }
}

fn show(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{:.1} µs", time.as_secs_f64() * 1e6)
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

/// From a daemon's end to the first and the last answered read, and what all need of memory.
fn restarts(volumes: usize) -> String {
    const ROUNDS: usize = 7;
    let house = House::new();
    let mut daemon = house.daemon(true);
    let names: Vec<String> = (0..volumes).map(|number| format!("v{number}")).collect();
    for name in &names {
        daemon.publish(name, &house.at(name), &tree(b'x'));
        fs::read(house.at(name).join("a")).expect("reads");
    }
    let mut memory = None;
    for caretaken in [false, true] {
        let [mut first, mut last, mut dying] = [Times::new(), Times::new(), Times::new()];
        for _ in 0..ROUNDS {
            let paths: Vec<PathBuf> = names.iter().map(|name| house.at(name).join("a")).collect();
            let mut next = None;
            let killed = monotonic();
            let mut ended = killed;
            let read = reads_after(&paths, || {
                drop(daemon);
                ended = monotonic();
                if !caretaken {
                    next = Some(house.begin(true));
                }
            });
            // The keeper may have seen the end before this process did.
            let since = |at: Option<&u64>| at.expect("one read").saturating_sub(ended);
            first.add(since(read.iter().min()));
            last.add(since(read.iter().max()));
            dying.add(ended - killed);
            if caretaken {
                memory.get_or_insert_with(|| told(volumes, &house));
            }
            let mut next = next.unwrap_or_else(|| house.begin(true));
            next.wait_until_ready();
            daemon = next;
        }
        // Before a caretaker comes, the keeper waits 200 ms for a daemon, unless daemons keep dying.
        let goal = match (volumes, caretaken) {
            (1000, false) => Some((100, 1000)),
            (1000, true) => Some((300, 1200)),
            _ => None,
        };
        let goal = goal.map_or(String::new(), |(one, all)| {
            let met = first.p(0.5) <= Duration::from_millis(one)
                && last.p(0.5) <= Duration::from_millis(all);
            let met = if met { "met" } else { "MISSED" };
            format!("first ≤ {one} ms, last ≤ {all} ms: {met}")
        });
        println!(
            "| {volumes} | {} | {} | {} | {} | {} | {} | {goal} |",
            if caretaken { "caretaker" } else { "daemon" },
            show(first.p(0.5)),
            show(first.p(1.0)),
            show(last.p(0.5)),
            show(last.p(1.0)),
            show(dying.p(0.5)),
        );
    }
    house.end(daemon, names.into_iter());
    memory.unwrap_or_default()
}

/// Reads each file once, all at the same time, after `kill`; says when each read was done.
fn reads_after(paths: &[PathBuf], kill: impl FnOnce()) -> Vec<u64> {
    const STACK: usize = 64 << 10;
    let killed = Barrier::new(paths.len() + 1);
    thread::scope(|scope| {
        let reading: Vec<_> = paths
            .iter()
            .map(|path| {
                let killed = &killed;
                let reading = thread::Builder::new().stack_size(STACK);
                let read = move || {
                    killed.wait();
                    fs::read(path).expect("it can be read");
                    monotonic()
                };
                reading.spawn_scoped(scope, read).expect("a thread")
            })
            .collect();
        kill();
        killed.wait();
        let done = reading.into_iter();
        done.map(|reading| reading.join().expect("it reads"))
            .collect()
    })
}

/// A line of the table of memory, while a caretaker serves.
fn told(volumes: usize, house: &House) -> String {
    let keeper = house.keeper.process;
    let child = |what: &'static str| {
        wait_for("a child of the keeper", PATIENCE, || {
            let children =
                keeper.children(|command| command.get(1).is_some_and(|word| word == what));
            children.first().copied()
        })
    };
    format!(
        "| {volumes} | {} | {} | {} |",
        memory(keeper),
        memory(child("hand")),
        memory(child("caretake"))
    )
}

fn memory(process: Process) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid));
    let status = status.expect("a process of ours");
    let field = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap_or("?").trim().to_owned()
    };
    format!("{}, {} of its own", field("VmRSS:"), field("RssAnon:"))
}

fn row(what: &str, without: &Times, with: &Times, goal: f64) {
    let ratio = with.p(0.5).as_secs_f64() / without.p(0.5).as_secs_f64();
    println!(
        "| {what} | {} | {} | {} | {} | {ratio:.2} | ≤ {goal}: {} |",
        show(without.p(0.5)),
        show(without.p(0.99)),
        show(with.p(0.5)),
        show(with.p(0.99)),
        if ratio <= goal { "met" } else { "MISSED" }
    );
}

/// What it costs a commit that its volume is kept.
fn commits() {
    let (house, plain) = (House::new(), Scratch::new());
    let mut kept = house.daemon(true);
    let mut unkept = Served::start(plain.path(), &["served"]);
    kept.publish("v", &house.at("v"), &tree(b'0'));
    unkept.publish("v", &plain.join("v"), &tree(b'0'));
    let mut times = [Times::new(), Times::new()];
    for round in 0..3000_u32 {
        let next = tree(round.to_le_bytes()[0]);
        for (daemon, times) in [&mut unkept, &mut kept].into_iter().zip(&mut times) {
            let began = daemon.offer("v", &next);
            daemon.settle("v");
            times.add(monotonic() - began);
        }
    }
    let [without, with] = times;
    row("a commit of one file, kept or not", &without, &with, 1.15);
    drop(unkept);
    house.end(kept, ["v".to_owned()].into_iter());
}

/// What it costs a read that the request in hand is kept, as it is for kernels before 6.9.
fn reads() {
    let houses = [House::new(), House::new()];
    let mut daemons = [houses[0].daemon(true), houses[1].daemon(false)];
    for (house, daemon) in houses.iter().zip(&mut daemons) {
        daemon.publish("v", &house.at("v"), &tree(b'x'));
    }
    let paths = [houses[0].at("v").join("a"), houses[1].at("v").join("a")];
    let whole = |path: &Path| {
        fs::read(path).expect("reads");
    };
    let [without, with] = by_turns(paths.each_ref().map(|path| move || whole(path)));
    row(
        "open, fstat, read, close of 4 KiB, the request in hand kept or not",
        &without,
        &with,
        1.02,
    );
    let files = paths
        .each_ref()
        .map(|path| File::open(path).expect("opens"));
    let part = |file: &File| {
        file.read_exact_at(&mut [0; KIB4], 0).expect("reads");
    };
    let [without, with] = by_turns(files.each_ref().map(|file| move || part(file)));
    row(
        "a pread of 4 KiB, the request in hand kept or not",
        &without,
        &with,
        1.02,
    );
    drop(files);
    for (house, daemon) in houses.into_iter().zip(daemons) {
        house.end(daemon, ["v".to_owned()].into_iter());
    }
}

/// The times of two works, which take turns.
#[allow(clippy::needless_pass_by_value)] // Made for this call.
fn by_turns(works: [impl Fn(); 2]) -> [Times; 2] {
    let mut times = [Times::new(), Times::new()];
    for round in 0..40_000 {
        for (work, times) in works.iter().zip(&mut times) {
            let began = monotonic();
            work();
            let took = monotonic() - began;
            // The first rounds warm caches up.
            if round >= 2_000 {
                times.add(took);
            }
        }
    }
    times
}
