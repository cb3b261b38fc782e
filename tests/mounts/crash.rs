//! What kill -9 leaves: of the daemon at random moments, nothing at all; of the hand, a volume that
//! loses no byte and no event.
//!
//! Readers that would wait for a killed daemon are processes of their own. The seed of the random
//! moments is printed; see `support::random`.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::inotify::WatchFlags;
use rustix::process::Signal;

use crate::support::daemon::{self, Daemon};
use crate::support::helper::{Helper, Task};
use crate::support::manifest::Manifest;
use crate::support::process::{self, Process};
use crate::support::random::Random;
use crate::support::scratch::Scratch;
use crate::support::volume::Volume;
use crate::support::watch::Watch;
use crate::support::{PATIENCE, mounts, wait_until};

/// How long what a kill leaves may take to go. The goal is 2 s; a loaded machine gets more.
const GONE: Duration = Duration::from_secs(20);

/// A daemon that is to be killed, on one mountpoint, again and again.
struct Victim {
    manifest: Manifest,
    version: u64,
    target: PathBuf,
    options: Vec<&'static str>,
    scratch: Scratch,
}

impl Victim {
    fn new(options: &[&'static str]) -> Self {
        let scratch = Scratch::new();
        let manifest = Manifest::config_map(&scratch.join("manifest.yaml"), "app");
        let target = scratch.join("volume");
        let mut victim = Self {
            manifest,
            version: 0,
            target,
            options: options.to_owned(),
            scratch,
        };
        victim.change();
        victim
    }

    fn start(&self) -> Daemon {
        let daemon = daemon::mount(
            &self.scratch,
            &self.options,
            self.manifest.path(),
            &self.target,
        );
        assert_eq!(
            fs::read_to_string(self.file()).expect("it can be read"),
            content(self.version),
            "it starts on the same mountpoint, with what the manifest says"
        );
        daemon
    }

    /// Puts the next version in place.
    fn change(&mut self) {
        self.next();
        self.manifest.replace();
    }

    /// Puts the next version in place and waits until the daemon has it.
    fn change_and_wait_until_read(&mut self) {
        self.next();
        self.manifest.replace_and_wait_until_read();
    }

    fn next(&mut self) {
        self.version += 1;
        self.manifest.set("a", &content(self.version));
        self.manifest.set("b", &self.version.to_string());
    }

    fn file(&self) -> PathBuf {
        self.target.join("a")
    }

    /// Expects that a killed daemon left no mount, no process of its own and nobody who waits.
    fn expect_gone(&self, daemon: Process, hand: Process) {
        let gone = || {
            !daemon.alive()
                && !hand.alive()
                && mounts::below(self.scratch.path()).is_empty()
                && process::of_scratch(self.scratch.path())
                    .into_iter()
                    .all(|process| process.state() != Some('D'))
        };
        let end = Instant::now() + GONE;
        while !gone() {
            assert!(
                Instant::now() < end,
                "left after {GONE:?}: {:#?}",
                self.scratch.leftovers()
            );
            // Between two looks.
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The content of a version, of a size that changes from each to the next.
fn content(version: u64) -> String {
    format!("version {version}\n").repeat(usize::try_from(version % 7 * 500 + 1).expect("small"))
}

#[test]
fn a_daemon_killed_at_any_moment_leaves_nothing() {
    let mut random = Random::new("kill at any moment");
    let mut victim = Victim::new(&[]);
    for _ in 0..15 {
        let mut daemon = victim.start();
        let hand = daemon.hand();
        // Somewhere in the commits of a burst.
        for _ in 0..random.below(6) {
            victim.change();
            random.moment(Duration::from_millis(4));
        }
        daemon.kill();
        victim.expect_gone(daemon.process, hand);
    }
}

#[test]
fn a_daemon_killed_while_it_starts_leaves_nothing() {
    let mut random = Random::new("kill at start");
    let victim = Victim::new(&[]);
    for _ in 0..15 {
        let mut daemon = daemon::Launch::mount(&victim.scratch)
            .arg(victim.manifest.path())
            .arg(&victim.target)
            .spawn();
        random.moment(Duration::from_millis(40));
        daemon.kill();
        victim.scratch.expect_nothing_left(GONE);
    }
    drop(victim.start());
    victim.scratch.expect_nothing_left(GONE);
}

#[test]
fn a_daemon_killed_in_a_ring_leaves_nothing() {
    let mut victim = Victim::new(&[]);
    for event in ["OPEN", "MODIFY", "CLOSE_WRITE"]
        .into_iter()
        .cycle()
        .take(15)
    {
        let mut daemon = victim.start();
        let hand = daemon.hand();
        let mut watch = Watch::one(&victim.file(), WatchFlags::ALL_EVENTS);
        victim.change();
        watch.next_until("the ring is heard", |heard| heard.is(event));
        daemon.kill();
        victim.expect_gone(daemon.process, hand);
    }
}

#[test]
fn a_daemon_killed_under_readers_leaves_nothing() {
    let mut random = Random::new("kill under readers");
    let mut victim = Victim::new(&[]);
    for task in [Task::Read, Task::Sendfile, Task::Map]
        .into_iter()
        .cycle()
        .take(12)
    {
        let mut daemon = victim.start();
        let hand = daemon.hand();
        let readers = [0; 3].map(|_| Helper::start(&victim.scratch, task, &victim.file()));
        for _ in 0..random.below(6) {
            victim.change();
            random.moment(Duration::from_millis(4));
        }
        daemon.kill();
        victim.expect_gone(daemon.process, hand);
        drop(readers);
        victim.scratch.expect_nothing_left(GONE);
    }
}

#[test]
fn a_daemon_killed_under_a_stalled_reader_leaves_nothing() {
    let mut random = Random::new("kill under a stalled reader");
    for stopped in [false, true].into_iter().cycle().take(4) {
        // A drain that the reader holds up for long, and opens that are parked behind it.
        let mut victim = Victim::new(&["--drain", "10000"]);
        while victim.version.is_multiple_of(7) {
            victim.change();
        }
        let mut daemon = victim.start();
        let hand = daemon.hand();
        let reader = Helper::start(&victim.scratch, Task::Read, &victim.file());
        let stalled = Helper::start(&victim.scratch, Task::Stall, &victim.file());
        if stopped {
            stalled.process.signal(Signal::STOP);
        }
        victim.change_and_wait_until_read();
        random.moment(Duration::from_millis(20));
        daemon.kill();
        victim.expect_gone(daemon.process, hand);
        drop((stalled, reader));
        victim.scratch.expect_nothing_left(GONE);
        drop(victim.start());
    }
}

#[test]
fn a_daemon_that_is_stopped_holds_nobody_and_leaves_nothing() {
    let mut victim = Victim::new(&["--heartbeat", "500"]);
    let mut daemon = victim.start();
    let hand = daemon.hand();
    let readers = [Task::Read, Task::Sendfile, Task::Map]
        .map(|task| Helper::start(&victim.scratch, task, &victim.file()));

    daemon.signal(Signal::STOP);
    victim.change();

    // While it is stopped: the hand misses it, and sets everybody free.
    wait_until("the mount is gone", GONE, || {
        mounts::below(victim.scratch.path()).is_empty()
    });
    wait_until("nobody waits", GONE, || {
        readers
            .iter()
            .all(|reader| reader.process.state() != Some('D'))
    });
    wait_until("the hand is gone", GONE, || !hand.alive());

    daemon.kill();
    victim.expect_gone(daemon.process, hand);
    drop(readers);
    drop(victim.start());
}

#[test]
fn a_hand_killed_at_any_moment_loses_no_byte_and_no_event() {
    let mut random = Random::new("kill the hand");
    // A daemon starts hands that die in a row ever more slowly, so each gets a few to lose.
    for _ in 0..5 {
        kill_hands_in_commits(&mut random, 5);
    }
}

fn kill_hands_in_commits(random: &mut Random, kills: u64) {
    let mut volume = Volume::of(&[("a", &sealed(0)), ("same", "same")]);
    let mut watch = Watch::one(
        &volume.join("a"),
        WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE_SELF,
    );
    let mut untouched = Watch::all(&volume.join("same"));
    let stop = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    let path = volume.join("a");

    thread::scope(|scope| {
        // However this ends, the readers do as well.
        let _end = Stop(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    expect_sealed(&path);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 1..=kills {
            let hand = volume.daemon.hand();
            volume.change(&[("a", &sealed(number))]);
            random.moment(Duration::from_millis(6));
            hand.signal(Signal::KILL);

            // Never less than one round, and twice only because the hand died with it.
            let mut modified = false;
            let mut heard = watch.next_until("the change is rung", |event| {
                modified |= event.is("MODIFY");
                modified && event.is("CLOSE_WRITE")
            });
            assert_eq!(volume.read("a"), sealed(number));
            volume.settle();
            heard.extend(watch.drain());
            for kind in ["MODIFY", "CLOSE_WRITE"] {
                let rounds = heard.iter().filter(|event| event.is(kind)).count();
                assert!((1..=2).contains(&rounds), "commit {number}: {heard:?}");
            }
            wait_until("the killed hand is gone", PATIENCE, || !hand.alive());
        }
    });
    assert!(reads.into_inner() > 0);
    assert_eq!(untouched.drain(), []);
    volume.daemon.stop();
}

#[test]
fn a_hand_killed_between_commits_is_replaced() {
    let mut volume = Volume::of(&[("a", "0")]);
    let mut held = File::open(volume.join("a")).expect("it can be opened");
    for number in 1..=5 {
        let hand = volume.daemon.hand();
        hand.signal(Signal::KILL);
        wait_until("the hand is gone", PATIENCE, || !hand.alive());
        let mut watch = Watch::all(volume.path());

        volume.change(&[("a", &number.to_string())]);
        volume.expect_exactly(&mut [(&mut watch, &["OPEN a", "MODIFY a", "CLOSE_WRITE a"])]);

        assert_eq!(volume.read("a"), number.to_string());
    }
    let mut kept = String::new();
    held.read_to_string(&mut kept).expect("it can be read");
    assert_eq!(kept, "0");
    drop(held);
    volume.daemon.stop();
    assert!(!volume.path().exists());
}

/// Sets a flag when it goes, also by a panic.
struct Stop<'f>(&'f AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A content that proves that it is whole: its length in front, and one word repeated.
fn sealed(number: u64) -> String {
    let body =
        format!("{number:06} ").repeat(usize::try_from(number % 5 * 700 + 1).expect("small"));
    format!("{:08}:{body}", body.len())
}

/// Within how long a reader must be done for its read to be promised whole: the drain's own bound.
const DRAIN: Duration = Duration::from_millis(250);

/// Opens the file, asks its size, reads exactly that much, and expects one version.
fn expect_sealed(path: &Path) {
    let began = Instant::now();
    let file = File::open(path).expect("it can be opened");
    let size = file.metadata().expect("it can be asked").len();
    let mut bytes = vec![0; usize::try_from(size).expect("small")];
    let whole = file.read_exact_at(&mut bytes, 0);
    if began.elapsed() >= DRAIN {
        // Too slow to be promised anything, through no fault of the volume's.
        return;
    }
    whole.expect("it has the size that it tells");
    let text = String::from_utf8(bytes).expect("it is text");
    let (len, body) = text.split_once(':').expect("it is sealed");
    assert_eq!(len.parse(), Ok(body.len()), "size and bytes differ");
    let word = &body[..7];
    assert_eq!(body, word.repeat(body.len() / 7), "torn");
}
