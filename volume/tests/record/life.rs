//! Two volumes that live the same life, one of which was handed over: each question goes to both, and
//! the answers must be one.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount_engine::diff::{Plan, plan};
use livemount_engine::object::Bytes;
use livemount_engine::snapshot::Snapshot;
use livemount_volume::{
    Change, Compat, DOTDATA, FileType, FsError, HandleNumber, Inode, LetGo, Looked, Monotonic, Now,
    OpenAnswer, Pins, ROOT, Reader, Record, State, Swapped,
};
use proptest::sample::Index;

use crate::any::{Step, Tree};
use crate::snapshots::{KEY, PATHS, snapshot};

const DRAIN: Duration = Duration::from_millis(250);

/// A volume, and by how much its clock differs.
struct Twin {
    state: State,
    ahead: Duration,
}

/// How far the commit under way has come.
enum Stage {
    Idle,
    Begun(Arc<Snapshot>, Plan),
    Drained(Arc<Snapshot>, Plan),
    Swapped(Swapped),
    Bringing(Swapped, Vec<Change>),
}

pub struct Twins {
    each: Vec<Twin>,
    now: Duration,
    compat: Compat,
    stage: Stage,
    files: Inode,
    staged: Inode,
    /// All that the kernel was ever told of.
    inodes: Vec<Inode>,
    /// Those of them that are files.
    regular: Vec<Inode>,
    handles: Vec<(Inode, HandleNumber)>,
}

impl Twins {
    pub fn new(first: &Tree, pins: Pins, dotdata: bool) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let state = State::new(KEY, snapshot(first), pins, start);
        let mut twins = Self {
            each: vec![Twin {
                state,
                ahead: Duration::ZERO,
            }],
            now: Duration::from_secs(1000),
            compat: if dotdata {
                Compat::Dotdata
            } else {
                Compat::None
            },
            stage: Stage::Idle,
            files: ROOT,
            staged: ROOT,
            inodes: vec![ROOT],
            regular: Vec::new(),
            handles: Vec::new(),
        };
        twins.files = twins.lookup(ROOT, "files").expect("files/").attr.ino;
        twins.staged = twins.lookup(ROOT, "stage").expect("stage/").attr.ino;
        twins
    }

    /// Asks each; the answers must be the same.
    fn ask<A: Debug + PartialEq>(&mut self, question: impl Fn(&mut State, Now) -> A) -> A {
        self.now += Duration::from_nanos(1001);
        let (now, wall) = (self.now, self.wall());
        let mut answers = self.each.iter_mut().map(|twin| {
            let monotonic = Monotonic(now + twin.ahead);
            question(&mut twin.state, Now { monotonic, wall })
        });
        let first = answers.next().expect("there is always one");
        for other in answers {
            assert_eq!(other, first, "the one that was handed over answers first");
        }
        first
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.now
    }

    /// Writes the newest twin down, reads it back, and lets it take the second place.
    fn hand_over(&mut self, later: u32) {
        let Twin { state, ahead } = self.each.last().expect("there is always one");
        let (record, contents) = state.record(Monotonic(self.now + *ahead));
        let written = postcard::to_stdvec(&record).expect("plain data");
        let contents: Vec<Bytes> = contents.iter().map(|bytes| Bytes::from(&**bytes)).collect();
        let read: Record = postcard::from_bytes(&written).expect("what was written");
        assert_eq!(read, record);
        let ahead = Duration::from_millis(later.into());
        let now = Monotonic(self.now + ahead);
        let state = State::from_record(read, &contents, now).expect("what was written");
        let (again, same) = state.record(now);
        assert_eq!((again, same), (record, contents), "written down again");
        self.each.truncate(1);
        self.each.push(Twin { state, ahead });
    }

    fn lookup(&mut self, parent: Inode, name: &str) -> Result<Looked, FsError> {
        let looked = self.ask(|state, now| state.lookup(parent, name, now.monotonic));
        if let Ok(looked) = looked
            && !self.inodes.contains(&looked.attr.ino)
        {
            self.inodes.push(looked.attr.ino);
            if looked.attr.kind == FileType::File {
                self.regular.push(looked.attr.ino);
            }
        }
        looked
    }

    fn walk(&mut self, from: Inode, path: &str) {
        let mut folder = from;
        for name in path.split('/') {
            match self.lookup(folder, name) {
                Ok(looked) => folder = looked.attr.ino,
                Err(_) => return,
            }
        }
    }

    fn any_ino(&self, index: Index) -> Inode {
        *index.get(&self.inodes)
    }

    fn let_go(&mut self, answers: LetGo) {
        for opened in answers.into_iter().filter_map(|(_, opened)| opened.ok()) {
            // Whose it is matters to no later question: a wrong inode reads ESTALE in both.
            let ino = *self.inodes.last().expect("the root");
            self.handles.push((ino, opened.number));
        }
    }

    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Handover { later } => self.hand_over(*later),
            Step::Commit { tree, fails } => self.commit(tree, *fails),
            Step::WholeCommit { tree } => {
                self.commit(tree, false);
                while !matches!(self.stage, Stage::Idle) {
                    self.commit(tree, false);
                }
            }
            Step::Relabel => self.relabel(),
            Step::Time { millis } => self.now += Duration::from_millis((*millis).into()),
            Step::Walk { path, dots: None } => self.walk(self.files, index_path(*path)),
            Step::Walk {
                path,
                dots: Some(dots),
            } => self.walk_dots(*dots, index_path(*path)),
            Step::Forget { ino, count } => {
                let ino = self.any_ino(*ino);
                self.ask(|state, _| state.forget(ino, (*count).into()));
            }
            Step::Open { file, write } => self.open(*file, *write),
            Step::Read {
                handle,
                part: (offset, size),
                cached,
            } => {
                let Some((ino, handle)) = self.any_handle(*handle) else {
                    return;
                };
                let range = ((*offset).into(), (*size).into());
                let reader = if *cached {
                    Reader::PageCache
                } else {
                    Reader::Handle
                };
                let _ = self.ask(|state, _| state.read(ino, handle, range, reader));
            }
            Step::Release { handle } => {
                let Some((_, number)) = self.any_handle(*handle) else {
                    return;
                };
                self.handles.retain(|(_, other)| *other != number);
                self.ask(|state, _| state.release(number));
            }
            Step::Rogue { ino } => {
                let ino = self.any_ino(*ino);
                let _ = self.ask(|state, _| state.ring(ino));
                let files = self.files;
                let _ = self.ask(|state, _| state.unlink(files, "a"));
            }
            Step::Due => {
                let answers = self.ask(State::unpark_due);
                self.let_go(answers);
            }
            Step::Ask => self.ask_everything(),
        }
    }

    fn any_handle(&self, index: Index) -> Option<(Inode, HandleNumber)> {
        (!self.handles.is_empty()).then(|| *index.get(&self.handles))
    }

    fn walk_dots(&mut self, dots: u8, path: &str) {
        let name = if dots == 0 {
            DOTDATA.to_owned()
        } else {
            let version = self.ask(|state, _| state.version());
            format!("..{}", (version.0 + 1).saturating_sub(dots.into()))
        };
        if let Ok(looked) = self.lookup(self.files, &name) {
            let _ = self.ask(|state, _| state.readlink(looked.attr.ino));
            self.walk(looked.attr.ino, path);
        }
    }

    fn open(&mut self, index: Index, write: bool) {
        let ino = if self.regular.is_empty() {
            ROOT
        } else {
            *index.get(&self.regular)
        };
        let opened = self.ask(|state, now| state.open(ino, write, now));
        if let OpenAnswer::Now(Ok(opened)) = opened {
            self.handles.push((ino, opened.number));
        }
    }

    fn relabel(&mut self) {
        if matches!(self.stage, Stage::Idle) {
            let mut next = Snapshot::clone(&self.ask(|state, _| state.shown()));
            for object in &mut next.objects {
                object.resource_version = Some("relabelled".into());
            }
            let next = Arc::new(next);
            self.ask(|state, _| state.relabel(Arc::clone(&next)));
        }
    }

    /// One step of a commit.
    fn commit(&mut self, tree: &Tree, fails: bool) {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        self.stage = match stage {
            Stage::Idle => {
                let next = snapshot(tree);
                let plan = plan(&self.ask(|state, _| state.shown()), &next);
                if plan.is_empty() {
                    return;
                }
                self.ask(|state, now| {
                    let until = state.begin(&next, &plan, DRAIN, now.monotonic);
                    until.map(|until| until.since(now.monotonic))
                });
                Stage::Begun(next, plan)
            }
            Stage::Begun(next, plan) => {
                let left = self.ask(|state, now| {
                    let until = state.draining(DRAIN, now.monotonic);
                    until.map(|until| until.since(now.monotonic))
                });
                if left.is_some() && !fails {
                    // Whoever is waited for has his time first.
                    self.now += left.unwrap_or_default();
                }
                self.ask(|state, now| state.end_drain(now.monotonic));
                self.ask(|state, now| state.touch_shrinking(&next, &plan, now.wall));
                Stage::Drained(next, plan)
            }
            Stage::Drained(next, plan) => {
                let compat = self.compat;
                let swapped = self.ask(|state, now| state.swap(&next, &plan, compat, now));
                Stage::Swapped(swapped.expect("a plan of what is shown"))
            }
            Stage::Swapped(swapped) => {
                let answers = self.ask(State::unpark);
                self.let_go(answers);
                Stage::Bringing(swapped, Vec::new())
            }
            Stage::Bringing(swapped, mut failed) => {
                let done = self.ask(|state, _| state.done());
                assert_eq!(self.ask(|state, _| state.armed()), swapped.changes);
                match swapped.changes.get(done) {
                    Some(change) if self.fails(fails, change) || self.bring(change).is_err() => {
                        self.ask(|state, _| state.give_up(done));
                        if *change != Change::Dotdata {
                            failed.push(change.clone());
                        }
                        Stage::Bringing(swapped, failed)
                    }
                    Some(_) => Stage::Bringing(swapped, failed),
                    None => {
                        self.ask(|state, _| state.finish(&failed));
                        self.ask(|state, now| state.expired_version_dirs(now.monotonic));
                        Stage::Idle
                    }
                }
            }
        };
    }

    /// Whether a change is refused, by the kernel after it has looked a prepared name up.
    fn fails(&mut self, fails: bool, change: &Change) -> bool {
        let staged = self.staged;
        if fails && *change == Change::Dotdata {
            let _ = self.lookup(staged, DOTDATA);
        }
        fails
    }

    /// Brings a change as the kernel would.
    fn bring(&mut self, change: &Change) -> Result<(), FsError> {
        let (files, staged) = (self.files, self.staged);
        match change {
            Change::Rename {
                path,
                stage,
                parent,
            } => {
                self.lookup(staged, stage)?;
                self.ask(|state, _| state.rename((staged, stage), (*parent, path.name())))
            }
            Change::Ring { ino, .. } => {
                let opened = self.ask(|state, now| state.open(*ino, true, now));
                let rung = self.ask(|state, _| state.ring(*ino));
                if let OpenAnswer::Now(Ok(opened)) = opened {
                    self.ask(|state, _| state.release(opened.number));
                }
                rung.map(drop)
            }
            Change::Unlink { path, parent } => {
                self.ask(|state, _| state.unlink(*parent, path.name()))
            }
            Change::Rmdir { path, parent } => {
                self.ask(|state, _| state.rmdir(*parent, path.name()))
            }
            Change::Dotdata => {
                self.lookup(staged, DOTDATA)?;
                self.ask(|state, _| state.rename((staged, DOTDATA), (files, DOTDATA)))
            }
        }
    }

    /// Everything that can be asked without a consequence.
    pub fn ask_everything(&mut self) {
        for ino in self.inodes.clone() {
            let _ = self.ask(|state, _| state.attr(ino));
            let _ = self.ask(|state, _| state.label(ino));
            let _ = self.ask(|state, _| state.readlink(ino));
            let _ = self.ask(|state, _| {
                let mut lines = Vec::new();
                let listed = state.list(ino, 0, |line| {
                    lines.push((line.ino, line.offset, line.kind, line.name.to_owned()));
                    false
                });
                listed.map(|()| lines)
            });
        }
        self.ask(|state, _| state.served());
        self.ask(|state, _| state.usage());
        self.ask(|state, _| state.pinned());
        self.ask(|state, _| state.dropped_pins());
        self.ask(|state, _| (state.shown(), state.version(), state.done(), state.armed()));
        self.ask(|state, now| state.expired_version_dirs(now.monotonic));
    }
}

fn index_path(index: Index) -> &'static str {
    PATHS[index.index(PATHS.len())]
}
