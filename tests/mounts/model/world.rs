//! One volume through its life, compared after each step with the plain map that it was made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livemount::publish::{Compat, Settings};
use rustix::fs::inotify::WatchFlags;
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;

use super::any::{Edit, Life, Step, What};
use super::held::{Hold, Name, same, walk};
use super::tell::{difference, told};
use super::truth::{Change, Held, Kind, Watchers, file, folder, heard, names};
use super::{burst, reader};
use crate::support::scratch::Scratch;
use crate::support::served::{Served, Tree};
use crate::support::watch::{Event, Watch};

/// Short, because many handles are left unread on purpose.
pub const DRAIN: Duration = Duration::from_millis(10);
/// The most that is kept open at a time; within the volume's own limit for older versions.
const HOLDS: usize = 10;

/// A time as stat tells it.
type Time = (i64, i64);

/// A volume, everybody who uses it, and the truth.
pub struct World {
    holds: Vec<Hold>,
    watch: Watch,
    served: Served,
    volume: PathBuf,
    tree: Tree,
    past: Vec<Tree>,
    fs_group: Option<u32>,
    dotdata: bool,
    /// Files that are to have a watch of their own whenever they are there.
    watched: BTreeSet<String>,
    /// Those whose watch is alive, also while they have no name.
    alive: BTreeSet<String>,
    /// The inode number of every name that ever was.
    numbers: BTreeMap<(String, Kind), u64>,
    /// Folders that were removed while somebody held them: they come back with any number.
    loose: BTreeSet<String>,
    /// Files that came back while somebody held them. They may count a second link.
    returned: BTreeSet<String>,
    /// The last mtime of every file that ever was.
    times: BTreeMap<String, Time>,
    _scratch: Scratch,
}

/// Lives a life. An error tells the step and what was wrong.
pub fn live(life: &Life) -> Result<(), String> {
    let mut world = World::new(life);
    world
        .check(std::slice::from_ref(&world.tree.clone()))
        .map_err(|error| format!("first version: {error}"))?;
    world.listen_anew();
    for (number, step) in life.steps.iter().enumerate() {
        world
            .step(step)
            .map_err(|error| format!("step {number}: {error}"))?;
    }
    Ok(())
}

impl World {
    fn new(life: &Life) -> Self {
        let scratch = Scratch::new();
        let volume = scratch.join("v");
        let mut tree = Tree::new();
        for edit in &life.first {
            edit.apply(&mut tree, &[]);
        }
        let settings = Settings {
            drain: DRAIN,
            compat: if life.dotdata {
                Compat::Dotdata
            } else {
                Compat::None
            },
            ..Settings::default()
        };
        let mut served = Served::in_test(scratch.path());
        served.publish_with("v", &volume, &tree, settings, life.fs_group);
        Self {
            holds: Vec::new(),
            watch: Watch::new(),
            served,
            volume,
            past: vec![tree.clone()],
            tree,
            fs_group: life.fs_group,
            dotdata: life.dotdata,
            watched: BTreeSet::new(),
            alive: BTreeSet::new(),
            numbers: BTreeMap::new(),
            loose: BTreeSet::new(),
            returned: BTreeSet::new(),
            times: BTreeMap::new(),
            _scratch: scratch,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Commit { edits, reader } => self.commit(edits, *reader)?,
            Step::Burst(offers) => self.burst(offers)?,
            Step::Hold { what, pick } => self.hold(*what, *pick),
            Step::Release(pick) => {
                if !self.holds.is_empty() {
                    self.holds.swap_remove(pick % self.holds.len());
                }
            }
            Step::Watch(pick) => {
                if let Some(path) = self.tree.keys().nth(pick % self.tree.len().max(1)) {
                    self.watched.insert(path.clone());
                }
            }
        }
        self.check_holds()?;
        self.listen_anew();
        Ok(())
    }

    fn commit(&mut self, edits: &[Edit], with_reader: bool) -> Result<(), String> {
        let mut new = self.tree.clone();
        for edit in edits {
            edit.apply(&mut new, &self.past);
        }
        let old = std::mem::replace(&mut self.tree, new);
        if with_reader {
            let (started, stop) = (AtomicBool::new(false), AtomicBool::new(false));
            let (volume, served, new) = (&self.volume, &mut self.served, &self.tree);
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| reader::run(volume, &old, new, &started, &stop));
                crate::support::wait_until("the reader reads", crate::support::PATIENCE, || {
                    started.load(Ordering::Acquire) || reader.is_finished()
                });
                served.commit("v", new);
                stop.store(true, Ordering::Release);
                reader.join().expect("the reader tells")
            })
            .map_err(|error| format!("a reader meanwhile: {error}"))?;
        } else {
            self.served.commit("v", &self.tree);
        }
        let events = self.watch.drain();
        self.check_events(&Change::new(&old, &self.tree), &events, with_reader)?;
        self.note_ends(&events);
        self.settled(vec![old, self.tree.clone()])
    }

    fn burst(&mut self, offers: &[Vec<Edit>]) -> Result<(), String> {
        let mut trees = vec![self.tree.clone()];
        for edits in offers {
            for edit in edits {
                edit.apply(&mut self.tree, &self.past);
            }
            self.served.offer("v", &self.tree);
            trees.push(self.tree.clone());
        }
        self.served.settle("v");
        let events = self.watch.drain();
        burst::check(&trees, &events)
            .map_err(|error| format!("{error}; heard {}", told(&events)))?;
        self.note_ends(&events);
        self.settled(trees)
    }

    /// After a commit: the truth moves on, and all that the volume shows is compared with it.
    fn settled(&mut self, trees: Vec<Tree>) -> Result<(), String> {
        for path in names(&trees[0]).into_keys() {
            let stays = trees[1..]
                .iter()
                .all(|tree| names(tree).get(&path) == Some(&Kind::Folder));
            if !stays && self.holds.iter().any(|hold| hold.name(&path).is_some()) {
                self.loose.insert(path);
            }
        }
        for hold in &mut self.holds {
            hold.follow(&trees);
            if hold.kind == Kind::File
                && hold.name(&hold.path) != Some(Name::Stays)
                && self.tree.contains_key(&hold.path)
            {
                self.returned.insert(hold.path.clone());
            }
        }
        self.check(&trees)?;
        self.past.extend(trees.into_iter().skip(1));
        Ok(())
    }

    fn hold(&mut self, what: What, pick: usize) {
        if self.holds.len() == HOLDS {
            self.holds.remove(0);
        }
        let kind = match what {
            What::Unread | What::Read | What::Path => Kind::File,
            What::Folder | What::VersionDir => Kind::Folder,
        };
        let mut paths: Vec<String> = names(&self.tree)
            .into_iter()
            .filter(|(_, of)| *of == kind)
            .map(|(path, _)| path)
            .collect();
        if what == What::VersionDir {
            paths.truncate(1);
        }
        if !paths.is_empty() {
            let path = &paths[pick % paths.len()];
            self.holds
                .push(Hold::new(&self.volume, what, path, &self.tree));
        }
    }

    /// Forgets what our own looking has caused, and watches every folder, and the files that are to be
    /// watched.
    fn listen_anew(&mut self) {
        let own = self.watch.drain();
        self.note_ends(&own);
        // All but what reading makes; opens count, for a ring opens.
        let mask = WatchFlags::ALL_EVENTS - WatchFlags::ACCESS - WatchFlags::CLOSE_NOWRITE;
        for (path, kind) in names(&self.tree) {
            let at = self.volume.join(&path);
            if kind == Kind::Folder {
                self.watch.add(&folder(&path), &at, mask);
            } else if self.watched.contains(&path) {
                self.watch.add(&file(&path), &at, mask);
                self.alive.insert(path);
            }
        }
    }

    fn note_ends(&mut self, events: &[Event]) {
        for event in events.iter().filter(|event| event.is("IGNORED")) {
            if let Some(path) = event.label.strip_prefix("file ") {
                self.alive.remove(path);
            }
        }
    }

    fn held(&self, path: &str, kind: Kind) -> Held {
        let mut held = Held::No;
        for hold in &self.holds {
            // Who holds a folder that stood at this path holds nothing of the file that stands there now.
            if kind == Kind::File && (hold.path != path || hold.kind != Kind::File) {
                continue;
            }
            match hold.name(path) {
                Some(Name::Unsure) => return Held::Unsure,
                Some(Name::Stays) => held = Held::Yes,
                // A file comes back as the same inode, a folder as another.
                Some(Name::Gone) if kind == Kind::File => held = Held::Yes,
                Some(Name::Gone) | None => {}
            }
        }
        if held == Held::No && kind == Kind::File && self.returned.contains(path) {
            // Held no more: its watch may end or go on.
            return Held::Unsure;
        }
        held
    }

    fn check_events(
        &self,
        change: &Change<'_>,
        events: &[Event],
        with_reader: bool,
    ) -> Result<(), String> {
        let ears = Watchers {
            files: &self.alive,
            held: &|path, kind| self.held(path, kind),
            dotdata: self.dotdata,
        };
        let (mut expected, open) = change.expected(&ears);
        let mut found = heard(events);
        for heard in [&mut expected, &mut found] {
            heard.retain(|at, _| !open.contains(at));
            if with_reader {
                // The reader opens, too.
                for kinds in heard.values_mut() {
                    kinds.retain(|kind| !kind.starts_with("OPEN"));
                }
                heard.retain(|_, kinds| !kinds.is_empty());
            }
        }
        if found != expected {
            return Err(format!(
                "events: {}\nheard {}",
                difference(&found, &expected),
                told(events)
            ));
        }
        // The end of a watch is told when the last who had it open has closed it.
        let of_reader = |event: &Event| {
            event.kind.starts_with("OPEN") || event.is("DELETE_SELF") || event.is("IGNORED")
        };
        let mut ordered = events.to_vec();
        ordered.retain(|event| !(with_reader && of_reader(event)));
        ordered.retain(|event| !open.contains(&(event.label.clone(), event.name.clone())));
        if ordered.is_sorted_by_key(|event| change.rank(event)) {
            Ok(())
        } else {
            Err(format!("the events' order: {}", told(&ordered)))
        }
    }

    /// Compares every name, its attributes and its bytes.
    fn check(&mut self, trees: &[Tree]) -> Result<(), String> {
        let mut expected = names(&self.tree);
        expected.remove("");
        let mut found = BTreeMap::new();
        walk(&self.volume, "", &mut found)?;
        if found != expected {
            return Err(format!("names: {found:?} instead of {expected:?}"));
        }
        self.check_listed_numbers()?;
        expected.insert(String::new(), Kind::Folder);
        for (path, kind) in &expected {
            self.check_name(path, *kind, trees)
                .map_err(|error| format!("{path}: {error}"))?;
        }
        if let Some((path, (bytes, _))) = self.tree.first_key_value() {
            let read = fs::read(self.volume.join("..data").join(path));
            same("..data", &read.map_err(|error| error.to_string())?, bytes)?;
        }
        Ok(())
    }

    fn check_listed_numbers(&self) -> Result<(), String> {
        for entry in fs::read_dir(&self.volume).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            let meta = entry.metadata().map_err(|error| error.to_string())?;
            if entry.ino() != meta.ino() {
                return Err(format!(
                    "{} is listed as {}",
                    entry.file_name().display(),
                    entry.ino()
                ));
            }
        }
        Ok(())
    }

    fn check_name(&mut self, path: &str, kind: Kind, trees: &[Tree]) -> Result<(), String> {
        let at = self.volume.join(path);
        // Either is the first look at it after the commit, now this, now that.
        if kind == Kind::File && (self.past.len() + path.len()).is_multiple_of(2) {
            let file = File::open(&at).map_err(|error| format!("opening: {error}"))?;
            same("unasked, the page cache", &sent(&file)?, &self.tree[path].0)?;
        }
        let meta = fs::symlink_metadata(&at).map_err(|error| format!("stat: {error}"))?;
        let group = self.fs_group.is_some();
        let mode = match kind {
            Kind::File => self.tree[path].1 | if group { 0o440 } else { 0 },
            Kind::Folder if path.is_empty() => 0o777 | if group { 0o2000 } else { 0 },
            Kind::Folder => 0o755 | if group { 0o2000 } else { 0 },
        };
        let found = (meta.mode() & 0o7777, meta.uid(), meta.gid());
        let expected = (mode, 0, self.fs_group.unwrap_or(0));
        if found != expected {
            return Err(format!(
                "mode and owner: {found:?} instead of {expected:?} (decimal)"
            ));
        }
        self.check_number(path, kind, meta.ino(), trees)?;
        if kind == Kind::Folder {
            return Ok(());
        }
        let time = (meta.mtime(), meta.mtime_nsec());
        if (meta.atime(), meta.atime_nsec()) > time || (meta.ctime(), meta.ctime_nsec()) != time {
            return Err("atime or ctime does not fit mtime".into());
        }
        self.check_time(path, time, trees)?;
        let bytes = &self.tree[path].0;
        let links = 1..=1 + u64::from(self.returned.contains(path));
        if meta.len() != bytes.len() as u64 || !links.contains(&meta.nlink()) {
            return Err(format!("{} bytes, {} links", meta.len(), meta.nlink()));
        }
        let file = File::open(&at).map_err(|error| format!("opening: {error}"))?;
        same("through the page cache", &sent(&file)?, bytes)?;
        same(
            "bytes",
            &fs::read(&at).map_err(|error| error.to_string())?,
            bytes,
        )?;
        // Reading changes nothing, and the kernel has something to forget at the next commit.
        let again = fs::symlink_metadata(&at).map_err(|error| format!("stat: {error}"))?;
        if (again.mtime(), again.mtime_nsec(), again.len()) != (time.0, time.1, meta.len()) {
            return Err("stat says another thing after a read".into());
        }
        Ok(())
    }

    fn check_number(
        &mut self,
        path: &str,
        kind: Kind,
        ino: u64,
        trees: &[Tree],
    ) -> Result<(), String> {
        if ino <= 2 || ino >= 1 << 53 || ino == u64::from(u32::MAX) {
            return Err(format!("inode {ino}"));
        }
        let key = (path.to_owned(), kind);
        let known = self.numbers.insert(key, ino);
        let free = kind == Kind::Folder
            && self.loose.contains(path)
            && trees
                .iter()
                .any(|tree| names(tree).get(path) != Some(&kind));
        match known {
            Some(known) if known != ino && !free => {
                Err(format!("inode {ino}, which was {known} before"))
            }
            _ => Ok(()),
        }
    }

    /// mtime moves with the bytes, forward, and with nothing else.
    fn check_time(&mut self, path: &str, time: Time, trees: &[Tree]) -> Result<(), String> {
        let Some(before) = self.times.insert(path.to_owned(), time) else {
            return Ok(());
        };
        let of = |tree: &Tree| tree.get(path).map(|(bytes, _)| bytes.clone());
        let (first, last) = (of(&trees[0]), of(&trees[trees.len() - 1]));
        let steady = trees.iter().all(|tree| of(tree) == first);
        let right = if steady {
            time == before
        } else if first == last {
            time >= before
        } else {
            time > before
        };
        if right {
            Ok(())
        } else {
            Err(format!("mtime went from {before:?} to {time:?}"))
        }
    }

    fn check_holds(&self) -> Result<(), String> {
        for hold in &self.holds {
            hold.check(&self.tree)
                .map_err(|error| format!("{:?} on {:?}: {error}", hold.what, hold.path))?;
        }
        Ok(())
    }
}

/// What sendfile sends of a file: the page cache, which later commits find filled.
fn sent(file: &File) -> Result<Vec<u8>, String> {
    let said = |error: Errno| format!("sendfile: {error}");
    let out = memfd_create("sent", MemfdFlags::CLOEXEC).map_err(said)?;
    while sendfile(&out, file, None, 1 << 20).map_err(said)? > 0 {}
    let mut bytes = Vec::new();
    let mut out = File::from(out);
    out.rewind().map_err(|error| error.to_string())?;
    out.read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}
