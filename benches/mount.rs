//! What live files cost: each figure beside the same work on tmpfs, in one run on one machine.
//!
//! These machines are shared and noisy, so the ratio is the result and the time is its context. A goal
//! that is missed is said in the table; nothing here fails. The daemon is a process of its own, because
//! a daemon must not touch its own mounts and a benchmark must.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::fs::inotify::WatchFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use support::scratch::Scratch;
use support::served::{Served, Tree, monotonic};
use support::watch::Watch;

const KIB4: usize = 4 << 10;
const MIB: usize = 1 << 20;

fn main() {
    // `cargo bench` adds arguments of its own.
    if std::env::args().any(|argument| argument == "served") {
        support::served::main();
        return;
    }
    let bench = Bench::new();
    println!();
    println!("| what | p50 | p99 | tmpfs p50 | tmpfs p99 | ratio p50 | goal |");
    println!("|---|---|---|---|---|---|---|");
    bench.event();
    bench.commit_of_a_thousand();
    bench.reads();
    bench.mounts();
    println!();
    println!("| memory | daemon RSS | daemon anonymous | hand RSS | hand anonymous |");
    println!("|---|---|---|---|---|");
    for volumes in [1, 100] {
        bench.memory(volumes);
    }
    println!();
}

struct Bench {
    tmpfs: PathBuf,
    scratch: Scratch,
}

/// Times of one piece of work, in nanoseconds.
struct Times(Histogram<u64>);

impl Times {
    fn of(rounds: u32, mut work: impl FnMut(u32) -> u64) -> Self {
        let mut times = Histogram::new(3).expect("three digits");
        // The first rounds warm caches and threads up.
        for round in 0..rounds.div_ceil(10) {
            work(round);
        }
        for round in rounds.div_ceil(10)..rounds + rounds.div_ceil(10) {
            times.record(work(round)).expect("a time");
        }
        Self(times)
    }

    fn p(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }
}

/// How long a piece of work takes, in nanoseconds.
fn timed(work: impl FnOnce()) -> u64 {
    let began = monotonic();
    work();
    monotonic() - began
}

fn row(what: &str, live: &Times, tmpfs: &Times, goal: Option<(Duration, Duration)>) {
    let goal = goal.map_or(String::new(), |(p50, p99)| {
        let met = live.p(0.5) <= p50 && live.p(0.99) <= p99;
        format!(
            "p50 ≤ {}, p99 ≤ {}: {}",
            show(p50),
            show(p99),
            if met { "met" } else { "MISSED" }
        )
    });
    println!(
        "| {what} | {} | {} | {} | {} | {:.1} | {goal} |",
        show(live.p(0.5)),
        show(live.p(0.99)),
        show(tmpfs.p(0.5)),
        show(tmpfs.p(0.99)),
        live.p(0.5).as_secs_f64() / tmpfs.p(0.5).as_secs_f64()
    );
}

fn show(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{:.1} µs", time.as_secs_f64() * 1e6)
    } else {
        format!("{:.2} ms", time.as_secs_f64() * 1e3)
    }
}

fn one(name: &str, bytes: &[u8]) -> Tree {
    Tree::from([(name.to_owned(), (bytes.to_vec(), 0o644))])
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let tmpfs = scratch.join("tmpfs");
        fs::create_dir(&tmpfs).expect("a folder");
        mount("tmpfs", &tmpfs, "tmpfs", MountFlags::empty(), None).expect("a tmpfs");
        Self { tmpfs, scratch }
    }

    fn daemon(&self) -> Served {
        Served::start(self.scratch.path(), &["served"])
    }

    /// From the moment a new version is there to the moment a watcher has its MODIFY.
    fn event(&self) {
        let mut served = self.daemon();
        let path = self.scratch.join("event");
        served.publish("v", &path, &one("a", b"first"));
        let mut watch = Watch::one(&path.join("a"), WatchFlags::MODIFY);
        let live = Times::of(3000, |round| {
            let began = served.offer("v", &one("a", round.to_string().as_bytes()));
            watch.next_until("MODIFY", |event| event.is("MODIFY"));
            let took = monotonic() - began;
            served.settle("v");
            took
        });
        let file = self.tmpfs.join("event");
        fs::write(&file, "0").expect("tmpfs");
        let mut watch = Watch::one(&file, WatchFlags::MODIFY);
        let tmpfs = Times::of(3000, |round| {
            let began = monotonic();
            let mut file = File::options().write(true).open(&file).expect("tmpfs");
            write!(file, "{round}").expect("tmpfs");
            drop(file);
            watch.next_until("MODIFY", |event| event.is("MODIFY"));
            monotonic() - began
        });
        let goal = (Duration::from_millis(1), Duration::from_millis(5));
        row("version there → event seen", &live, &tmpfs, Some(goal));
    }

    fn commit_of_a_thousand(&self) {
        let mut served = self.daemon();
        let path = self.scratch.join("thousand");
        let tree = |round: u32| -> Tree {
            (0..1000)
                .map(|file| {
                    (
                        format!("f{file}"),
                        (format!("{file} {round}").into_bytes(), 0o644),
                    )
                })
                .collect()
        };
        served.publish("v", &path, &tree(u32::MAX));
        let live = Times::of(20, |round| {
            let began = served.offer("v", &tree(round));
            served.settle("v");
            monotonic() - began
        });
        let folder = self.tmpfs.join("thousand");
        fs::create_dir(&folder).expect("tmpfs");
        let tmpfs = Times::of(20, |round| {
            let tree = tree(round);
            timed(|| {
                for (name, (bytes, _)) in &tree {
                    fs::write(folder.join(name), bytes).expect("tmpfs");
                }
            })
        });
        row("commit of 1,000 changed files", &live, &tmpfs, None);
    }

    fn reads(&self) {
        let mut served = self.daemon();
        let path = self.scratch.join("reads");
        let mut tree = one("small", &vec![b'x'; KIB4]);
        tree.extend(one("large", &vec![b'x'; MIB]));
        served.publish("v", &path, &tree);
        for (name, (bytes, _)) in &tree {
            fs::write(self.tmpfs.join(name), bytes).expect("tmpfs");
        }
        let whole = |path: &Path, size: usize| {
            let mut buffer = vec![0; size];
            let path = path.to_owned();
            move || {
                File::open(&path)
                    .and_then(|mut file| file.read_exact(&mut buffer))
                    .expect("reads");
            }
        };
        let part = |path: &Path, size: usize| {
            let mut buffer = vec![0; size];
            let file = File::open(path).expect("opens");
            move || file.read_exact_at(&mut buffer, 0).expect("reads")
        };
        for (name, size, rounds) in [("small", KIB4, 20_000), ("large", MIB, 1000)] {
            let words = if size == MIB { "1 MiB" } else { "4 KiB" };
            let (live, tmpfs) = (path.join(name), self.tmpfs.join(name));
            let mut works: [Box<dyn FnMut()>; 2] =
                [Box::new(whole(&live, size)), Box::new(whole(&tmpfs, size))];
            let [l, t] = works
                .each_mut()
                .map(|work| Times::of(rounds, |_| timed(&mut *work)));
            row(&format!("open, read, close {words}"), &l, &t, None);
            let mut works: [Box<dyn FnMut()>; 2] =
                [Box::new(part(&live, size)), Box::new(part(&tmpfs, size))];
            let [l, t] = works
                .each_mut()
                .map(|work| Times::of(rounds, |_| timed(&mut *work)));
            row(&format!("pread {words}"), &l, &t, None);
        }
        let stat = |path: PathBuf| {
            Times::of(20_000, move |_| {
                timed(|| {
                    fs::metadata(&path).expect("stat");
                })
            })
        };
        let (live, tmpfs) = (stat(path.join("small")), stat(self.tmpfs.join("small")));
        row("stat", &live, &tmpfs, None);
    }

    /// A mount that can be read, beside a tmpfs with the same file.
    fn mounts(&self) {
        let mut served = self.daemon();
        let tree = one("a", &vec![b'x'; KIB4]);
        let live = Times::of(200, |round| {
            let name = format!("m{round}");
            let path = self.scratch.join(&name);
            let began = served.publish(&name, &path, &tree);
            fs::read(path.join("a")).expect("reads");
            let took = monotonic() - began;
            served.unpublish(&name);
            took
        });
        let path = self.scratch.join("m");
        fs::create_dir(&path).expect("a folder");
        let tmpfs = Times::of(200, |_| {
            let took = timed(|| {
                mount("tmpfs", &path, "tmpfs", MountFlags::empty(), None).expect("a tmpfs");
                fs::write(path.join("a"), &tree["a"].0).expect("tmpfs");
                fs::read(path.join("a")).expect("tmpfs");
            });
            unmount(&path, UnmountFlags::DETACH).expect("a tmpfs goes");
            took
        });
        row("mount + first commit", &live, &tmpfs, None);
    }

    fn memory(&self, volumes: u32) {
        let mut served = self.daemon();
        let tree = one("a", &vec![b'x'; KIB4]);
        for volume in 0..volumes {
            let name = format!("{volumes}-{volume}");
            let path = self.scratch.join(&name);
            served.publish(&name, &path, &tree);
            fs::read(path.join("a")).expect("reads");
            served.commit(&name, &one("a", &vec![b'y'; KIB4]));
        }
        let [daemon, hand] = [served.process, served.hand()].map(|process| {
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid));
            let status = status.expect("a process of ours");
            ["VmRSS:", "RssAnon:"].map(|field| {
                let line = status.lines().find_map(|line| line.strip_prefix(field));
                line.unwrap_or("?").trim().to_owned()
            })
        });
        println!(
            "| {volumes} volume{} | {} | {} | {} | {} |",
            if volumes == 1 { "" } else { "s" },
            daemon[0],
            daemon[1],
            hand[0],
            hand[1]
        );
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = unmount(&self.tmpfs, UnmountFlags::DETACH);
    }
}
