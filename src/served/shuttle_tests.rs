//! A shared volume in every order that shuttle thinks of: whoever waits is woken, and every parked
//! open is answered exactly once.
//!
//! The clock stands still unless a test moves it, so a wake-up that is lost is a deadlock, which shuttle
//! finds. A reply that is dropped closes its channel, and a second one finds it full.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount_engine::diff::{Plan, plan};
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_volume::{
    Compat, FsError, HandleNumber, Inode, Opened, Pins, ROOT, Reader, RequestNumber, State,
    VersionNumber,
};
use shuttle::sync::mpsc::{Receiver, channel};
use shuttle::thread;

use super::tests::snapshot;
use super::under_shuttle::{Parker, SharedVolume, sync};

/// How many orders are tried in each test.
const ORDERS: usize = 500;
const DRAIN: Duration = Duration::from_millis(250);
const REQUEST: RequestNumber = RequestNumber(2);
const KEY: HashKey = HashKey([3; 16]);

/// Tries many orders: at random, and with few but well-placed changes of threads.
pub(crate) fn in_all_orders(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let run = |test: Arc<dyn Fn() + Send + Sync>| {
        move || {
            sync::reset();
            test();
        }
    };
    shuttle::check_random(run(test.clone()), ORDERS);
    shuttle::check_pct(run(test), ORDERS, 3);
}

#[derive(Clone)]
struct Fixture {
    volume: Arc<SharedVolume>,
    a: Inode,
    next: Arc<Snapshot>,
    plan: Arc<Plan>,
}

impl Fixture {
    /// A volume of which `a` is about to change.
    fn new() -> Self {
        let first = snapshot(&[("a", "old")]);
        let next = snapshot(&[("a", "new")]);
        let plan = Arc::new(plan(&first, &next));
        let state = State::new(KEY, first, Pins::DEFAULT, SystemTime::UNIX_EPOCH);
        let volume = SharedVolume::new("test", state);
        let files = volume
            .lookup(ROOT, "files", REQUEST)
            .expect("files/")
            .attr
            .ino;
        let a = volume.lookup(files, "a", REQUEST).expect("a").attr.ino;
        Self {
            volume,
            a,
            next,
            plan,
        }
    }

    /// Opens `a`; the answer comes through the channel.
    fn open(&self) -> Receiver<Result<Opened, FsError>> {
        let (tell, answer) = channel();
        self.volume.open(self.a, false, REQUEST, move |opened| {
            tell.send(opened).expect("the test listens");
        });
        answer
    }

    fn opened(&self) -> HandleNumber {
        let answer = self.open().recv().expect("no reply is dropped");
        answer.expect("opens").number
    }

    /// Opens, and gives back the version that was got.
    fn opens(&self) -> thread::JoinHandle<VersionNumber> {
        let fixture = self.clone();
        thread::spawn(move || {
            let answer = fixture.open();
            let opened = answer.recv().expect("no reply is dropped");
            assert!(answer.recv().is_err(), "answered once");
            let handle = opened.expect("opens").number;
            fixture.volume.release(handle);
            handle.version()
        })
    }

    fn commit(&self, parker: &Parker) {
        let Self {
            volume, next, plan, ..
        } = self;
        volume.begin(next, plan, DRAIN, parker);
        let report = volume.drain(DRAIN);
        assert_eq!(report.waited, Duration::ZERO, "the clock stands");
        volume.swap(next, plan, Compat::None).expect("fits");
        volume.unpark();
        volume.finish(&[]);
    }
}

#[test]
fn every_open_is_answered_whatever_it_meets_of_a_commit() {
    in_all_orders(|| {
        let fixture = Fixture::new();
        let parker = Parker::start().expect("a thread");
        let opens: Vec<_> = (0..2).map(|_| fixture.opens()).collect();
        fixture.commit(&parker);
        for open in opens {
            let version = open.join().expect("answered");
            assert!((1..=2).contains(&version.0));
        }
        assert_eq!(fixture.opened().version(), VersionNumber(2));
        // The timer was asked to look once, and ends.
        drop(parker);
        sync::pass(Duration::from_secs(2));
    });
}

#[test]
fn every_open_is_answered_by_the_timer_where_the_publisher_cannot() {
    in_all_orders(|| {
        let fixture = Fixture::new();
        let parker = Parker::start().expect("a thread");
        fixture
            .volume
            .begin(&fixture.next, &fixture.plan, DRAIN, &parker);
        let opens: Vec<_> = (0..2).map(|_| fixture.opens()).collect();
        // The publisher never goes on.
        sync::pass(DRAIN + Duration::from_secs(1));
        for open in opens {
            assert_eq!(open.join().expect("answered"), VersionNumber(1));
        }
    });
}

#[test]
fn every_open_is_answered_once_where_publisher_and_timer_come_together() {
    in_all_orders(|| {
        let fixture = Fixture::new();
        let parker = Parker::start().expect("a thread");
        let Fixture {
            volume, next, plan, ..
        } = &fixture;
        volume.begin(next, plan, DRAIN, &parker);
        let opens: Vec<_> = (0..2).map(|_| fixture.opens()).collect();
        let time = thread::spawn(|| sync::pass(DRAIN + Duration::from_secs(1)));
        volume.swap(next, plan, Compat::None).expect("fits");
        volume.unpark();
        volume.finish(&[]);
        for open in opens {
            open.join().expect("answered");
        }
        time.join().expect("it passes");
    });
}

#[test]
fn a_drain_ends_with_the_last_read_or_release() {
    in_all_orders(|| {
        let fixture = Fixture::new();
        let parker = Parker::start().expect("a thread");
        let (read, released) = (fixture.opened(), fixture.opened());
        let readers = {
            let [reads, releases] = [fixture.clone(), fixture.clone()];
            let range = (0, 4096);
            [
                thread::spawn(move || {
                    let answer = reads.volume.read(reads.a, read, range, Reader::Handle);
                    let answer = answer.expect("reads");
                    assert_eq!(&answer.bytes[answer.part], b"old");
                }),
                thread::spawn(move || releases.volume.release(released)),
            ]
        };
        // Nothing but the two can end it.
        fixture.commit(&parker);
        for reader in readers {
            reader.join().expect("it reads");
        }
        drop(parker);
        sync::pass(Duration::from_secs(2));
    });
}
