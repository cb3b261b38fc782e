//! A shared volume between real threads: what waits, and what ends the wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use livemount_engine::diff::plan;
use livemount_engine::object::Bytes;
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{Entry, File, HashKey, Snapshot};
use livemount_volume::{
    Compat, DrainReport, FsError, HandleNumber, Inode, Opened, Pins, ROOT, Reader, RequestNumber,
    State,
};

use super::{Parker, SharedVolume, sync};

const REQUEST: RequestNumber = RequestNumber(2);
const KEY: HashKey = HashKey([3; 16]);
const LONG: Duration = Duration::from_secs(60);

/// A snapshot with these names and contents.
pub(crate) fn snapshot(files: &[(&str, &str)]) -> Arc<Snapshot> {
    let entry = |(name, text): &(&str, &str)| {
        let file = File {
            bytes: Bytes::from(*text),
            mode: 0o644,
            digest: KEY.digest(text.as_bytes()),
            object: 0,
        };
        (RelPath::new(name).expect("legal"), Entry::File(file))
    };
    Arc::new(Snapshot {
        entries: files.iter().map(entry).collect::<BTreeMap<_, _>>(),
        ..Snapshot::empty(&KEY)
    })
}

struct Fixture {
    volume: Arc<SharedVolume>,
    parker: Parker,
    files: Inode,
}

impl Fixture {
    fn new(files: &[(&str, &str)]) -> Self {
        let state = State::new(KEY, snapshot(files), Pins::DEFAULT, SystemTime::now());
        let volume = SharedVolume::new("test", state);
        let files = volume
            .lookup(ROOT, "files", REQUEST)
            .expect("files/")
            .attr
            .ino;
        Self {
            volume,
            parker: Parker::start().expect("a thread"),
            files,
        }
    }

    fn ino(&self, name: &str) -> Inode {
        self.volume
            .lookup(self.files, name, REQUEST)
            .expect(name)
            .attr
            .ino
    }

    fn open(&self, ino: Inode) -> Receiver<Result<Opened, FsError>> {
        let (tell, answer) = channel();
        self.volume.open(ino, false, REQUEST, move |opened| {
            tell.send(opened).expect("the test listens");
        });
        answer
    }

    fn opened(&self, ino: Inode) -> HandleNumber {
        let answer = self.open(ino).try_recv().expect("answered at once");
        answer.expect("opens").number
    }

    fn read(&self, ino: Inode, handle: HandleNumber, reader: Reader) -> Result<String, FsError> {
        let answer = self.volume.read(ino, handle, (0, 4096), reader)?;
        Ok(String::from_utf8_lossy(&answer.bytes[answer.part]).into_owned())
    }
}

#[test]
fn promise_4_a_fresh_unread_handle_delays_one_commit_until_it_is_read() {
    let fixture = Fixture::new(&[("a", "12"), ("b", "")]);
    let a = fixture.ino("a");
    let handle = fixture.opened(a);
    let next = snapshot(&[("a", "3"), ("b", "")]);
    let plan = plan(&fixture.volume.shown(), &next);

    fixture.volume.begin(&next, &plan, LONG, &fixture.parker);
    let volume = Arc::clone(&fixture.volume);
    let drain = std::thread::spawn(move || volume.drain(LONG));
    // Half of it is not all of it.
    let half = fixture.volume.read(a, handle, (0, 1), Reader::Handle);
    assert!(half.is_ok());
    let delays = |state: &mut State| state.draining(LONG, sync::monotonic());
    assert!(fixture.volume.ask(delays).is_some());
    fixture.read(a, handle, Reader::Handle).expect("reads");
    let report = drain.join().expect("the drain ends");
    assert_eq!(report.unread, 0);
    fixture.volume.unpark();

    let late = fixture.opened(a);
    for unread in [1, 0] {
        fixture
            .volume
            .begin(&next, &plan, Duration::ZERO, &fixture.parker);
        let report = fixture.volume.drain(Duration::ZERO);
        assert_eq!(report.unread, unread, "a handle delays one commit only");
        fixture.volume.unpark();
    }
    fixture.volume.release(late);
}

#[test]
fn promise_4_who_holds_one_file_unread_waits_for_the_drain_at_the_next() {
    let fixture = Fixture::new(&[("a", "old"), ("b", "old")]);
    let (a, b) = (fixture.ino("a"), fixture.ino("b"));
    fixture.opened(a);
    let next = snapshot(&[("a", "new"), ("b", "new")]);
    let plan = plan(&fixture.volume.shown(), &next);
    let bound = Duration::from_millis(1);
    fixture.volume.begin(&next, &plan, bound, &fixture.parker);
    let parked = fixture.open(b);
    let report = fixture.volume.drain(bound);
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
    fixture.volume.begin(&next, &plan, LONG, &fixture.parker);
    let parked = fixture.open(a);
    assert!(parked.try_recv().is_err(), "held back");
    fixture.opened(b);
    fixture.volume.drain(LONG);
    fixture
        .volume
        .swap(&next, &plan, Compat::None)
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
fn a_drain_with_nobody_to_wait_for_does_not_wait() {
    let fixture = Fixture::new(&[("a", "1")]);
    let next = snapshot(&[("a", "2")]);
    let plan = plan(&fixture.volume.shown(), &next);
    let began = Instant::now();
    fixture.volume.begin(&next, &plan, LONG, &fixture.parker);
    let report = fixture.volume.drain(LONG);
    assert_eq!(report, DrainReport::default());
    assert!(began.elapsed() < LONG);
}
