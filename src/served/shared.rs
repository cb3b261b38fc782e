//! One volume, shared by the threads that answer the kernel and the one that commits.
//!
//! Each question takes the lock once and briefly. A parked open is a stored reply, found by its
//! ticket, never a waiting thread; replies are given without the lock. None is ever dropped: whoever
//! asked would get an EIO of nobody's making.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount_engine::diff::Plan;
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::Snapshot;
use livemount_volume::{
    Attr, Change, Compat, DrainReport, FsError, HandleNumber, Inode, Label, LetGo, Listed, Looked,
    OpenAnswer, Opened, ReadAnswer, Reader, Served, State, Swapped, Ticket,
};

use super::parker::Parker;
use super::sync::{self, Condvar, Mutex, MutexGuard};

/// What answers an open when it is let go.
type Reply = Box<dyn FnOnce(Result<Opened, FsError>) + Send>;

struct Inner {
    state: State,
    /// The replies to the opens that are parked.
    parked: HashMap<Ticket, Reply>,
}

/// A volume behind its lock.
pub struct SharedVolume {
    name: Arc<str>,
    inner: Mutex<Inner>,
    /// Told when the last handle that a drain waits for was read to its end or closed.
    drained: Condvar,
}

impl SharedVolume {
    /// Shares a volume, whose name is for logs.
    pub fn new(name: &str, state: State) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            inner: Mutex::new(Inner {
                state,
                parked: HashMap::new(),
            }),
            drained: Condvar::default(),
        })
    }

    /// The volume's name in logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn ask<A>(&self, question: impl FnOnce(&mut State) -> A) -> A {
        question(&mut self.inner.lock().state)
    }

    /// Gives the replies of opens that were let go, without the lock.
    fn reply(mut inner: MutexGuard<'_, Inner>, let_go: LetGo) {
        let replies: Vec<(Reply, _)> = let_go
            .into_iter()
            .filter_map(|(ticket, answer)| Some((inner.parked.remove(&ticket)?, answer)))
            .collect();
        drop(inner);
        for (reply, answer) in replies {
            reply(answer);
        }
    }
}

/// What the kernel asks. Each is the state's function of the same name, and fails as that does.
#[allow(clippy::missing_errors_doc)] // The state's own function has it.
impl SharedVolume {
    /// LOOKUP.
    pub fn lookup(&self, parent: Inode, name: &str) -> Result<Looked, FsError> {
        let now = sync::monotonic();
        self.ask(|state| state.lookup(parent, name, now))
    }

    /// FORGET.
    pub fn forget(&self, ino: Inode, count: u64) {
        self.ask(|state| state.forget(ino, count));
    }

    /// GETATTR.
    pub fn attr(&self, ino: Inode) -> Result<Attr, FsError> {
        self.ask(|state| state.attr(ino))
    }

    /// READLINK.
    pub fn readlink(&self, ino: Inode) -> Result<String, FsError> {
        self.ask(|state| state.readlink(ino))
    }

    /// What there is to say of an inode beyond its attributes.
    pub fn label(&self, ino: Inode) -> Result<Label, FsError> {
        self.ask(|state| state.label(ino))
    }

    /// OPEN. The answer comes at once, or when the commit that changes this file has let it go.
    pub fn open(
        &self,
        ino: Inode,
        write: bool,
        answer: impl FnOnce(Result<Opened, FsError>) + Send + 'static,
    ) {
        let now = sync::now();
        let mut inner = self.inner.lock();
        match inner.state.open(ino, write, now) {
            OpenAnswer::Now(opened) => {
                drop(inner);
                answer(opened);
            }
            OpenAnswer::Parked(ticket) => {
                inner.parked.insert(ticket, Box::new(answer));
            }
        }
    }

    /// READ.
    pub fn read(
        &self,
        ino: Inode,
        handle: HandleNumber,
        range: (u64, u32),
        reader: Reader,
    ) -> Result<ReadAnswer, FsError> {
        let answer = self.ask(|state| state.read(ino, handle, range, reader))?;
        if answer.drained {
            self.drained.notify_all();
        }
        Ok(answer)
    }

    /// RELEASE.
    pub fn release(&self, handle: HandleNumber) {
        if self.ask(|state| state.release(handle)) {
            self.drained.notify_all();
        }
    }

    /// READDIR from an offset; `fill` says when its buffer is full.
    pub fn list(
        &self,
        ino: Inode,
        offset: u64,
        fill: impl FnMut(&Listed<'_>) -> bool,
    ) -> Result<(), FsError> {
        self.ask(|state| state.list(ino, offset, fill))
    }

    /// How many inodes there are, and how many bytes the current version holds.
    pub fn usage(&self) -> (u64, u64) {
        self.ask(|state| state.usage())
    }

    /// WRITE, or SETATTR of the mtime alone: the ring.
    pub fn ring(&self, ino: Inode) -> Result<Attr, FsError> {
        self.ask(|state| state.ring(ino))
    }

    /// RENAME.
    pub fn rename(&self, from: (Inode, &str), to: (Inode, &str)) -> Result<(), FsError> {
        self.ask(|state| state.rename(from, to))
    }

    /// UNLINK.
    pub fn unlink(&self, folder: Inode, leaf: &str) -> Result<(), FsError> {
        self.ask(|state| state.unlink(folder, leaf))
    }

    /// RMDIR.
    pub fn rmdir(&self, folder: Inode, leaf: &str) -> Result<(), FsError> {
        self.ask(|state| state.rmdir(folder, leaf))
    }
}

/// What the publisher asks, one thread at a time. Each is the state's function of the same name, and fails as that does.
#[allow(clippy::missing_errors_doc)] // The state's own function has it.
impl SharedVolume {
    /// What the volume shows when no commit is under way.
    pub fn shown(&self) -> Arc<Snapshot> {
        self.ask(|state| state.shown())
    }

    /// Takes over a snapshot that differs in nothing that can be seen in files.
    pub fn relabel(&self, next: Arc<Snapshot>) {
        self.ask(|state| state.relabel(next));
    }

    /// Names of `..<n>` that nobody can find any more.
    pub fn expired_version_dirs(&self) -> Vec<String> {
        let now = sync::monotonic();
        self.ask(|state| state.expired_version_dirs(now))
    }

    /// Begins a commit. The parker lets go what it holds back, should nobody else.
    pub fn begin(self: &Arc<Self>, next: &Snapshot, plan: &Plan, drain: Duration, parker: &Parker) {
        let now = sync::monotonic();
        if let Some(until) = self.ask(|state| state.begin(next, plan, drain, now)) {
            parker.watch(self, until);
        }
    }

    /// Waits until every fresh handle on a changed file has been read to its end, closed, or has had
    /// its time.
    pub fn drain(&self, bound: Duration) -> DrainReport {
        let mut inner = self.inner.lock();
        while let Some(until) = inner.state.draining(bound, sync::monotonic()) {
            self.drained.wait_until(&mut inner, until);
        }
        inner.state.end_drain(sync::monotonic())
    }

    /// Moves the mtime of the files that will be shorter, while they still show their old bytes.
    pub fn touch_shrinking(
        &self,
        next: &Snapshot,
        plan: &Plan,
        now: SystemTime,
    ) -> Vec<(Inode, RelPath)> {
        self.ask(|state| state.touch_shrinking(next, plan, now))
    }

    /// Makes the next snapshot current and arms its changes.
    pub fn swap(
        &self,
        next: &Arc<Snapshot>,
        plan: &Plan,
        compat: Compat,
    ) -> Result<Swapped, FsError> {
        let now = sync::now();
        self.ask(|state| state.swap(next, plan, compat, now))
    }

    /// Lets the opens go that the commit held back.
    pub fn unpark(&self) {
        let now = sync::now();
        let mut inner = self.inner.lock();
        let let_go = inner.state.unpark(now);
        Self::reply(inner, let_go);
    }

    /// Lets parked opens go whose time is over.
    pub(super) fn unpark_due(&self) {
        let now = sync::now();
        let mut inner = self.inner.lock();
        let let_go = inner.state.unpark_due(now);
        Self::reply(inner, let_go);
    }

    /// How many of the armed changes were brought, by whomever, or given up.
    pub fn done(&self) -> usize {
        self.ask(|state| state.done())
    }

    /// Gives up a change, so that the next can be brought.
    pub fn give_up(&self, index: usize) {
        self.ask(|state| state.give_up(index));
    }

    /// Takes back what a swap that failed has staged.
    pub fn abandon(&self) {
        self.ask(State::abandon);
    }

    /// Ends a commit. Tells how many handles are on older versions.
    pub fn finish(&self, failed: &[Change]) -> usize {
        self.ask(|state| state.finish(failed))
    }

    /// The versions that are and were served, the current one first.
    pub fn served(&self) -> Vec<Served> {
        self.ask(|state| state.served())
    }

    /// How many older versions are kept for those who hold them, and how many bytes these hold.
    pub fn pinned(&self) -> (u64, u64) {
        self.ask(|state| state.pinned())
    }

    /// How many older versions were dropped because too many were kept.
    pub fn dropped_pins(&self) -> u64 {
        self.ask(|state| state.dropped_pins())
    }
}
