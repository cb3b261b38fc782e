//! What a successor makes of the steps of one that was killed.

use std::time::Duration;

use livemount_engine::diff::plan;

use super::fixture::{Fixture, snapshot};
use crate::{
    Answered, HandleNumber, Inode, Monotonic, OpenAnswer, ParkedOpen, Replay, Replayed,
    RequestNumber, State, Step,
};

const DRAIN: Duration = Duration::from_millis(250);

/// A volume of one file, which the kernel knows, as the last record has it; and its next snapshot.
fn recorded() -> (Fixture, Inode) {
    let fixture = Fixture::new(&[("a", "old")]);
    let ino = fixture.ino("a");
    (fixture, ino)
}

fn at(millis: u64) -> Monotonic {
    Monotonic(Duration::from_secs(1000) + Duration::from_millis(millis))
}

fn open(ino: Inode, request: u64, millis: u64) -> Step<'static> {
    Step::Open {
        ino,
        write: false,
        now: at(millis).into(),
        wall: std::time::SystemTime::UNIX_EPOCH.into(),
        request: RequestNumber(request),
    }
}

fn unpark(millis: u64) -> Step<'static> {
    Step::Unpark {
        now: at(millis).into(),
        wall: std::time::SystemTime::UNIX_EPOCH.into(),
    }
}

fn begin() -> Step<'static> {
    Step::Begin {
        drain: Step::drain(DRAIN),
        now: at(2).into(),
    }
}

/// The volume of those steps, of which the last ones are a commit of `a`.
fn replayed(
    fixture: &Fixture,
    left: Answered,
    parked: Vec<ParkedOpen>,
    steps: &[Step<'_>],
) -> Replayed {
    let state = fixture.volume.ask(|state| state.clone());
    let mut replay = Replay::new(state, parked, left);
    replay.next(snapshot(&[("a", "new and longer")]));
    for step in steps {
        replay.step(step).expect("it happened");
    }
    replay.done()
}

fn begin_again(state: &mut State) -> Option<Monotonic> {
    let next = snapshot(&[("a", "new and longer")]);
    let plan = plan(&state.shown(), &next);
    state.begin(&next, &plan, DRAIN, at(10));
    state.draining(DRAIN, at(10))
}

#[test]
fn promise_4_a_commit_that_begins_again_waits_for_the_readers_of_the_one_that_was_killed() {
    let (fixture, a) = recorded();
    let steps = [open(a, 2, 1), begin()];
    let mut state = replayed(&fixture, Answered::default(), Vec::new(), &steps).state;
    state.take_over();
    state.abandon();
    assert_eq!(begin_again(&mut state), Some(at(10 + 250)));
    // Whom a commit has waited for in vain delays the next one no more.
    let steps = [open(a, 2, 1), begin(), Step::EndDrain { now: at(3).into() }];
    let mut state = replayed(&fixture, Answered::default(), Vec::new(), &steps).state;
    state.take_over();
    state.abandon();
    assert_eq!(begin_again(&mut state), None);
}

#[test]
fn an_open_that_two_processes_have_parked_is_asked_for_once() {
    let (fixture, a) = recorded();
    let Replayed { state, parked, .. } = replayed(
        &fixture,
        Answered::default(),
        Vec::new(),
        &[begin(), open(a, 8, 3)],
    );
    assert_eq!(parked.len(), 1);
    let mut again = state.clone();
    again.take_over();
    // The kernel, or whoever knew it, has asked the second process as well.
    let now = crate::Now {
        monotonic: at(4),
        wall: std::time::SystemTime::UNIX_EPOCH,
    };
    let OpenAnswer::Parked(ticket) = again.clone().open(a, false, now) else {
        panic!("the commit still holds it back");
    };
    let mut replay = Replay::new(again, parked, Answered::default());
    replay.step(&open(a, 8, 4)).expect("it happened");
    let request = RequestNumber(8);
    let once = ParkedOpen {
        ticket,
        ino: a,
        request,
    };
    assert_eq!(replay.done().parked, [once]);
}

#[test]
fn an_open_that_was_let_go_and_maybe_not_answered_is_known_with_its_answer() {
    let (fixture, a) = recorded();
    let steps = [begin(), open(a, 8, 3), unpark(5)];
    let Replayed {
        state,
        parked,
        answered,
        ..
    } = replayed(&fixture, Answered::default(), Vec::new(), &steps);
    let [ParkedOpen { request, .. }] = parked[..] else {
        panic!("one: {parked:?}");
    };
    assert_eq!(request, RequestNumber(8));
    assert_eq!(
        answered.opened,
        [(
            request,
            crate::Opened {
                number: handle(&state)
            }
        )]
    );
    // And by the one after the next, too, who finds it beside the record.
    let left = Replay::new(state, parked.clone(), answered.clone()).done();
    assert_eq!((left.parked, left.answered), (parked, answered));
}

/// The number of the one handle that is open.
fn handle(state: &State) -> HandleNumber {
    let mut open = state.handles.open.keys().copied();
    let only = open.next().expect("one");
    assert_eq!(open.next(), None);
    only
}
