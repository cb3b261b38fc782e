//! A volume that is kept: whatever happened to it, and whatever moment its process ends at, its file says
//! the same.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount_engine::diff::plan;
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_volume::{
    Change, Compat, HandleNumber, Inode, Monotonic, Pins, ROOT, Reader, Record, RequestNumber,
    State,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::tests::snapshot;
use super::{Parker, SharedVolume};
use crate::store::{Contents, VolumeFile};

const KEY: HashKey = HashKey([3; 16]);
const NAMES: [&str; 4] = ["a", "b", "d/x", "d/y"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Walk {
        path: Index,
        dots: bool,
    },
    Forget {
        ino: Index,
    },
    Open {
        ino: Index,
    },
    Read {
        handle: Index,
    },
    Release {
        handle: Index,
    },
    /// The next step of a commit; with these files where it begins.
    Commit {
        files: Vec<(usize, u8)>,
    },
    /// A parked open is let go by its time.
    Unpark,
    Tidy,
    /// The process ends here, and another goes on.
    Death,
}

fn any_step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let files = || vec((0..NAMES.len(), 0..9u8), 0..4);
    prop_oneof![
        5 => (index(), prop::bool::weighted(0.3)).prop_map(|(path, dots)| Step::Walk { path, dots }),
        2 => index().prop_map(|ino| Step::Forget { ino }),
        5 => index().prop_map(|ino| Step::Open { ino }),
        4 => index().prop_map(|handle| Step::Read { handle }),
        3 => index().prop_map(|handle| Step::Release { handle }),
        8 => files().prop_map(|files| Step::Commit { files }),
        1 => Just(Step::Unpark),
        1 => Just(Step::Tidy),
        2 => Just(Step::Death),
    ]
}

/// How far the commit is.
enum Stage {
    No,
    Begun(Arc<Snapshot>),
    Drained(Arc<Snapshot>),
    Swapped(Arc<[Change]>),
}

struct World {
    contents: Contents,
    volume: Arc<SharedVolume>,
    file: std::os::fd::OwnedFd,
    parker: Parker,
    inodes: Vec<Inode>,
    handles: Vec<(Inode, HandleNumber)>,
    stage: Stage,
    requests: u64,
}

impl World {
    fn new() -> Self {
        let contents = Contents::new().expect("memory");
        let first = snapshot(&[("a", "1"), ("d/x", "2")]);
        let state = State::new(KEY, with_folders(&first), Pins::DEFAULT, SystemTime::now());
        let volume = SharedVolume::new("test", state);
        let file = VolumeFile::new(&contents, b"about".to_vec()).expect("memory");
        let held = file.descriptor().try_clone_to_owned().expect("a copy");
        volume.keep(file).expect("memory");
        Self {
            contents,
            volume,
            file: held,
            parker: Parker::start().expect("a thread"),
            inodes: vec![ROOT],
            handles: Vec::new(),
            stage: Stage::No,
            requests: 0,
        }
    }

    fn request(&mut self) -> RequestNumber {
        self.requests += 2;
        RequestNumber(self.requests)
    }

    fn walk(&mut self, path: &str) {
        let mut folder = ROOT;
        for name in path.split('/') {
            let request = self.request();
            match self.volume.lookup(folder, name, request) {
                Ok(looked) => folder = looked.attr.ino,
                Err(_) => return,
            }
            if !self.inodes.contains(&folder) {
                self.inodes.push(folder);
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Walk { path, dots } => {
                let name = path.get(&NAMES);
                let path = if *dots {
                    let request = self.request();
                    let files = self.volume.lookup(ROOT, "files", request).expect("files/");
                    let request = self.request();
                    let data = self.volume.lookup(files.attr.ino, "..data", request);
                    let data = data.expect("..data");
                    let leads = self.volume.readlink(data.attr.ino).expect("a link");
                    format!("files/{leads}/{name}")
                } else {
                    format!("files/{name}")
                };
                self.walk(&path);
            }
            Step::Forget { ino } => self.volume.forget(*ino.get(&self.inodes), 1),
            Step::Open { ino } => {
                let (ino, request) = (*ino.get(&self.inodes), self.request());
                let (tell, told) = std::sync::mpsc::channel();
                self.volume.open(ino, false, request, move |opened| {
                    let _ = tell.send(opened);
                });
                if let Ok(Ok(opened)) = told.try_recv() {
                    self.handles.push((ino, opened.number));
                }
            }
            Step::Read { handle } => {
                if !self.handles.is_empty() {
                    let (ino, number) = *handle.get(&self.handles);
                    let _ = self.volume.read(ino, number, (0, 4096), Reader::Handle);
                }
            }
            Step::Release { handle } => {
                if !self.handles.is_empty() {
                    let at = handle.index(self.handles.len());
                    let (_, number) = self.handles.swap_remove(at);
                    self.volume.release(number);
                }
            }
            Step::Commit { files } => self.commit(files),
            Step::Unpark => self.volume.unpark(),
            Step::Tidy => self.volume.tidy_up(),
            Step::Death => self.death(),
        }
    }

    fn commit(&mut self, files: &[(usize, u8)]) {
        let volume = &self.volume;
        self.stage = match std::mem::replace(&mut self.stage, Stage::No) {
            Stage::No => {
                let texts: Vec<_> = files
                    .iter()
                    .map(|(name, text)| (NAMES[*name], "x".repeat(1 + usize::from(*text))))
                    .collect();
                let files: Vec<_> = texts.iter().map(|(name, text)| (*name, &**text)).collect();
                let next = with_folders(&snapshot(&files));
                volume.store_next(&next);
                let plan = plan(&volume.shown(), &next);
                if plan.is_empty() {
                    volume.relabel(next);
                    Stage::No
                } else {
                    volume.begin(&next, &plan, Duration::ZERO, &self.parker);
                    Stage::Begun(next)
                }
            }
            Stage::Begun(next) => {
                volume.drain(Duration::ZERO);
                let plan = plan(&volume.shown(), &next);
                volume.touch_shrinking(&next, &plan, SystemTime::now());
                Stage::Drained(next)
            }
            Stage::Drained(next) => {
                let plan = plan(&volume.shown(), &next);
                if let Ok(swapped) = volume.swap(&next, &plan, Compat::None) {
                    Stage::Swapped(swapped.changes)
                } else {
                    volume.abandon();
                    Stage::No
                }
            }
            Stage::Swapped(changes) => {
                volume.unpark();
                let done = volume.done();
                match changes.get(done) {
                    Some(Change::Ring { ino, .. }) => {
                        volume.ring(*ino).expect("is armed");
                        Stage::Swapped(changes)
                    }
                    // The kernel refuses this one, and all after it.
                    Some(_) => {
                        for at in done..changes.len() {
                            volume.give_up(at);
                        }
                        volume.finish(&changes[done..]);
                        Stage::No
                    }
                    None => {
                        volume.finish(&[]);
                        Stage::No
                    }
                }
            }
        };
    }

    /// What is in the file is what was in memory.
    fn compare(&self) -> crate::store::Found {
        let contents = self.contents.descriptor().try_clone_to_owned();
        let contents = Contents::open(contents.expect("a copy")).expect("the same");
        let file = self.file.try_clone().expect("a copy");
        let found = VolumeFile::open(file, &contents).expect("it can be read");
        let (replayed, _) = found.volume.as_ref().expect("it can be read");
        let at = Monotonic(Duration::from_secs(1 << 40));
        let (theirs, their_bytes) = replayed.state.record(at);
        let (ours, our_bytes) = self.volume.ask(|state| state.record(at));
        // They are thousands of characters: only where they begin to differ is shown.
        assert!(theirs == ours, "another state: {}", differ(&theirs, &ours));
        let bytes = |all: &[livemount_engine::object::Bytes]| -> Vec<Vec<u8>> {
            all.iter().map(|bytes| bytes.to_vec()).collect()
        };
        assert!(bytes(&their_bytes) == bytes(&our_bytes), "other contents");
        found
    }

    /// The process ends: nothing of it is left but the two files.
    fn death(&mut self) {
        let contents = self.contents.descriptor().try_clone_to_owned();
        let contents = Contents::open(contents.expect("a copy")).expect("the same");
        self.compare();
        let file = self.file.try_clone().expect("a copy");
        let found = VolumeFile::open(file, &contents).expect("it can be read");
        let (replayed, file) = found.volume.expect("it can be read");
        contents.settle().expect("memory");
        let volume = SharedVolume::taken_over("test", replayed, file).expect("memory");
        volume.inherited_done();
        // A process that is killed gives nothing back.
        std::mem::forget(std::mem::replace(&mut self.volume, volume));
        std::mem::forget(std::mem::replace(&mut self.contents, contents));
        // As the publisher goes on with it.
        match self.volume.committing() {
            livemount_volume::Committing::No => self.stage = Stage::No,
            livemount_volume::Committing::Begun => {
                self.volume.drain(Duration::ZERO);
                self.volume.abandon();
                self.volume.unpark();
                self.stage = Stage::No;
            }
            livemount_volume::Committing::Swapped => {
                self.stage = Stage::Swapped(self.volume.swapped().0.changes);
            }
        }
    }
}

fn differ(theirs: &Record, ours: &Record) -> String {
    let (theirs, ours) = (format!("{theirs:?}"), format!("{ours:?}"));
    let pairs = theirs.chars().zip(ours.chars());
    let at = pairs.take_while(|(a, b)| a == b).count();
    let from = at.saturating_sub(200);
    let part = |text: &str| text.chars().skip(from).take(300).collect::<String>();
    format!("\n{}\nis not\n{}", part(&theirs), part(&ours))
}

fn with_folders(snapshot: &Snapshot) -> Arc<Snapshot> {
    let mut whole = snapshot.clone();
    for path in snapshot.entries.keys() {
        for folder in path.ancestors() {
            let mode = 0o755;
            whole.entries.insert(
                folder.clone(),
                livemount_engine::snapshot::Entry::Dir { mode },
            );
        }
    }
    Arc::new(whole)
}

#[test]
fn promise_11_whatever_happened_the_file_says_the_same() {
    proptest!(ProptestConfig::with_cases(100), |(steps in vec(any_step(), 1..80))| {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.compare();
        }
    });
}

#[test]
fn promise_11_a_request_that_a_predecessor_answered_is_answered_the_same_and_counted_once() {
    let mut world = World::new();
    world.walk("files/a");
    let ino = world.inodes[2];
    let request = world.request();
    let (tell, told) = std::sync::mpsc::channel();
    let open = |volume: &SharedVolume, number: u64| {
        let tell = tell.clone();
        volume.open(ino, false, RequestNumber(number), move |opened| {
            tell.send(opened).expect("is heard");
        });
        told.try_recv().expect("at once").expect("a handle")
    };
    let first = open(&world.volume, request.0);
    world.death();
    // The kernel sends it again, with its bit set.
    let again = open(&world.volume, request.0 | 1 << 63);
    assert_eq!(first, again);
    world.volume.release(again.number);
    let held = world
        .volume
        .served()
        .iter()
        .map(|served| served.held)
        .sum::<usize>();
    assert_eq!(held, 0, "one handle, one release");
    assert_ne!(open(&world.volume, request.0 + 2), first, "another request");
}

/// What a successor of everybody reads.
fn shown(contents: &Contents, file: &std::os::fd::OwnedFd) -> Vec<Vec<u8>> {
    let descriptor = contents.descriptor().try_clone_to_owned();
    let contents = Contents::open(descriptor.expect("a copy")).expect("the same");
    let file = file.try_clone().expect("a copy");
    let found = VolumeFile::open(file, &contents).expect("it can be read");
    let (replayed, _) = found.volume.expect("it can be read");
    let (_, bytes) = replayed.state.record(Monotonic(Duration::from_secs(1)));
    bytes.iter().map(|bytes| bytes.to_vec()).collect()
}

#[test]
fn who_lets_go_of_a_volume_leaves_it_whole_until_nobody_is_to_go_on_with_it() {
    let World {
        contents,
        volume,
        file,
        ..
    } = World::new();
    let before = shown(&contents, &file);
    drop(volume);
    assert_eq!(shown(&contents, &file), before, "as after a kill");

    // A successor that took it up, and then could not go on.
    let descriptor = contents.descriptor().try_clone_to_owned();
    let theirs = Contents::open(descriptor.expect("a copy")).expect("the same");
    let found = VolumeFile::open(file.try_clone().expect("a copy"), &theirs).expect("is there");
    theirs.settle().expect("memory");
    drop(found);
    assert_eq!(shown(&contents, &file), before, "as if nobody had come");

    let found = VolumeFile::open(file.try_clone().expect("a copy"), &theirs).expect("is there");
    // It was settled before.
    assert!(found.volume.is_err());
}

#[test]
fn a_volume_that_ends_takes_its_contents_along() {
    let World {
        contents, volume, ..
    } = World::new();
    assert!(contents.bytes() > 0);
    volume.keep_no_more();
    assert_eq!(contents.bytes(), 0);
}

#[test]
fn what_a_process_cannot_read_stays_for_one_that_can() {
    let World { contents, file, .. } = World::new();
    let before = shown(&contents, &file);
    let descriptor = contents.descriptor().try_clone_to_owned();
    let theirs = Contents::open(descriptor.expect("a copy")).expect("the same");
    // A caretaker of another release, say.
    theirs.settle_beside_unread().expect("memory");
    let new = VolumeFile::new(&theirs, b"about".to_vec()).expect("memory");
    let first = snapshot(&[("a", "something else")]);
    let state = State::new(KEY, with_folders(&first), Pins::DEFAULT, SystemTime::now());
    let volume = SharedVolume::new("other", state);
    volume.keep(new).expect("memory");
    assert_eq!(shown(&contents, &file), before);
    volume.keep_no_more();
    assert_eq!(shown(&contents, &file), before);
}
