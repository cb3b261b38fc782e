//! What the publisher asks of a volume: the steps of a commit that change what it shows.
//!
//! Called by one thread at a time for each volume. The steps that need the kernel lie between these
//! calls and are the publisher's; nothing here waits but the drain.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livemount_engine::diff::{Op, Plan};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{Digest, Entry, Snapshot};

use super::armed::ArmedOp;
use super::error::FsError;
use super::inodes::{FileType, Identity};
use super::park::{DrainReport, Park, Parker};
use super::state::{State, Volume};
use super::tree::{Children, Content, NewNode, Tree};

/// How much longer than its drain a commit may hold opens back.
const PARK_BEYOND_DRAIN: Duration = Duration::from_secs(1);

/// What a commit does beyond its own events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Nothing.
    #[default]
    None,
    /// It ends with one MOVED_TO of `..data`, for programs that wait for nothing else.
    Dotdata,
}

/// What a commit has begun; the drain needs it.
#[derive(Debug)]
pub struct Committing {
    began: Instant,
    until: Option<Instant>,
}

/// What the swap leaves for the kernel to be told.
#[derive(Debug)]
pub struct Swapped {
    /// The version that is current now.
    pub version: u32,
    /// The mtime of everything that changed.
    pub mtime: SystemTime,
    /// The inodes whose cached attributes are wrong now.
    pub changed: Vec<u64>,
    /// Whether older versions were given up for the limit.
    pub dropped: bool,
    /// One armed change for each of the plan's, in its order, and what compatibility adds.
    pub ops: Vec<ArmedOp>,
}

/// Puts a snapshot's names below an empty folder. Tells the inodes that were made.
pub(super) fn plant(
    tree: &mut Tree,
    folder: u64,
    snapshot: &Snapshot,
    mtime: SystemTime,
    identity: impl Fn(&RelPath, FileType) -> Identity,
) -> Vec<u64> {
    let mut inodes = Vec::with_capacity(snapshot.entries.len());
    for (path, entry) in &snapshot.entries {
        let kind = if entry.is_dir() {
            FileType::Dir
        } else {
            FileType::File
        };
        // A snapshot lists each folder before what it holds, and each name once.
        let planted = match path.parent() {
            None => Ok(folder),
            Some(parent) => tree.resolve_below(folder, &parent),
        }
        .and_then(|parent| {
            let new = node(entry, snapshot, mtime);
            tree.insert(parent, path.name(), identity(path, kind), new)
        });
        debug_assert!(planted.is_ok(), "{path} cannot be planted: {planted:?}");
        inodes.extend(planted);
    }
    inodes
}

fn node(entry: &Entry, snapshot: &Snapshot, mtime: SystemTime) -> NewNode {
    let (content, mode) = match entry {
        Entry::Dir { mode } => (Content::Dir(Children::default()), *mode),
        Entry::File(file) => (Content::File(file.bytes.clone()), file.mode),
    };
    NewNode {
        content,
        mode,
        gid: snapshot.gid,
        mtime,
    }
}

impl Volume {
    /// What the volume shows when no commit is under way.
    pub fn shown(&self) -> Arc<Snapshot> {
        Arc::clone(&self.state.lock().shown)
    }

    /// Takes over a snapshot that differs in nothing that can be seen in files, such as the
    /// resourceVersion.
    pub fn relabel(&self, next: Arc<Snapshot>) {
        let mut state = self.state.lock();
        state.history.relabelled(next.objects.clone());
        state.current = Arc::clone(&next);
        state.shown = next;
    }

    /// Names of `..<n>` that nobody can find any more; see `version_dirs`.
    pub fn expired_version_dirs(&self) -> Vec<String> {
        self.state.lock().expired(Instant::now())
    }

    /// Begins a commit: new opens of the files that will change are held back from here on, and the
    /// handles that it has to wait for are known.
    pub fn begin(
        self: &Arc<Self>,
        next: &Snapshot,
        plan: &Plan,
        drain: Duration,
        parker: &Parker,
    ) -> Committing {
        let began = Instant::now();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut inos: HashSet<u64> = plan
            .changed
            .iter()
            .filter_map(|path| state.tree.resolve(path).ok())
            .collect();
        inos.extend(state.revived(next, plan));
        let park = Park {
            inos,
            until: began + drain + PARK_BEYOND_DRAIN,
            waiting: Vec::new(),
        };
        let until = state
            .handles
            .begin_drain(began, |ino| park.inos.contains(&ino));
        if !park.inos.is_empty() {
            parker.watch(self, park.until);
            state.park = Some(park);
        }
        Committing { began, until }
    }

    /// Waits until every fresh handle on a changed file has been read to its end, closed, or has had
    /// its time.
    pub fn drain(&self, commit: &Committing, bound: Duration) -> DrainReport {
        let mut state = self.state.lock();
        if let Some(until) = commit.until {
            let until = until.min(commit.began + bound);
            while state.handles.delaying() > 0 {
                if self.drained.wait_until(&mut state, until).timed_out() {
                    break;
                }
            }
        }
        let unread = state.handles.end_drain();
        DrainReport {
            waited: commit
                .until
                .map_or(Duration::ZERO, |_| commit.began.elapsed()),
            unread,
        }
    }

    /// Moves the mtime of the files that will be shorter, while they still show their old bytes. The
    /// kernel drops their page cache at that, without touching the pages. Dropped at the swap, a
    /// page behind the new end would be zeroed in place (`truncate_pagecache` in
    /// `fuse_change_attributes`, `fs/fuse/inode.c`), under whoever has sent it but not delivered it.
    pub fn touch_shrinking(
        &self,
        next: &Snapshot,
        plan: &Plan,
        now: SystemTime,
    ) -> Vec<(u64, RelPath)> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mtime = now.max(state.committed + Duration::from_nanos(1));
        let mut touched = Vec::new();
        for path in &plan.changed {
            let size = next.file(path.as_str()).map_or(0, |file| file.bytes.len());
            if let Ok(ino) = state.tree.resolve(path)
                && let Ok(node) = state.tree.get_mut(ino)
                && let Content::File(bytes) = &node.content
                && bytes.len() > size
            {
                node.mtime = mtime;
                touched.push((ino, path.clone()));
            }
        }
        if !touched.is_empty() {
            state.committed = mtime;
        }
        touched
    }

    /// Makes the next snapshot's bytes and attributes current for all existing names at once, stages
    /// the added ones, and arms the changes of names and the rings.
    pub fn swap(
        &self,
        next: &Arc<Snapshot>,
        plan: &Plan,
        compat: Compat,
        now: SystemTime,
    ) -> Result<Swapped, FsError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mtime = now.max(state.committed + Duration::from_nanos(1));
        let revived = state.revived(next, plan);
        let mut ops = state.stage(next, plan, mtime)?;
        if compat == Compat::Dotdata {
            ops.push(ArmedOp::Dotdata);
        }
        let mut changed = revived;
        for path in &plan.changed {
            let ino = state.tree.resolve(path)?;
            let new = node(&next.entries[path], next, mtime);
            let old = state.tree.get_mut(ino)?;
            (old.content, old.mode, old.gid, old.mtime) = (new.content, new.mode, new.gid, mtime);
            changed.push(ino);
        }
        for path in &plan.remoded {
            let ino = state.tree.resolve(path)?;
            let new = node(&next.entries[path], next, mtime);
            let old = state.tree.get_mut(ino)?;
            (old.mode, old.gid) = (new.mode, new.gid);
            changed.push(ino);
        }
        if plan.root_remoded {
            let files = state.tree.files;
            let root = state.tree.get_mut(files)?;
            (root.mode, root.gid) = (next.root_mode, next.gid);
            changed.push(files);
        }
        let former = std::mem::replace(&mut state.current, Arc::clone(next));
        let (version, weight) = (state.version, weight(&former));
        state.retire_version_dir(former, Instant::now());
        let dropped = state.handles.retire(version, weight);
        for version in &dropped {
            state.drop_version_dir(*version);
        }
        state.version += 1;
        let (version, objects) = (state.version, next.objects.clone());
        let handles = &state.handles;
        let held = |version| handles.held(version) > 0;
        state.history.committed(version, objects, mtime, held);
        state.committed = mtime;
        state.armed.arm(ops.clone());
        Ok(Swapped {
            version: state.version,
            mtime,
            changed,
            ops,
            dropped: !dropped.is_empty(),
        })
    }

    /// Lets the opens go that the commit held back.
    pub fn unpark(&self) {
        Self::let_go(self.state.lock());
    }

    /// How many of the armed changes were brought, by whomever, or given up.
    pub fn done(&self) -> usize {
        self.state.lock().armed.done()
    }

    /// Gives up a change, so that the next can be brought; nothing where somebody has brought it by
    /// now.
    pub fn give_up(&self, index: usize) {
        let mut state = self.state.lock();
        if state.armed.done() == index {
            state.armed.advance();
        }
    }

    /// Takes back what a swap that failed has staged.
    pub fn abandon(&self, plan: &Plan) {
        let mut state = self.state.lock();
        let version = state.version + 1;
        state.unstage(plan, version);
    }

    /// Ends a commit. `failed` are the changes of names that could not be brought: they are not shown,
    /// so that the next commit tries them again. Tells how many handles are on older versions.
    pub fn finish(&self, next: Arc<Snapshot>, plan: &Plan, failed: &[Op]) -> usize {
        let mut state = self.state.lock();
        state.armed.disarm();
        let version = state.version;
        state.unstage(plan, version);
        state.shown = if failed.is_empty() {
            next
        } else {
            Arc::new(without(&next, &state.shown, failed))
        };
        state.handles.older(state.version)
    }

    /// How many older versions are kept for those who hold them, and how many bytes these hold.
    pub fn pinned(&self) -> (u64, u64) {
        let state = self.state.lock();
        state.handles.pinned(state.version)
    }

    /// How many older versions were dropped because too many were kept.
    pub fn dropped_pins(&self) -> u64 {
        self.state.lock().handles.dropped
    }
}

/// The name under which the `index`th addition of a version waits; never used again.
fn stage_name(version: u32, index: usize) -> String {
    format!("{version}-{index}")
}

/// What keeping a version costs at the most, in bytes: its contents and its names.
pub(super) fn weight(snapshot: &Snapshot) -> u64 {
    const NAME: u64 = 512;
    snapshot.bytes() + NAME * snapshot.entries.len() as u64
}

impl State {
    /// Puts the added names into the stage and finds the inodes of every change.
    fn stage(
        &mut self,
        next: &Snapshot,
        plan: &Plan,
        mtime: SystemTime,
    ) -> Result<Vec<ArmedOp>, FsError> {
        let mut staged = HashMap::new();
        for (index, top) in plan.staged.iter().enumerate() {
            let name = stage_name(self.version + 1, index);
            self.stage_one(next, top, &name, mtime)?;
            staged.insert(top, name);
        }
        let parent = |path: &RelPath| match path.parent() {
            None => Ok(self.tree.files),
            Some(parent) => self.tree.resolve(&parent),
        };
        plan.ops
            .iter()
            .map(|op| {
                Ok(match op {
                    Op::Rename(path) => ArmedOp::Rename {
                        stage: staged.get(path).cloned().ok_or(FsError::NoName)?,
                        parent: parent(path)?,
                        name: path.name().to_owned(),
                    },
                    Op::Ring(path) => ArmedOp::Ring {
                        ino: self.tree.resolve(path)?,
                    },
                    Op::Unlink(path) => ArmedOp::Unlink {
                        parent: parent(path)?,
                        name: path.name().to_owned(),
                    },
                    Op::Rmdir(path) => ArmedOp::Rmdir {
                        parent: parent(path)?,
                        name: path.name().to_owned(),
                    },
                })
            })
            .collect()
    }

    /// Drops what a version has staged and nobody has renamed in.
    fn unstage(&mut self, plan: &Plan, version: u32) {
        let stage = self.tree.stage;
        for index in 0..plan.staged.len() {
            self.tree.discard(stage, &stage_name(version, index));
        }
    }

    /// The files that come back while somebody still holds them: staging gives them new bytes.
    fn revived(&self, next: &Snapshot, plan: &Plan) -> Vec<u64> {
        plan.staged
            .iter()
            .flat_map(|top| subtree(next, top))
            .filter(|(_, entry)| !entry.is_dir())
            .filter_map(|(path, _)| {
                let identity = Identity::Path(FileType::File, path.clone());
                self.tree.find(&identity)
            })
            .collect()
    }

    fn stage_one(
        &mut self,
        next: &Snapshot,
        top: &RelPath,
        name: &str,
        mtime: SystemTime,
    ) -> Result<(), FsError> {
        let stage = self.tree.stage;
        for (path, entry) in subtree(next, top) {
            let new = node(entry, next, mtime);
            let kind = if entry.is_dir() {
                FileType::Dir
            } else {
                FileType::File
            };
            let identity = Identity::Path(kind, path.clone());
            if path == top {
                self.tree.insert(stage, name, identity, new)?;
                continue;
            }
            let above = path.parent().ok_or(FsError::NoName)?;
            let staged = self.tree.child(stage, name)?;
            let folder = match above.below(top) {
                None => staged,
                Some(rest) => self.tree.resolve_below(staged, &rest)?,
            };
            self.tree.insert(folder, path.name(), identity, new)?;
        }
        Ok(())
    }
}

/// A name of a snapshot and all below it.
fn subtree<'s>(
    snapshot: &'s Snapshot,
    top: &'s RelPath,
) -> impl Iterator<Item = (&'s RelPath, &'s Entry)> {
    snapshot
        .entries
        .range(top.clone()..)
        .take_while(|(path, _)| path.as_str().starts_with(top.as_str()))
        .filter(move |(path, _)| *path == top || path.is_below(top))
}

/// The next snapshot less what could not be brought: names that did not appear, and with the names
/// that did not go.
fn without(next: &Snapshot, former: &Snapshot, failed: &[Op]) -> Snapshot {
    let mut shown = next.clone();
    for op in failed {
        if let Op::Rename(path) = op {
            shown
                .entries
                .retain(|name, _| name != path && !name.is_below(path));
        }
    }
    for op in failed {
        if let Op::Ring(path) = op
            && let Some(Entry::File(file)) = shown.entries.get_mut(path)
        {
            // Its bytes are there, but nobody was told: changed until somebody is.
            file.digest = Digest(!file.digest.0);
        }
    }
    for op in failed {
        if let Op::Unlink(path) | Op::Rmdir(path) = op
            && let Some(entry) = former.entries.get(path)
        {
            shown.entries.insert(path.clone(), entry.clone());
        }
    }
    shown
}
