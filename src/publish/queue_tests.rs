//! The queue in every order that shuttle thinks of: what was offered last is committed, whatever comes
//! together, and nobody waits for what has happened.

// The tests ask less of it than the product does.
#![allow(dead_code)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::snapshot::{HashKey, Snapshot};
use shuttle::thread;

use crate::served::in_all_orders;
use crate::served::under_shuttle::sync;

#[allow(clippy::duplicate_mod)] // On purpose: against another machine.
#[path = "queue.rs"]
mod queue;

use queue::{Commit, Outcome, Queue};

const LONG: Duration = Duration::from_secs(3600);

/// Notes what is committed, and says of the first so many that they were not whole.
struct Noted {
    committed: sync::Mutex<Vec<u32>>,
    partly: usize,
}

impl Commit for Noted {
    fn commit(&self, next: &Arc<Snapshot>) -> Outcome {
        let mut committed = self.committed.lock();
        committed.push(next.gid);
        if committed.len() > self.partly {
            Outcome::Whole
        } else {
            Outcome::Partly
        }
    }

    fn resume(&self) -> Outcome {
        self.committed.lock().push(0);
        Outcome::Whole
    }

    fn thread_name(&self) -> String {
        "commit".into()
    }

    fn no_thread(&self, error: &io::Error) {
        panic!("shuttle gives threads: {error}");
    }
}

fn queue(partly: usize) -> Arc<Queue<Noted>> {
    Queue::new(Noted {
        committed: sync::Mutex::default(),
        partly,
    })
}

/// A snapshot that is told by its number.
fn numbered(number: u32) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        gid: number,
        ..Snapshot::empty(&HashKey([3; 16]))
    })
}

fn committed(queue: &Queue<Noted>) -> Vec<u32> {
    queue.committer.committed.lock().clone()
}

#[test]
fn what_another_process_has_begun_comes_first() {
    in_all_orders(|| {
        let queue = queue(0);
        Queue::resume(&queue);
        let offering = Arc::clone(&queue);
        let offers = thread::spawn(move || Queue::offer(&offering, numbered(1)));
        assert!(queue.settle(LONG));
        offers.join().expect("it offers");
        assert!(queue.settle(LONG));
        assert_eq!(committed(&queue), [0, 1]);
        queue.close();
    });
}

#[test]
fn what_was_offered_last_is_committed_last() {
    in_all_orders(|| {
        let queue = queue(0);
        let offering = Arc::clone(&queue);
        let offers = thread::spawn(move || {
            for number in 1..=3 {
                Queue::offer(&offering, numbered(number));
            }
        });
        // Whoever looks on in between sees an end as well.
        assert!(queue.settle(LONG));
        offers.join().expect("it offers");
        assert!(queue.settle(LONG));
        let noted = committed(&queue);
        assert_eq!(noted.last(), Some(&3));
        assert!(noted.is_sorted(), "never back: {noted:?}");
        assert_eq!(queue.behind(), Duration::ZERO);
        queue.close();
    });
}

#[test]
fn what_is_offered_while_the_thread_ends_is_committed() {
    in_all_orders(|| {
        let queue = queue(0);
        Queue::offer(&queue, numbered(1));
        let time = thread::spawn(|| sync::pass(Duration::from_secs(2)));
        Queue::offer(&queue, numbered(2));
        assert!(queue.settle(LONG));
        assert_eq!(committed(&queue).last(), Some(&2));
        time.join().expect("it passes");
        queue.close();
    });
}

#[test]
fn what_was_refused_is_tried_again_unless_something_newer_came() {
    in_all_orders(|| {
        let queue = queue(2);
        let offering = Arc::clone(&queue);
        let offers = thread::spawn(move || {
            for number in 1..=2 {
                Queue::offer(&offering, numbered(number));
            }
        });
        while committed(&queue).len() <= 2 {
            sync::pass(Duration::from_secs(60));
            thread::yield_now();
        }
        offers.join().expect("it offers");
        assert!(queue.settle(LONG));
        let noted = committed(&queue);
        assert_eq!(noted.last(), Some(&2));
        assert!(noted.is_sorted(), "never back: {noted:?}");
        assert_eq!(queue.behind(), Duration::ZERO);
        queue.close();
    });
}

#[test]
fn a_closed_queue_commits_nothing_more_and_keeps_nobody() {
    // One that waits to try again as well as one that has nothing to do.
    for partly in [0, 1] {
        in_all_orders(move || {
            let queue = queue(partly);
            let [offering, waiting] = [Arc::clone(&queue), Arc::clone(&queue)];
            let offers = thread::spawn(move || {
                for number in 1..=2 {
                    Queue::offer(&offering, numbered(number));
                }
            });
            let waits = thread::spawn(move || waiting.settle(LONG));
            queue.close();
            assert!(queue.rest(LONG));
            let noted = committed(&queue);
            Queue::offer(&queue, numbered(9));
            assert!(waits.join().expect("it ends"));
            offers.join().expect("it offers");
            assert!(queue.rest(LONG));
            assert_eq!(committed(&queue), noted);
        });
    }
}
