//! One daemon, a rogue's volume and another. What happens in the one must not be seen in the other:
//! not an event less or more, not a byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use livemount::publish::Settings;
use rustix::fs::inotify::WatchFlags;

use super::rogue::{Rogue, Task};
use crate::support::scratch::Scratch;
use crate::support::served::{Served, Tree};
use crate::support::watch::{Watch, lines};

/// A volume that goes from version to version.
pub struct Volume {
    name: &'static str,
    pub path: PathBuf,
    pub version: u32,
}

impl Volume {
    fn new(scratch: &Scratch, name: &'static str) -> Self {
        Self {
            name,
            path: scratch.join(name),
            version: 0,
        }
    }

    /// The files of a version. One name is there in every second.
    pub fn tree(&self, version: u32) -> Tree {
        let text = |what: &str, times: usize| {
            let bytes = format!("{} {what} {version}\n", self.name).repeat(times);
            (bytes.into_bytes(), 0o644)
        };
        let times = [700, 1, 3000, 40][version as usize % 4];
        let mut tree = Tree::from([
            ("a".to_owned(), text("a", times)),
            ("b".to_owned(), text("b", 1)),
            ("d/x".to_owned(), text("x", 5)),
            ("same".to_owned(), (b"same".to_vec(), 0o644)),
        ]);
        if version % 2 == 1 {
            tree.insert("n".to_owned(), text("n", 2));
        }
        tree
    }

    /// A recorder of what [`Self::events`] tells.
    pub fn watch(&self) -> Watch {
        // All but what reading makes; opens count, for a ring opens.
        let mask = WatchFlags::ALL_EVENTS - WatchFlags::ACCESS - WatchFlags::CLOSE_NOWRITE;
        let mut watch = Watch::new();
        watch.add("", &self.path, mask);
        watch.add("d", &self.path.join("d"), mask);
        watch.add("file a", &self.path.join("a"), mask);
        watch
    }

    /// The events of the commit that leads to a version from the one before.
    pub fn events(version: u32) -> Vec<String> {
        let mut events = Vec::new();
        if version % 2 == 1 {
            events.push("MOVED_TO n".to_owned());
        }
        let round = ["OPEN", "MODIFY", "CLOSE_WRITE"];
        for kind in round {
            events.extend([format!("{kind} a"), format!("file a: {kind}")]);
        }
        events.extend(round.map(|kind| format!("{kind} b")));
        events.extend(round.map(|kind| format!("d: {kind} x")));
        if version.is_multiple_of(2) {
            events.push("DELETE n".to_owned());
        }
        events
    }

    /// Compares every name and every byte.
    pub fn shows(&self, version: u32) {
        let mut found = BTreeMap::new();
        read_all(&self.path, "", &mut found);
        let expected: BTreeMap<_, _> = self
            .tree(version)
            .into_iter()
            .map(|(path, (bytes, _))| (path, String::from_utf8(bytes).expect("text")))
            .collect();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{}: names",
            self.name
        );
        for (path, text) in &expected {
            assert!(found[path] == *text, "{}: the bytes of {path}", self.name);
        }
    }
}

fn read_all(root: &Path, at: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(at)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        let path = if at.is_empty() {
            name
        } else {
            format!("{at}/{name}")
        };
        if entry.file_type().expect("a type").is_dir() {
            read_all(root, &path, found);
        } else {
            let text = fs::read_to_string(root.join(&path)).expect("reads");
            let size = fs::metadata(root.join(&path)).expect("stat").len();
            assert_eq!(size, text.len() as u64, "the size of {path}");
            found.insert(path, text);
        }
    }
}

/// The daemon and its two volumes.
pub struct Scene {
    watch: Watch,
    pub served: Served,
    /// The rogue's.
    pub theirs: Volume,
    /// The other.
    pub quiet: Volume,
    pub scratch: Scratch,
}

impl Scene {
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let mut served = Served::in_test(scratch.path());
        let theirs = Volume::new(&scratch, "theirs");
        let quiet = Volume::new(&scratch, "quiet");
        for volume in [&theirs, &quiet] {
            served.publish(volume.name, &volume.path, &volume.tree(0));
        }
        Self {
            watch: quiet.watch(),
            served,
            theirs,
            quiet,
            scratch,
        }
    }

    pub fn rogue(&self, task: Task) -> Rogue {
        Rogue::start(&self.scratch, &self.theirs.path, task)
    }

    /// Gives the rogue's volume its next version, without waiting.
    pub fn offer_theirs(&mut self) {
        self.theirs.version += 1;
        let tree = self.theirs.tree(self.theirs.version);
        self.served.offer("theirs", &tree);
    }

    /// Waits until the rogue's volume has committed all that was offered.
    pub fn settle_theirs(&mut self) {
        self.served.settle("theirs");
    }

    /// So many commits of the other volume, each of which has to be heard and read exactly. Tells how
    /// long each took.
    pub fn quiet_is_exact(&mut self, rounds: u32) -> Vec<Duration> {
        (0..rounds)
            .map(|_| {
                self.watch.drain();
                self.quiet.version += 1;
                let version = self.quiet.version;
                let tree = self.quiet.tree(version);
                let began = Instant::now();
                self.served.commit("quiet", &tree);
                let took = began.elapsed();
                assert_eq!(lines(&self.watch.drain()), Volume::events(version));
                self.quiet.shows(version);
                took
            })
            .collect()
    }

    /// Commits of both, the rogue's begun first each time.
    pub fn both(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.offer_theirs();
            self.quiet_is_exact(1);
        }
    }

    /// The files that are in every version read as new, whatever became of the other names.
    pub fn theirs_has_new_bytes(&self) {
        let tree = self.theirs.tree(self.theirs.version);
        for path in ["a", "b", "d/x"] {
            let read = fs::read(self.theirs.path.join(path)).expect("reads");
            assert!(read == tree[path].0, "{path} is not new");
        }
    }

    /// The rogue has gone: its volume is complete, and as exact as any.
    pub fn theirs_recovers(&mut self) {
        self.settle_theirs();
        self.theirs.shows(self.theirs.version);
        let mut watch = self.theirs.watch();
        for _ in 0..4 {
            self.offer_theirs();
            self.settle_theirs();
            let version = self.theirs.version;
            assert_eq!(lines(&watch.drain()), Volume::events(version));
            self.theirs.shows(version);
            watch.drain();
        }
        self.quiet_is_exact(2);
    }

    /// Another connection for the rogue's volume, in the place of one that was ended.
    pub fn publish_theirs_again(&mut self) {
        self.served.unpublish("theirs");
        let tree = self.theirs.tree(self.theirs.version);
        self.served.publish_with(
            "theirs",
            &self.theirs.path,
            &tree,
            Settings::default(),
            None,
        );
    }
}
