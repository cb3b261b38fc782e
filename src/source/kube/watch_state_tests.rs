//! The state machine without a server: what is said, and when the whole state is read anew.

use std::time::Duration;

use super::options::Timing;
use super::request::Ask;
use super::resource_version::ResourceVersion;
use super::status::RestartReason;
use super::watch_state::{Emit, Next, Step, Versioned, WatchEnd, WatchEvent, WatchState};

type Machine = WatchState<&'static str>;

fn version(number: u64) -> ResourceVersion {
    ResourceVersion::parse(&number.to_string()).expect("a version")
}

fn item(number: u64, object: &'static str) -> Versioned<&'static str> {
    Versioned {
        version: version(number),
        digest: object.len() as u64 * 1000 + u64::from(object.as_bytes()[0]),
        immutable: object.starts_with("fixed"),
        object,
    }
}

fn added(number: u64, object: &'static str) -> WatchEvent<&'static str> {
    WatchEvent::Modified(item(number, object))
}

fn gone(number: u64) -> WatchEvent<&'static str> {
    WatchEvent::Deleted(version(number))
}

fn mark(number: u64) -> WatchEvent<&'static str> {
    WatchEvent::Bookmark {
        version: version(number),
        whole: false,
    }
}

fn whole(number: u64) -> WatchEvent<&'static str> {
    WatchEvent::Bookmark {
        version: version(number),
        whole: true,
    }
}

fn new() -> Machine {
    WatchState::new(&Timing::default())
}

/// A machine whose streaming list told these and was complete at `number`.
fn told(events: impl IntoIterator<Item = WatchEvent<&'static str>>, number: u64) -> Machine {
    let mut machine = new();
    read(&mut machine, events, number);
    machine
}

fn read(
    machine: &mut Machine,
    events: impl IntoIterator<Item = WatchEvent<&'static str>>,
    number: u64,
) -> Step<&'static str> {
    machine.begin(&Ask::Read);
    for event in events {
        assert_eq!(
            machine.step(event).emit,
            None,
            "said before it was complete"
        );
    }
    machine.step(whole(number))
}

#[allow(clippy::unnecessary_wraps, reason = "as it is compared")]
fn applied(object: &'static str) -> Option<Emit<&'static str>> {
    Some(Emit::Applied(object))
}

fn anew(reason: RestartReason) -> Next {
    Next::Ask(Ask::Read, Some(reason))
}

#[test]
fn a_read_counts_when_it_is_complete() {
    let mut machine = new();
    // A cache that lags tells a state that is long past, then what came after it.
    let step = read(&mut machine, [added(5, "old"), added(9, "new")], 12);
    assert_eq!(step.emit, applied("new"));
    assert_eq!(step.next, Next::Listen);
}

#[test]
fn what_went_while_it_was_told_is_absent() {
    let mut machine = new();
    assert_eq!(
        read(&mut machine, [added(5, "a"), gone(9)], 12).emit,
        Some(Emit::Deleted)
    );
    let mut machine = new();
    let step = read(&mut machine, [added(5, "a"), gone(9), added(10, "b")], 12);
    assert_eq!(step.emit, applied("b"));
}

#[test]
fn an_absent_object_is_said_once() {
    let mut machine = new();
    assert_eq!(read(&mut machine, [], 12).emit, Some(Emit::Deleted));
    assert_eq!(read(&mut machine, [], 13).emit, None);
    assert_eq!(machine.step(gone(14)).emit, None);
}

#[test]
fn a_watch_goes_forward_alone() {
    let mut machine = told([added(5, "a")], 5);
    assert_eq!(machine.step(added(6, "b")).emit, applied("b"));
    assert_eq!(
        machine.step(added(6, "c")),
        Step {
            emit: None,
            working: false,
            restored: false,
            next: Next::Listen
        }
    );
    let back = machine.step(added(4, "z"));
    assert_eq!(back.emit, None);
    assert_eq!(back.next, anew(RestartReason::Backwards));
}

#[test]
fn a_deletion_is_guarded_like_a_state() {
    let mut machine = told([added(5, "a")], 5);
    let back = machine.step(gone(4));
    assert_eq!(
        (back.emit, back.next),
        (None, anew(RestartReason::Backwards))
    );

    let mut machine = told([added(5, "a")], 5);
    assert_eq!(machine.step(gone(7)).emit, Some(Emit::Deleted));
    // The state before the deletion comes late.
    let back = machine.step(added(6, "b"));
    assert_eq!(
        (back.emit, back.next),
        (None, anew(RestartReason::Backwards))
    );
}

#[test]
fn a_deletion_may_bear_the_last_states_version() {
    let mut machine = told([added(5, "a")], 5);
    assert_eq!(machine.step(gone(5)).emit, Some(Emit::Deleted));
}

#[test]
fn a_bookmark_that_goes_back_reveals_a_restore() {
    let mut machine = told([added(5, "a")], 90);
    assert_eq!(machine.step(mark(95)).next, Next::Listen);
    assert_eq!(machine.step(mark(95)).next, Next::Listen);
    assert_eq!(machine.step(mark(94)).next, anew(RestartReason::Backwards));
    // It is newer than the object's last state, yet not newer than what the watch has told.
    let mut machine = told([added(5, "a")], 90);
    let back = machine.step(added(50, "b"));
    assert_eq!(
        (back.emit, back.next),
        (None, anew(RestartReason::Backwards))
    );
}

#[test]
fn only_a_complete_read_goes_back() {
    let mut machine = told([added(50, "new")], 90);
    let step = read(&mut machine, [added(20, "old")], 30);
    assert_eq!(step.emit, applied("old"));
    assert!(step.restored);
    // From there it goes forward again.
    assert_eq!(machine.step(added(31, "next")).emit, applied("next"));

    let mut machine = told([added(50, "new")], 90);
    let step = read(&mut machine, [], 30);
    assert_eq!((step.emit, step.restored), (Some(Emit::Deleted), true));
}

#[test]
fn a_reused_version_with_other_contents_is_said() {
    let mut machine = told([added(50, "lost")], 90);
    assert_eq!(read(&mut machine, [added(50, "lost")], 91).emit, None);
    assert_eq!(
        read(&mut machine, [added(50, "other")], 91).emit,
        applied("other")
    );
}

#[test]
fn a_list_is_followed_by_a_watch_from_its_version() {
    let mut machine = new();
    machine.begin(&Ask::List);
    let step = machine.step(WatchEvent::Listed(version(30), Some(item(20, "a"))));
    assert_eq!(step.emit, applied("a"));
    let ask = Ask::Watch(version(30));
    assert_eq!(step.next, Next::Ask(ask.clone(), None));
    machine.begin(&ask);
    assert_eq!(machine.step(added(31, "b")).emit, applied("b"));
    // A watch of a version that is to come would be silent for ever: its bookmark tells.
    machine.begin(&ask);
    assert_eq!(machine.step(mark(29)).next, anew(RestartReason::Backwards));
}

#[test]
fn an_immutable_object_rests_until_asked() {
    let mut machine = new();
    let step = read(&mut machine, [added(5, "fixed")], 9);
    assert_eq!((step.emit, step.next), (applied("fixed"), Next::Rest));
    assert!(machine.again());
    assert_eq!(machine.ask(), Ask::List);
    machine.begin(&Ask::List);
    let step = machine.step(WatchEvent::Listed(version(10), Some(item(5, "fixed"))));
    assert_eq!((step.emit, step.next), (applied("fixed"), Next::Rest));
    // Deleted and made anew, not immutable any more: it is watched again.
    assert!(machine.again());
    machine.begin(&Ask::List);
    let step = machine.step(WatchEvent::Listed(version(12), Some(item(11, "free"))));
    assert_eq!(step.next, Next::Ask(Ask::Watch(version(12)), None));
    machine.begin(&Ask::Watch(version(12)));
    assert_eq!(machine.step(added(13, "fixed too")).next, Next::Rest);
}

#[test]
fn who_asks_is_answered_even_if_nothing_changed() {
    let mut machine = told([added(5, "a")], 9);
    assert!(machine.again());
    assert_eq!(read(&mut machine, [added(5, "a")], 10).emit, applied("a"));
    assert_eq!(read(&mut machine, [added(5, "a")], 10).emit, None);
}

#[test]
fn who_asks_in_the_middle_is_answered_by_another_read() {
    let mut machine = new();
    machine.begin(&Ask::Read);
    machine.step(added(5, "a"));
    assert!(!machine.again(), "the read under way goes on");
    assert!(!machine.again());
    let step = machine.step(whole(9));
    assert_eq!(step.next, anew(RestartReason::Asked));
    let step = read(&mut machine, [added(5, "a")], 9);
    assert_eq!((step.emit, step.next), (applied("a"), Next::Listen));

    // The same where that read fails.
    let mut machine = told([added(5, "a")], 9);
    machine.begin(&Ask::Read);
    assert!(!machine.again());
    machine.ended(WatchEnd::Expired, Duration::ZERO, false, 0.5);
    assert_eq!(read(&mut machine, [added(5, "a")], 9).emit, applied("a"));
}

#[test]
fn an_orderly_end_is_renewed_by_a_read_at_once() {
    let mut machine = told([added(5, "a")], 9);
    let retry = machine.ended(WatchEnd::Closed, Duration::ZERO, true, 0.5);
    assert_eq!(
        (retry.ask, retry.after, retry.failing),
        (Ask::Read, Duration::ZERO, None)
    );
    let mut machine = told([added(5, "a")], 9);
    let retry = machine.ended(WatchEnd::Expired, Duration::ZERO, false, 0.5);
    assert_eq!((retry.ask, retry.after), (Ask::Read, Duration::ZERO));
}

#[test]
fn failures_wait_twice_as_long_each_time_up_to_a_limit() {
    let timing = Timing::default();
    let mut machine = new();
    let mut before = Duration::ZERO;
    for _ in 0..12 {
        machine.begin(&Ask::Read);
        let retry = machine.ended(
            WatchEnd::Unreachable("gone".into()),
            Duration::ZERO,
            false,
            0.5,
        );
        assert!(
            retry.after >= before && retry.after <= timing.most,
            "{:?}",
            retry.after
        );
        before = retry.after;
    }
    assert_eq!(before, timing.most);
    // Even one that ends in order: a server must not be asked in a loop.
    machine.begin(&Ask::Read);
    assert_eq!(
        machine
            .ended(WatchEnd::Closed, Duration::ZERO, false, 0.5)
            .after,
        timing.most
    );
    machine.begin(&Ask::Read);
    machine.step(whole(9));
    assert_eq!(
        machine
            .ended(WatchEnd::Closed, Duration::ZERO, true, 0.5)
            .after,
        Duration::ZERO
    );
}

#[test]
fn a_busy_server_is_left_alone_as_long_as_it_says() {
    let wait = Duration::from_secs(40);
    let retry = new().ended(
        WatchEnd::Busy(Some(wait), "busy".into()),
        Duration::ZERO,
        false,
        0.0,
    );
    assert!(retry.after >= wait);
}

#[test]
fn a_short_loss_is_no_word_and_a_long_one_is_one() {
    let mut machine = new();
    let mut said = Vec::new();
    for _ in 0..10 {
        machine.begin(&Ask::Read);
        said.extend(
            machine
                .ended(
                    WatchEnd::Unreachable("no route".into()),
                    Duration::ZERO,
                    false,
                    0.5,
                )
                .failing,
        );
    }
    assert_eq!(said, ["the API server cannot be reached: no route"]);
    let step = read(&mut machine, [], 9);
    assert!(step.working);
    assert!(!read(&mut machine, [], 9).working);
}

#[test]
fn one_attempt_that_takes_long_is_a_long_loss() {
    let took = Timing::default().connect;
    let mut machine = new();
    machine.begin(&Ask::Read);
    let gone = WatchEnd::Unreachable("no answer".into());
    assert!(machine.ended(gone, took, false, 0.5).failing.is_some());
}

#[test]
fn what_is_forbidden_is_said_at_once_and_again_when_asked() {
    let forbidden = || WatchEnd::Forbidden("you may not".into());
    let mut machine = new();
    machine.begin(&Ask::Read);
    let step = machine
        .ended(forbidden(), Duration::ZERO, false, 0.5)
        .failing;
    assert_eq!(step.as_deref(), Some("the API server says: you may not"));
    machine.begin(&Ask::Read);
    assert_eq!(
        machine
            .ended(forbidden(), Duration::ZERO, false, 0.5)
            .failing,
        None
    );
    assert!(machine.again());
    machine.begin(&Ask::Read);
    assert!(
        machine
            .ended(forbidden(), Duration::ZERO, false, 0.5)
            .failing
            .is_some()
    );
}

#[test]
fn a_server_without_streaming_lists_is_asked_for_a_list() {
    let mut machine = new();
    machine.begin(&Ask::Read);
    let retry = machine.ended(
        WatchEnd::Unsupported("no".into()),
        Duration::ZERO,
        false,
        0.5,
    );
    assert_eq!(
        (retry.ask, retry.after, retry.failing),
        (Ask::List, Duration::ZERO, None)
    );
    // One that does not like that either is told about.
    machine.begin(&Ask::List);
    let retry = machine.ended(
        WatchEnd::Unsupported("no".into()),
        Duration::ZERO,
        false,
        0.5,
    );
    assert!(retry.failing.is_some() && retry.after > Duration::ZERO);
}

#[test]
fn a_streaming_list_that_never_ends_is_followed_by_a_list() {
    let mut machine = new();
    machine.begin(&Ask::Read);
    machine.step(added(5, "a"));
    assert_eq!(
        machine
            .ended(WatchEnd::Silent, Duration::ZERO, false, 0.5)
            .ask,
        Ask::List
    );
    machine.begin(&Ask::List);
    assert_eq!(
        machine
            .ended(WatchEnd::Silent, Duration::ZERO, false, 0.5)
            .ask,
        Ask::Read
    );
}
