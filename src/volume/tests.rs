//! The volume on plain data: no mount, no kernel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use livemount_engine::diff::{Op, plan};
use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use livemount_engine::path::RelPath;
use livemount_engine::render::render;
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_engine::spec::{Item, Mode, Source, Spec};

use super::*;

const KEY: HashKey = HashKey([3; 16]);
const LONG: Duration = Duration::from_secs(60);

fn path(path: &str) -> RelPath {
    RelPath::new(path).expect("a legal path")
}

/// A snapshot with these paths and contents.
fn snapshot(files: &[(&str, &str)]) -> Arc<Snapshot> {
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

struct Fixture {
    volume: Arc<Volume>,
    parker: Parker,
    files: u64,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        Self::with_pins(files, Pins::DEFAULT)
    }

    fn with_pins(files: &[(&str, &str)], pins: Pins) -> Self {
        let volume = Volume::new("test", KEY, snapshot(files), pins, SystemTime::now());
        let files = volume.lookup(ROOT, "files").expect("files/").attr.ino;
        Self {
            volume,
            parker: Parker::start().expect("a thread"),
            files,
        }
    }

    fn ino(&self, name: &str) -> u64 {
        self.volume.lookup(self.files, name).expect(name).attr.ino
    }

    fn open(&self, ino: u64) -> Receiver<Result<Opened, FsError>> {
        let (tell, answer) = channel();
        self.volume.open(ino, false, move |opened| {
            tell.send(opened).expect("the test listens");
        });
        answer
    }

    fn opened(&self, ino: u64) -> u64 {
        let answer = self.open(ino).try_recv().expect("answered at once");
        answer.expect("opens").number
    }

    fn read(&self, ino: u64, handle: u64, reader: Reader) -> Result<String, FsError> {
        let (bytes, part) = self.volume.read(ino, handle, (0, 4096), reader)?;
        Ok(String::from_utf8_lossy(&bytes[part]).into_owned())
    }

    fn bring(&self, op: &ArmedOp) -> Result<(), FsError> {
        let volume = &self.volume;
        match op {
            ArmedOp::Rename {
                stage,
                parent,
                name,
            } => {
                let from = volume.lookup(ROOT, "stage")?.attr.ino;
                volume.rename((from, stage), (*parent, name))
            }
            ArmedOp::Ring { ino } => volume.ring(*ino).map(drop),
            ArmedOp::Unlink { parent, name } => volume.unlink(*parent, name),
            ArmedOp::Rmdir { parent, name } => volume.rmdir(*parent, name),
            ArmedOp::Dotdata => {
                let from = volume.lookup(ROOT, "stage")?.attr.ino;
                volume.rename((from, DOTDATA), (self.files, DOTDATA))
            }
        }
    }

    fn swap(&self, next: &Arc<Snapshot>) -> (livemount_engine::diff::Plan, Swapped) {
        let plan = plan(&self.volume.shown(), next);
        let committing = self.volume.begin(next, &plan, Duration::ZERO, &self.parker);
        self.volume.drain(&committing, Duration::ZERO);
        let swapped = self
            .volume
            .swap(next, &plan, Compat::None, SystemTime::now())
            .expect("fits");
        self.volume.unpark();
        (plan, swapped)
    }

    fn commit(&self, files: &[(&str, &str)]) -> Swapped {
        let next = snapshot(files);
        let (plan, swapped) = self.swap(&next);
        for op in &swapped.ops {
            self.bring(op).expect("armed");
        }
        self.volume.finish(next, &plan, &[]);
        swapped
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let listed = self.volume.list(self.files, 2, |line| {
            names.push(line.name.to_owned());
            false
        });
        listed.expect("a folder");
        names.sort();
        names
    }
}

#[test]
fn promise_1_a_path_keeps_its_number_through_change_and_return() {
    let fixture = Fixture::new(&[("a", "1"), ("d/b", "1")]);
    let (a, d) = (fixture.ino("a"), fixture.ino("d"));
    fixture.commit(&[("a", "2"), ("d/b", "2")]);
    assert_eq!((fixture.ino("a"), fixture.ino("d")), (a, d));
    fixture.commit(&[("x", "")]);
    assert_eq!(
        fixture.volume.lookup(fixture.files, "a"),
        Err(FsError::NoName)
    );
    fixture.commit(&[("a", "3")]);
    assert_eq!(fixture.ino("a"), a, "the same after a removal and a return");
    fixture.commit(&[("a/b", "a is a folder now")]);
    assert_ne!(fixture.ino("a"), a, "a type never changes under one number");
}

#[test]
fn a_folder_that_comes_back_while_it_is_held_is_another_one_of_its_number() {
    let fixture = Fixture::new(&[("d/b", "1")]);
    let dead = fixture.volume.lookup(fixture.files, "d").expect("d");
    fixture.commit(&[("x", "")]);
    assert_eq!(
        fixture.volume.attr(dead.attr.ino).map(|attr| attr.nlink),
        Ok(0)
    );
    fixture.commit(&[("d/b", "2")]);
    let back = fixture.volume.lookup(fixture.files, "d").expect("d");
    assert_eq!(back.attr.ino, dead.attr.ino);
    assert_ne!(
        back.generation, dead.generation,
        "the kernel has marked the held one dead"
    );
}

#[test]
fn a_ring_pins_nothing() {
    let fixture = Fixture::new(&[("a", "0")]);
    let a = fixture.ino("a");
    let handles: Vec<u64> = (1..=Pins::DEFAULT.versions)
        .map(|version| {
            let handle = fixture.opened(a);
            fixture.commit(&[("a", &version.to_string())]);
            handle
        })
        .collect();
    for round in 0..5 {
        let next = snapshot(&[("a", &format!("round {round}"))]);
        let (plan, swapped) = fixture.swap(&next);
        // The ring's handle is open until after the next commit has begun.
        let (tell, answer) = channel();
        fixture.volume.open(a, true, move |opened| {
            tell.send(opened).expect("the test listens");
        });
        answer.try_recv().expect("answered at once").expect("armed");
        fixture.bring(&swapped.ops[0]).expect("armed");
        fixture.volume.finish(next, &plan, &[]);
    }
    assert_eq!(fixture.read(a, handles[0], Reader::Handle), Ok("0".into()));
}

#[test]
fn promise_3_a_handle_reads_what_it_opened_and_the_page_cache_what_is_current() {
    let fixture = Fixture::new(&[("a", "old")]);
    let a = fixture.ino("a");
    let handle = fixture.opened(a);
    fixture.commit(&[("a", "new!")]);
    assert_eq!(fixture.read(a, handle, Reader::Handle), Ok("old".into()));
    assert_eq!(
        fixture.read(a, handle, Reader::PageCache),
        Ok("new!".into())
    );
    assert_eq!(
        fixture.read(a, fixture.opened(a), Reader::Handle),
        Ok("new!".into())
    );
    let other = fixture.ino("a") ^ 1;
    assert_eq!(
        fixture.read(other, handle, Reader::Handle),
        Err(FsError::Stale)
    );
}

#[test]
fn a_handles_number_names_its_version() {
    let fixture = Fixture::new(&[("a", "1")]);
    let a = fixture.ino("a");
    assert_eq!(fixture.opened(a) >> 32, 1);
    fixture.commit(&[("a", "2")]);
    assert_eq!(fixture.opened(a) >> 32, 2);
}

#[test]
fn the_oldest_pins_go_beyond_the_limit_and_read_estale() {
    let fixture = Fixture::new(&[("a", "0")]);
    let a = fixture.ino("a");
    let handles: Vec<u64> = (1..=Pins::DEFAULT.versions + 1)
        .map(|version| {
            let handle = fixture.opened(a);
            fixture.commit(&[("a", &version.to_string())]);
            handle
        })
        .collect();
    assert_eq!(
        fixture.read(a, handles[0], Reader::Handle),
        Err(FsError::Stale)
    );
    assert_eq!(fixture.read(a, handles[1], Reader::Handle), Ok("1".into()));
    assert_eq!(fixture.volume.dropped_pins(), 1);
    for handle in handles {
        fixture.volume.release(handle);
    }
}

#[test]
fn promise_3_a_volume_keeps_as_many_bytes_as_it_was_asked_to() {
    let pins = Pins {
        versions: 10,
        bytes: 3 * 516 - 1,
    };
    let fixture = Fixture::with_pins(&[("a", "0000")], pins);
    let a = fixture.ino("a");
    let handles: Vec<u64> = (1..=4)
        .map(|version: u32| {
            let handle = fixture.opened(a);
            fixture.commit(&[("a", &version.to_string().repeat(4))]);
            handle
        })
        .collect();
    // Four bytes and a name of 512 each: two fit, three do not.
    let read: Vec<_> = handles
        .iter()
        .map(|handle| fixture.read(a, *handle, Reader::Handle))
        .collect();
    assert_eq!(
        read,
        [
            Err(FsError::Stale),
            Err(FsError::Stale),
            Ok("2222".into()),
            Ok("3333".into())
        ]
    );
    assert_eq!(fixture.volume.dropped_pins(), 2);
}

#[test]
fn promise_4_a_fresh_unread_handle_delays_one_commit_until_it_is_read() {
    let fixture = Fixture::new(&[("a", "12"), ("b", "")]);
    let a = fixture.ino("a");
    let handle = fixture.opened(a);
    let next = snapshot(&[("a", "3"), ("b", "")]);
    let plan = plan(&fixture.volume.shown(), &next);

    let committing = fixture.volume.begin(&next, &plan, LONG, &fixture.parker);
    let volume = Arc::clone(&fixture.volume);
    let drain = std::thread::spawn(move || volume.drain(&committing, LONG));
    // Half of it is not all of it.
    let half = fixture.volume.read(a, handle, (0, 1), Reader::Handle);
    assert!(half.is_ok());
    assert!(fixture.volume.state.lock().handles.delaying() > 0);
    fixture.read(a, handle, Reader::Handle).expect("reads");
    let report = drain.join().expect("the drain ends");
    assert_eq!(report.unread, 0);
    fixture.volume.unpark();

    let late = fixture.opened(a);
    for unread in [1, 0] {
        let committing = fixture
            .volume
            .begin(&next, &plan, Duration::ZERO, &fixture.parker);
        let report = fixture.volume.drain(&committing, Duration::ZERO);
        assert_eq!(report.unread, unread, "a handle delays one commit only");
        fixture.volume.unpark();
    }
    fixture.volume.release(late);
}

#[test]
fn promise_4_a_handle_is_fresh_for_a_second() {
    use super::handles::{FRESH, Handles};
    let opened = Instant::now();
    let mut handles = Handles::new(Pins::DEFAULT);
    handles.open(7, 1, Some(Bytes::from("unread")), opened);
    let all = |_| true;
    let later = opened + FRESH;
    assert_eq!(handles.begin_drain(later, all), None, "a second old");
    let just = opened + Duration::from_nanos(999_999_999);
    assert_eq!(handles.begin_drain(just, |ino| ino != 7), None, "another's");
    assert_eq!(handles.begin_drain(just, all), Some(later));
    assert_eq!(FRESH, Duration::from_secs(1));
}

#[test]
fn promise_4_who_holds_one_file_unread_waits_for_the_drain_at_the_next() {
    let fixture = Fixture::new(&[("a", "old"), ("b", "old")]);
    let (a, b) = (fixture.ino("a"), fixture.ino("b"));
    fixture.opened(a);
    let next = snapshot(&[("a", "new"), ("b", "new")]);
    let plan = plan(&fixture.volume.shown(), &next);
    let bound = Duration::from_millis(1);
    let committing = fixture.volume.begin(&next, &plan, bound, &fixture.parker);
    let parked = fixture.open(b);
    let report = fixture.volume.drain(&committing, bound);
    assert_eq!(
        report.unread, 1,
        "a is not read while its holder waits for b"
    );
    assert!(parked.try_recv().is_err(), "held back by its own holder");
    fixture.volume.unpark();
    assert!(parked.try_recv().expect("let go").is_ok());
}

#[test]
fn promise_4_opens_of_changing_files_wait_and_see_the_new_version() {
    let fixture = Fixture::new(&[("a", "old"), ("b", "same")]);
    let (a, b) = (fixture.ino("a"), fixture.ino("b"));
    let next = snapshot(&[("a", "new"), ("b", "same")]);
    let plan = plan(&fixture.volume.shown(), &next);
    let committing = fixture.volume.begin(&next, &plan, LONG, &fixture.parker);
    let parked = fixture.open(a);
    assert!(parked.try_recv().is_err(), "held back");
    fixture.opened(b);
    fixture.volume.drain(&committing, LONG);
    fixture
        .volume
        .swap(&next, &plan, Compat::None, SystemTime::now())
        .expect("fits");
    assert!(
        parked.try_recv().is_err(),
        "held back until the kernel knows"
    );
    fixture.volume.unpark();
    let handle = parked.try_recv().expect("let go").expect("opens").number;
    assert_eq!(fixture.read(a, handle, Reader::Handle), Ok("new".into()));
}

#[test]
fn parked_opens_are_let_go_when_the_publisher_cannot() {
    let fixture = Fixture::new(&[("a", "old")]);
    let next = snapshot(&[("a", "new")]);
    let plan = plan(&fixture.volume.shown(), &next);
    fixture
        .volume
        .begin(&next, &plan, Duration::ZERO, &fixture.parker);
    let parked = fixture.open(fixture.ino("a"));
    // The publisher never goes on; the timer answers.
    let opened = parked.recv_timeout(LONG).expect("the timer lets it go");
    assert!(opened.is_ok());
}

#[test]
fn promise_5_names_change_only_inside_their_operation() {
    let fixture = Fixture::new(&[("a", "1"), ("gone", "")]);
    let next = snapshot(&[("a", "2"), ("dir/new", "1")]);
    let (plan, swapped) = fixture.swap(&next);
    assert_eq!(fixture.names(), ["a", "gone"], "the swap moves no name");
    fixture.bring(&swapped.ops[0]).expect("the rename is live");
    assert_eq!(fixture.names(), ["a", "dir", "gone"]);
    let dir = fixture.ino("dir");
    assert!(
        fixture.volume.lookup(dir, "new").is_ok(),
        "complete at once"
    );
    for op in &swapped.ops[1..] {
        fixture.bring(op).expect("live in its turn");
    }
    assert_eq!(fixture.names(), ["a", "dir"]);
    fixture.volume.finish(next, &plan, &[]);
}

#[test]
fn promise_9_nothing_unarmed_is_done() {
    let fixture = Fixture::new(&[("a", "1"), ("gone", "")]);
    let a = fixture.ino("a");
    let write = |ino| {
        let (tell, answer) = channel();
        fixture.volume.open(ino, true, move |opened| {
            tell.send(opened).expect("the test listens");
        });
        answer.try_recv().expect("answered at once")
    };
    assert_eq!(write(a), Err(FsError::ReadOnly));
    assert_eq!(fixture.volume.ring(a), Err(FsError::ReadOnly));
    assert_eq!(
        fixture.volume.unlink(fixture.files, "gone"),
        Err(FsError::ReadOnly)
    );
    assert_eq!(
        fixture.volume.rmdir(fixture.files, "gone"),
        Err(FsError::ReadOnly)
    );
    assert_eq!(
        fixture
            .volume
            .rename((fixture.files, "a"), (fixture.files, "b")),
        Err(FsError::ReadOnly)
    );
    let next = snapshot(&[("a", "2")]);
    let (_, swapped) = fixture.swap(&next);
    let [ring, unlink] = &swapped.ops[..] else {
        panic!("one ring and one unlink");
    };
    assert_eq!(
        fixture.bring(unlink),
        Err(FsError::ReadOnly),
        "not its turn"
    );
    assert!(write(a).is_ok());
    fixture.bring(ring).expect("its turn");
    assert_eq!(fixture.bring(ring), Err(FsError::ReadOnly), "once");
    assert_eq!(write(a), Err(FsError::ReadOnly));
}

#[test]
fn what_could_not_be_brought_is_planned_again() {
    let fixture = Fixture::new(&[("a", "1"), ("gone", "")]);
    let next = snapshot(&[("a", "1"), ("dir/new", "1")]);
    let (plan_1, _) = fixture.swap(&next);
    let failed = [Op::Rename(path("dir")), Op::Unlink(path("gone"))];
    assert_eq!(plan_1.ops, failed);
    for index in 0..failed.len() {
        fixture.volume.give_up(index);
    }
    fixture.volume.finish(Arc::clone(&next), &plan_1, &failed);
    assert_eq!(fixture.names(), ["a", "gone"]);
    assert_eq!(plan(&fixture.volume.shown(), &next).ops, failed);
    let (plan_2, swapped) = fixture.swap(&next);
    for op in &swapped.ops {
        fixture.bring(op).expect("armed again");
    }
    fixture.volume.finish(next, &plan_2, &[]);
    assert_eq!(fixture.names(), ["a", "dir"]);
}

#[test]
fn a_dotdata_that_could_not_be_put_in_place_goes() {
    let fixture = Fixture::new(&[("a", "0")]);
    let inodes = |fixture: &Fixture| fixture.volume.usage().0;
    let mut kept = Vec::new();
    for round in 1..=10 {
        let next = snapshot(&[("a", &round.to_string())]);
        let plan = plan(&fixture.volume.shown(), &next);
        let now = SystemTime::now();
        let swapped = fixture.volume.swap(&next, &plan, Compat::Dotdata, now);
        let swapped = swapped.expect("fits");
        fixture.bring(&swapped.ops[0]).expect("the ring is live");
        // The kernel looks the prepared link up, and then its rename does not come.
        let stage = fixture.volume.lookup(ROOT, "stage").expect("stage/").attr;
        let link = fixture.volume.lookup(stage.ino, DOTDATA).expect("prepared");
        fixture.volume.give_up(1);
        fixture.volume.finish(next, &plan, &[]);
        fixture.volume.forget(link.attr.ino, 1);
        kept.push(inodes(&fixture));
    }
    assert_eq!(kept[9], kept[0], "inodes after each commit: {kept:?}");
}

#[test]
fn promise_8_mtime_moves_forward_when_the_clock_does_not() {
    let fixture = Fixture::new(&[("a", "1")]);
    let mtime = |fixture: &Fixture| fixture.volume.attr(fixture.ino("a")).expect("a").mtime;
    let mut last = mtime(&fixture);
    for text in ["2", "1", "2"] {
        let next = snapshot(&[("a", text)]);
        let plan = plan(&fixture.volume.shown(), &next);
        fixture
            .volume
            .swap(&next, &plan, Compat::None, SystemTime::UNIX_EPOCH)
            .expect("fits");
        fixture.volume.finish(next, &plan, &[]);
        assert!(mtime(&fixture) > last);
        last = mtime(&fixture);
    }
}

#[test]
fn a_removed_name_answers_its_last_bytes_until_it_is_forgotten() {
    let fixture = Fixture::new(&[("a", "last"), ("b", "")]);
    let a = fixture.ino("a");
    let handle = fixture.opened(a);
    fixture.commit(&[("b", "")]);
    let attr = fixture.volume.attr(a).expect("still known");
    assert_eq!((attr.nlink, attr.size), (0, 4));
    assert_eq!(
        fixture.read(a, handle, Reader::PageCache),
        Ok("last".into())
    );
    assert_eq!(fixture.read(a, handle, Reader::Handle), Ok("last".into()));
    fixture.volume.forget(a, 1);
    assert_eq!(fixture.volume.attr(a), Err(FsError::Stale), "never ENOENT");
}

#[test]
fn a_listing_that_goes_on_after_changes_shows_what_stays_once() {
    let names: Vec<String> = (0..50).map(|n| format!("n{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let fixture = Fixture::new(&files);
    let mut seen = Vec::new();
    let mut offset = 0;
    let mut take = |most: usize, offset: u64| {
        let mut last = offset;
        let mut left = most;
        let listed = fixture.volume.list(fixture.files, offset, |line| {
            if left == 0 {
                return true;
            }
            left -= 1;
            seen.push(line.name.to_owned());
            last = line.offset;
            false
        });
        listed.expect("a folder");
        last
    };
    offset = take(20, offset);
    // Every other name goes and a new one comes while the listing is half done.
    let stay: Vec<(&str, &str)> = files
        .iter()
        .step_by(2)
        .copied()
        .chain([("new", "")])
        .collect();
    fixture.commit(&stay);
    take(1000, offset);
    for (name, _) in stay.iter().filter(|(name, _)| *name != "new") {
        let times = seen.iter().filter(|seen| seen == name).count();
        assert_eq!(times, 1, "{name}");
    }
    assert_eq!(&seen[..2], [".", ".."]);
}

#[test]
fn a_drain_with_nobody_to_wait_for_does_not_wait() {
    let fixture = Fixture::new(&[("a", "1")]);
    let next = snapshot(&[("a", "2")]);
    let plan = plan(&fixture.volume.shown(), &next);
    let began = Instant::now();
    let committing = fixture.volume.begin(&next, &plan, LONG, &fixture.parker);
    let report = fixture.volume.drain(&committing, LONG);
    assert_eq!(report, DrainReport::default());
    assert!(began.elapsed() < LONG);
}
