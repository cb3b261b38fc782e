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
    Attr, Change, Committing, Compat, DrainReport, FsError, HandleNumber, Inode, Label, LetGo,
    Listed, Looked, OpenAnswer, Opened, ParkedOpen, ReadAnswer, Reader, Replayed, RequestNumber,
    Served, State, Step, Swapped, Ticket,
};

use super::kept::Kept;
use super::parker::Parker;
use super::sync::{self, Condvar, Mutex, MutexGuard};
use crate::store::{NextSnapshot, StoreError, Superseded, VolumeFile};

/// What answers an open when it is let go.
type Reply = Box<dyn FnOnce(Result<Opened, FsError>) + Send>;

struct Inner {
    state: State,
    /// The replies to the opens that are parked.
    parked: HashMap<Ticket, Parked>,
    kept: Kept,
}

/// An open that is parked.
struct Parked {
    ino: Inode,
    request: RequestNumber,
    reply: Reply,
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
        Self::of(name, state, Kept::default())
    }

    /// A volume that another process has served, from what it left. Goes on where that one stopped.
    ///
    /// # Errors
    ///
    /// There is no memory to write it down anew.
    pub fn taken_over(
        name: &str,
        replayed: Replayed,
        file: VolumeFile,
    ) -> Result<Arc<Self>, StoreError> {
        let Replayed {
            mut state,
            next: _,
            parked,
            answered,
        } = replayed;
        state.take_over();
        let volume = Self::of(name, state, Kept::taken_over(file, parked, answered));
        volume.write_down()?;
        Ok(volume)
    }

    fn of(name: &str, state: State, kept: Kept) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            inner: Mutex::new(Inner {
                state,
                parked: HashMap::new(),
                kept,
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

    /// Asks what changes the state, and writes down that it was asked: for a successor it is as done then
    /// as it is here.
    fn change<'s, A>(
        &self,
        question: impl FnOnce(&mut State) -> A,
        step: impl FnOnce(&A) -> Option<Step<'s>>,
    ) -> A {
        let mut inner = self.inner.lock();
        let answer = question(&mut inner.state);
        let superseded = step(&answer).map(|step| inner.note(&step));
        drop(inner);
        drop(superseded);
        answer
    }

    /// Gives the replies of opens that were let go, without the lock.
    fn reply(mut inner: MutexGuard<'_, Inner>, let_go: LetGo) {
        let replies: Vec<(Reply, _)> = let_go
            .into_iter()
            .filter_map(|(ticket, answer)| Some((inner.parked.remove(&ticket)?.reply, answer)))
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
    pub fn lookup(
        &self,
        parent: Inode,
        name: &str,
        request: RequestNumber,
    ) -> Result<Looked, FsError> {
        let now = sync::monotonic();
        let mut inner = self.inner.lock();
        let looked = inner.state.lookup(parent, name, now)?;
        let ino = looked.attr.ino;
        if inner.kept.looked_up_already(request, ino) {
            // The kernel hears of it once.
            inner.state.forget(ino, 1);
            return Ok(looked);
        }
        let superseded = inner.note(&Step::Lookup {
            parent,
            name,
            now: now.into(),
            request,
        });
        drop(inner);
        drop(superseded);
        Ok(looked)
    }

    /// FORGET.
    pub fn forget(&self, ino: Inode, count: u64) {
        let step = Step::Forget { ino, count };
        self.change(|state| state.forget(ino, count), |()| Some(step));
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
        request: RequestNumber,
        reply: impl FnOnce(Result<Opened, FsError>) + Send + 'static,
    ) {
        let now = sync::now();
        let mut inner = self.inner.lock();
        if let Some(opened) = inner.kept.opened_already(request) {
            drop(inner);
            return reply(Ok(opened));
        }
        let answer = inner.state.open(ino, write, now);
        let step = Step::Open {
            ino,
            write,
            now: now.monotonic.into(),
            wall: now.wall.into(),
            request,
        };
        let superseded = match answer {
            OpenAnswer::Now(Err(error)) => {
                drop(inner);
                return reply(Err(error));
            }
            OpenAnswer::Now(Ok(_)) => inner.note(&step),
            OpenAnswer::Parked(ticket) => {
                let superseded = inner.note(&step);
                let reply = Box::new(reply);
                let parked = Parked {
                    ino,
                    request,
                    reply,
                };
                inner.parked.insert(ticket, parked);
                drop(inner);
                return drop(superseded);
            }
        };
        drop(inner);
        drop(superseded);
        if let OpenAnswer::Now(opened) = answer {
            reply(opened);
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
        let step = Step::ReadToEnd { ino, handle };
        let answer = self.change(
            |state| state.read(ino, handle, range, reader),
            |answer| {
                answer
                    .as_ref()
                    .is_ok_and(|answer| answer.ended)
                    .then_some(step)
            },
        )?;
        if answer.drained {
            self.drained.notify_all();
        }
        Ok(answer)
    }

    /// RELEASE.
    pub fn release(&self, handle: HandleNumber) {
        let step = Step::Release { handle };
        if self.change(|state| state.release(handle), |_| Some(step)) {
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
        let step = Step::Ring { ino };
        self.change(|state| state.ring(ino), |rung| rung.is_ok().then_some(step))
    }

    /// RENAME.
    pub fn rename(&self, from: (Inode, &str), to: (Inode, &str)) -> Result<(), FsError> {
        let step = Step::Rename { from, to };
        self.change(
            |state| state.rename(from, to),
            |done| done.is_ok().then_some(step),
        )
    }

    /// UNLINK.
    pub fn unlink(&self, folder: Inode, leaf: &str) -> Result<(), FsError> {
        let step = Step::Unlink { folder, leaf };
        self.change(
            |state| state.unlink(folder, leaf),
            |done| done.is_ok().then_some(step),
        )
    }

    /// RMDIR.
    pub fn rmdir(&self, folder: Inode, leaf: &str) -> Result<(), FsError> {
        let step = Step::Rmdir { folder, leaf };
        self.change(
            |state| state.rmdir(folder, leaf),
            |done| done.is_ok().then_some(step),
        )
    }
}

/// What the publisher asks, one thread at a time. Each is the state's function of the same name, and fails as that does.
#[allow(clippy::missing_errors_doc)] // The state's own function has it.
impl SharedVolume {
    /// What the volume shows when no commit is under way.
    pub fn shown(&self) -> Arc<Snapshot> {
        self.ask(|state| state.shown())
    }

    /// What the volume is to show: the newest that was made current, whatever of it was refused.
    pub fn target(&self) -> Arc<Snapshot> {
        self.ask(|state| state.current())
    }

    /// Takes over a snapshot that differs in nothing that can be seen in files.
    pub fn relabel(&self, next: Arc<Snapshot>) {
        self.change(|state| state.relabel(next), |()| Some(Step::Relabel));
        self.shown_next();
    }

    /// Names of `..<n>` that nobody can find any more.
    pub fn expired_version_dirs(&self) -> Vec<String> {
        let now = sync::monotonic();
        self.ask(|state| state.expired_version_dirs(now))
    }

    /// Begins a commit. The parker lets go what it holds back, should nobody else.
    pub fn begin(self: &Arc<Self>, next: &Snapshot, plan: &Plan, drain: Duration, parker: &Parker) {
        let now = sync::monotonic();
        let step = Step::Begin {
            drain: Step::drain(drain),
            now: now.into(),
        };
        let until = self.change(|state| state.begin(next, plan, drain, now), |_| Some(step));
        if let Some(until) = until {
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
        let now = sync::monotonic();
        let report = inner.state.end_drain(now);
        let superseded = inner.note(&Step::EndDrain { now: now.into() });
        drop(inner);
        drop(superseded);
        report
    }

    /// Moves the mtime of the files that will be shorter, while they still show their old bytes.
    pub fn touch_shrinking(
        &self,
        next: &Snapshot,
        plan: &Plan,
        now: SystemTime,
    ) -> Vec<(Inode, RelPath)> {
        let step = Step::TouchShrinking { wall: now.into() };
        self.change(
            |state| state.touch_shrinking(next, plan, now),
            |_| Some(step),
        )
    }

    /// Makes the next snapshot current and arms its changes.
    pub fn swap(
        &self,
        next: &Arc<Snapshot>,
        plan: &Plan,
        compat: Compat,
    ) -> Result<Swapped, FsError> {
        let now = sync::now();
        let swapped = self.change(
            |state| state.swap(next, plan, compat, now),
            |swapped| {
                let swapped = swapped.as_ref().ok()?;
                Some(Step::Swap {
                    dotdata: compat == Compat::Dotdata,
                    now: now.monotonic.into(),
                    wall: now.wall.into(),
                    version: swapped.version,
                    changes: swapped.changes.len() as u64,
                })
            },
        );
        self.shown_next();
        if swapped.is_err() {
            // It stopped half way, which no step says.
            let _kept_no_more = self.write_down();
        }
        swapped
    }

    /// Lets the opens go that the commit held back.
    pub fn unpark(&self) {
        Self::let_go(self.inner.lock());
    }

    /// Lets parked opens go whose time is over.
    pub(super) fn unpark_due(&self) {
        let inner = self.inner.lock();
        let until = inner.state.parks_until();
        if until.is_some_and(|until| until <= sync::monotonic()) {
            Self::let_go(inner);
        }
    }

    fn let_go(mut inner: MutexGuard<'_, Inner>) {
        let now = sync::now();
        let let_go = inner.state.unpark(now);
        let superseded = inner.note(&Step::Unpark {
            now: now.monotonic.into(),
            wall: now.wall.into(),
        });
        Self::reply(inner, let_go);
        drop(superseded);
    }

    /// How many of the armed changes were brought, by whomever, or given up.
    pub fn done(&self) -> usize {
        self.ask(|state| state.done())
    }

    /// Gives up a change, so that the next can be brought.
    pub fn give_up(&self, index: usize) {
        let step = Step::GiveUp {
            index: index as u64,
        };
        self.change(|state| state.give_up(index), |()| Some(step));
    }

    /// Takes back what a swap that failed has staged.
    pub fn abandon(&self) {
        self.change(State::abandon, |()| Some(Step::Abandon));
    }

    /// Ends a commit. Tells how many handles are on older versions.
    pub fn finish(&self, failed: &[Change]) -> usize {
        let finish = |state: &mut State| {
            let failed_of_armed = Step::failed(&state.armed(), failed);
            (state.finish(failed), failed_of_armed)
        };
        let step = |(_, failed): &(usize, Vec<u64>)| {
            Some(Step::Finish {
                failed: failed.clone(),
            })
        };
        self.change(finish, step).0
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

/// What keeps the volume for a successor of this process.
impl SharedVolume {
    /// Writes the volume to a file from now on.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn keep(&self, file: VolumeFile) -> Result<(), StoreError> {
        // Its contents, while no lock is held.
        let _stored = NextSnapshot::store(file.contents(), &self.shown())?;
        self.inner.lock().kept.file = Some(file);
        self.write_down()
    }

    /// The volume is nobody's to go on with any more: its file is not believed, and what only it spoke of goes.
    pub fn keep_no_more(&self) {
        let file = self.inner.lock().kept.file.take();
        if let Some(file) = file {
            file.invalidate();
        }
    }

    /// Writes down what the publisher has to know of the volume beside its state.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn set_about(&self, about: Vec<u8>) -> Result<(), StoreError> {
        if let Some(file) = &mut self.inner.lock().kept.file {
            file.set_about(about);
        }
        self.write_down()
    }

    /// Writes the whole volume down anew, so that only what it still speaks of is kept.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn write_down(&self) -> Result<(), StoreError> {
        let mut inner = self.inner.lock();
        let superseded = inner.write_down();
        drop(inner);
        superseded.map(drop)
    }

    /// The same, where something has happened since the last time, and without the former versions that nobody
    /// can ask for any more.
    pub fn tidy_up(&self) {
        let now = sync::monotonic();
        let mut inner = self.inner.lock();
        let gone = inner.state.forget_former(now);
        let stale = inner.kept.file.as_ref().is_some_and(VolumeFile::is_stale);
        let superseded = (stale || !gone.is_empty()).then(|| inner.write_down());
        drop(inner);
        drop(superseded);
        drop(gone);
    }

    /// Stores the snapshot that the next steps of a commit speak of. Where that cannot be, the volume is not
    /// kept any more.
    pub fn store_next(&self, next: &Arc<Snapshot>) {
        let Some(contents) = self.inner.lock().kept.contents() else {
            return;
        };
        let stored = NextSnapshot::store(&contents, next);
        let mut inner = self.inner.lock();
        let superseded = inner.store_next(stored);
        drop(inner);
        drop(superseded);
    }

    /// The record holds from now on what the steps spoke of.
    fn shown_next(&self) {
        if let Some(file) = &mut self.inner.lock().kept.file {
            file.shown();
        }
    }

    /// Why the volume is not kept, though it should be; told once.
    pub fn kept_failure(&self) -> Option<StoreError> {
        self.inner.lock().kept.failure.take()
    }

    /// The opens that a predecessor had parked.
    pub fn inherited(&self) -> Vec<ParkedOpen> {
        self.inner.lock().kept.inherited()
    }

    /// All inherited requests have been answered or asked for again.
    pub fn inherited_done(&self) {
        self.inner.lock().kept.inherited_done();
    }

    /// How far the commit under way has come.
    pub fn committing(&self) -> Committing {
        self.ask(|state| state.committing())
    }

    /// What is left to do of a commit whose bytes are current, and the names of all files and folders.
    pub fn swapped(&self) -> (Swapped, Vec<RelPath>) {
        self.ask(|state| (state.swapped(), state.names()))
    }

    /// Has parked opens that a predecessor left let go in time.
    pub fn watch_parked(self: &Arc<Self>, parker: &Parker) {
        if let Some(until) = self.ask(|state| state.parks_until()) {
            parker.watch(self, until);
        }
    }
}

impl Inner {
    /// Writes down that something was asked. What can be dropped now comes back, to be dropped without the
    /// lock.
    fn note(&mut self, step: &Step<'_>) -> Option<Superseded> {
        let file = self.kept.file.as_mut()?;
        if file.step(step).is_ok() && !file.is_long() {
            return None;
        }
        // The state has it already.
        self.write_down().ok()
    }

    fn store_next(&mut self, stored: Result<NextSnapshot, StoreError>) -> Option<Superseded> {
        let file = self.kept.file.as_mut()?;
        match stored {
            Ok(next) => {
                if file.next(next).is_ok() {
                    return None;
                }
                // It is written behind the new record.
                self.write_down().ok()
            }
            Err(error) => {
                self.kept.give_up(error);
                None
            }
        }
    }

    fn write_down(&mut self) -> Result<Superseded, StoreError> {
        let parked = self.parked.iter().map(|(ticket, parked)| ParkedOpen {
            ticket: *ticket,
            ino: parked.ino,
            request: parked.request,
        });
        self.kept.write(&self.state, parked)
    }
}
