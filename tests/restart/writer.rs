//! A writer that never stops, and the watchers who must hear each of its changes exactly once.
//!
//! Each version is written when every event of the one before has been heard, so that none is skipped and
//! what each must tell is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::inotify::WatchFlags;

use crate::sealed::{CHANGING, SAME, content, version_of};
use crate::support::manifest::Manifest;
use crate::support::watch::Watch;
use crate::support::{PATIENCE, wait_until};

/// What the volume shows at a version.
fn tree(version: u64) -> BTreeMap<String, Vec<u8>> {
    let mut tree: BTreeMap<String, Vec<u8>> = CHANGING
        .iter()
        .map(|(name, _)| ((*name).to_owned(), content(name, version_of(name, version))))
        .collect();
    tree.insert(SAME.to_owned(), content(SAME, 0));
    if !version.is_multiple_of(2) {
        tree.insert(format!("x{}", version % 5), content("x", version));
    }
    tree
}

/// Puts a version in place, by a rename over the manifest.
pub fn put(manifest: &Path, version: u64) {
    let mut object = Manifest::config_map(manifest, "app");
    for (name, bytes) in tree(version) {
        object.set_binary(&name, &bytes);
    }
    object.replace();
}

/// By whom what is heard: a file's name, or this for the folder.
const FOLDER: &str = "/";

type Events = BTreeMap<String, u32>;

/// What must be heard when a version takes the place of the one before.
fn events(version: u64) -> Events {
    let (old, new) = (tree(version - 1), tree(version));
    let mut events = Events::new();
    for (name, bytes) in &new {
        match old.get(name) {
            None => {
                events.insert(format!("{FOLDER}: MOVED_TO {name}"), 1);
            }
            Some(former) if former != bytes => {
                events.insert(format!("{name}: MODIFY"), 1);
                events.insert(format!("{name}: CLOSE_WRITE"), 1);
            }
            Some(_) => {}
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        events.insert(format!("{FOLDER}: DELETE {name}"), 1);
    }
    events
}

/// Shared with whoever kills.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The newest version of which everything was heard.
    heard: AtomicU64,
    /// How many hands were killed: what one was at may be heard twice.
    hands: AtomicU64,
}

/// The writer and its watchers, on a thread.
pub struct Writer {
    shared: Arc<Shared>,
    thread: JoinHandle<Heard>,
}

/// What was heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// The last version, all of which was heard.
    pub version: u64,
    /// The longest time from a version's writing until its last event.
    pub longest: Duration,
    /// How many events came twice because a hand was killed.
    pub twice: u32,
    /// What must not be.
    pub wrong: Vec<String>,
}

impl Writer {
    /// Begins behind version 1, which must be shown.
    pub fn start(manifest: PathBuf, target: &Path) -> Self {
        let mut watch = Watch::new();
        let on_files = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        for name in CHANGING.iter().map(|(name, _)| *name).chain([SAME]) {
            watch.add(name, &target.join(name), on_files);
        }
        let on_folder = WatchFlags::MOVE | WatchFlags::CREATE | WatchFlags::DELETE;
        watch.add(FOLDER, target, on_folder);
        let shared = Arc::<Shared>::default();
        shared.heard.store(1, Ordering::Release);
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || write(&manifest, watch, &shared)
        });
        Self { shared, thread }
    }

    /// The newest version of which everything was heard.
    pub fn heard(&self) -> u64 {
        self.shared.heard.load(Ordering::Acquire)
    }

    /// Waits until so many more versions were heard.
    pub fn wait_for(&self, more: u64) {
        let until = self.heard() + more;
        wait_until("changes are heard", PATIENCE, || {
            self.heard() >= until || self.thread.is_finished()
        });
    }

    /// A hand is about to be killed.
    pub fn hand_dies(&self) {
        self.shared.hands.fetch_add(1, Ordering::AcqRel);
    }

    /// Stops when the version under way was heard.
    pub fn stop(self) -> Heard {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.join().expect("the writer does not panic")
    }
}

fn write(manifest: &Path, mut watch: Watch, shared: &Shared) -> Heard {
    let mut heard = Heard {
        version: 1,
        ..Heard::default()
    };
    // What the last three versions told, and the number of hands before each.
    let mut before = [(Events::new(), 0), (Events::new(), 0)];
    while !shared.stop.load(Ordering::Acquire) {
        let version = heard.version + 1;
        let hands = shared.hands.load(Ordering::Acquire);
        let (began, expected) = (Instant::now(), events(version));
        put(manifest, version);
        let mut got = Events::new();
        while expected.keys().any(|event| !got.contains_key(event)) {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let Some(event) = watch.next(left) else {
                let missed = expected.keys().filter(|event| !got.contains_key(*event));
                let missed: Vec<_> = missed.collect();
                heard
                    .wrong
                    .push(format!("{version}: lost {missed:?}, heard {got:?}"));
                return heard;
            };
            *got.entry(event.to_string()).or_default() += 1;
        }
        for event in watch.drain() {
            *got.entry(event.to_string()).or_default() += 1;
        }
        heard.longest = heard.longest.max(began.elapsed());
        // What a killed hand was at may be heard twice, and late.
        let killed = shared.hands.load(Ordering::Acquire) > before[0].1;
        for (event, times) in got {
            let once = expected.get(&event).copied().unwrap_or(0);
            let again = before.iter().any(|(events, _)| events.contains_key(&event));
            if times > once && killed && (once > 0 || again) {
                heard.twice += times - once;
            } else if times != once {
                heard
                    .wrong
                    .push(format!("{version}: {event}: {times} times for {once}"));
            }
        }
        let [_, last] = before;
        before = [last, (expected, hands)];
        heard.version = version;
        shared.heard.store(version, Ordering::Release);
    }
    heard
}
