//! A volume to ask, with a clock that the test sets, and a commit that the test brings.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount_engine::diff::{Plan, plan};
use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use livemount_engine::path::RelPath;
use livemount_engine::render::render;
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_engine::spec::{Item, Mode, Source, Spec};

use crate::*;

pub(super) const KEY: HashKey = HashKey([3; 16]);

pub(super) fn path(path: &str) -> RelPath {
    RelPath::new(path).expect("a legal path")
}

/// A snapshot with these paths and contents.
pub(super) fn snapshot(files: &[(&str, &str)]) -> Arc<Snapshot> {
    let object = ObjectKey {
        kind: Kind::ConfigMap,
        namespace: "default".into(),
        name: "app".into(),
        origin: livemount_engine::object::Origin::named("test"),
    };
    let data: BTreeMap<String, Bytes> = files
        .iter()
        .enumerate()
        .map(|(key, (_, text))| (format!("k{key}"), Bytes::from(*text)))
        .collect();
    let items = files
        .iter()
        .enumerate()
        .map(|(key, (name, _))| Item {
            key: format!("k{key}"),
            path: path(name),
            mode: None,
            divisor: None,
        })
        .collect();
    let spec = Spec {
        sources: vec![Source {
            object: object.clone(),
            items,
            optional: false,
        }],
        default_mode: Mode::DEFAULT,
        fs_group: None,
        mountpoints: Vec::new(),
    };
    let objects = BTreeMap::from([(object.clone(), Object::new(object, data).expect("legal"))]);
    let rendered = render(&spec, |key| objects.get(key), &KEY, None).expect("renders");
    Arc::new(rendered.snapshot)
}

/// A volume with a clock. Opens that were let go are remembered by their tickets.
pub(super) struct Volume {
    state: RefCell<State>,
    start: SystemTime,
    clock: Cell<Duration>,
    pub(super) answered: RefCell<HashMap<Ticket, Result<Opened, FsError>>>,
}

impl Volume {
    pub(super) fn now(&self) -> Now {
        self.clock.set(self.clock.get() + Duration::from_micros(1));
        Now {
            monotonic: Monotonic(self.clock.get()),
            wall: self.start + self.clock.get(),
        }
    }

    pub(super) fn ask<A>(&self, question: impl FnOnce(&mut State) -> A) -> A {
        question(&mut self.state.borrow_mut())
    }

    pub(super) fn lookup(&self, parent: Inode, name: &str) -> Result<Looked, FsError> {
        let now = self.now().monotonic;
        self.ask(|state| state.lookup(parent, name, now))
    }

    pub(super) fn open(&self, ino: Inode, write: bool) -> OpenAnswer {
        let now = self.now();
        self.ask(|state| state.open(ino, write, now))
    }

    pub(super) fn list(
        &self,
        ino: Inode,
        offset: u64,
        fill: impl FnMut(&Listed<'_>) -> bool,
    ) -> Result<(), FsError> {
        self.ask(|state| state.list(ino, offset, fill))
    }

    pub(super) fn begin(&self, next: &Snapshot, plan: &Plan) -> Option<Monotonic> {
        let now = self.now().monotonic;
        self.ask(|state| state.begin(next, plan, Duration::ZERO, now))
    }

    pub(super) fn drain(&self) -> DrainReport {
        let now = self.now().monotonic;
        assert_eq!(
            self.ask(|state| state.draining(Duration::ZERO, now)),
            None,
            "no time to wait"
        );
        self.ask(|state| state.end_drain(now))
    }

    pub(super) fn swap_at(
        &self,
        next: &Arc<Snapshot>,
        plan: &Plan,
        compat: Compat,
        wall: SystemTime,
    ) -> Result<Swapped, FsError> {
        let monotonic = self.now().monotonic;
        self.ask(|state| state.swap(next, plan, compat, Now { monotonic, wall }))
    }

    pub(super) fn unpark(&self) {
        let now = self.now();
        let let_go = self.ask(|state| state.unpark(now));
        self.answered.borrow_mut().extend(let_go);
    }
}

pub(super) struct Fixture {
    pub(super) volume: Volume,
    pub(super) files: Inode,
}

impl Fixture {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        Self::with_pins(files, Pins::DEFAULT)
    }

    pub(super) fn with_pins(files: &[(&str, &str)], pins: Pins) -> Self {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let state = State::new(KEY, snapshot(files), pins, start);
        let volume = Volume {
            state: RefCell::new(state),
            start,
            clock: Cell::default(),
            answered: RefCell::default(),
        };
        let files = volume.lookup(ROOT, "files").expect("files/").attr.ino;
        Self { volume, files }
    }

    pub(super) fn ino(&self, name: &str) -> Inode {
        self.volume.lookup(self.files, name).expect(name).attr.ino
    }

    pub(super) fn attr(&self, ino: Inode) -> Result<Attr, FsError> {
        self.volume.ask(|state| state.attr(ino))
    }

    pub(super) fn forget(&self, ino: Inode, count: u64) {
        self.volume.ask(|state| state.forget(ino, count));
    }

    pub(super) fn opened(&self, ino: Inode) -> HandleNumber {
        match self.volume.open(ino, false) {
            OpenAnswer::Now(opened) => opened.expect("opens").number,
            OpenAnswer::Parked(_) => panic!("answered at once"),
        }
    }

    pub(super) fn read(
        &self,
        ino: Inode,
        handle: HandleNumber,
        reader: Reader,
    ) -> Result<String, FsError> {
        let answer = self
            .volume
            .ask(|state| state.read(ino, handle, (0, 4096), reader))?;
        Ok(String::from_utf8_lossy(&answer.bytes[answer.part]).into_owned())
    }

    pub(super) fn bring(&self, change: &Change) -> Result<(), FsError> {
        let stage = self.volume.lookup(ROOT, "stage")?.attr.ino;
        self.volume.ask(|state| match change {
            Change::Rename {
                stage: staged,
                parent,
                path,
            } => state.rename((stage, staged), (*parent, path.name())),
            Change::Ring { ino, .. } => state.ring(*ino).map(drop),
            Change::Unlink { parent, path } => state.unlink(*parent, path.name()),
            Change::Rmdir { parent, path } => state.rmdir(*parent, path.name()),
            Change::Dotdata => state.rename((stage, DOTDATA), (self.files, DOTDATA)),
        })
    }

    pub(super) fn shown(&self) -> Arc<Snapshot> {
        self.volume.ask(|state| state.shown())
    }

    pub(super) fn swap(&self, next: &Arc<Snapshot>) -> (Plan, Swapped) {
        let plan = plan(&self.shown(), next);
        self.volume.begin(next, &plan);
        self.volume.drain();
        let now = self.volume.now().wall;
        let swapped = self
            .volume
            .swap_at(next, &plan, Compat::None, now)
            .expect("fits");
        self.volume.unpark();
        (plan, swapped)
    }

    pub(super) fn finish(&self, failed: &[Change]) {
        self.volume.ask(|state| state.finish(failed));
    }

    pub(super) fn commit(&self, files: &[(&str, &str)]) -> Swapped {
        let (_, swapped) = self.swap(&snapshot(files));
        for change in &*swapped.changes {
            self.bring(change).expect("armed");
        }
        self.finish(&[]);
        swapped
    }

    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let listed = self.volume.ask(|state| {
            state.list(self.files, 2, |line| {
                names.push(line.name.to_owned());
                false
            })
        });
        listed.expect("a folder");
        names.sort();
        names
    }
}
