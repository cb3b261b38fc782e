//! What time does: waits that are over, pods that go while they wait, what nobody asks for again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{Ask, Input, Policy};
use super::bench::{Bench, POLICY, request};

const SECOND: Duration = Duration::from_secs(1);
/// Nobody is asked which pods stay.
const QUIET: Policy = Policy {
    ask_pods: None,
    ..POLICY
};

#[test]
fn a_wait_whose_time_is_up_is_answered_with_what_is_missing() {
    let mut bench = Bench::new(QUIET);
    bench.publish(1, request("v", &["a"]));
    assert_eq!(bench.machine.due(), Some(bench.now + 100 * SECOND));
    assert_eq!(bench.pass(99 * SECOND), [""; 0]);
    bench.publish(2, request("v", &["a"]));
    assert_eq!(
        bench.pass(SECOND),
        ["1 failed: ConfigMap default/a could not be read yet"]
    );
    bench.deleted("a");
    bench.failing("a", "the API server says: no");
    assert_eq!(
        bench.pass(99 * SECOND),
        ["2 failed: the API server says: no"]
    );
    // The request stays.
    assert_eq!(bench.applied("a", "1"), ["mount v#1 at /pods/v with 1"]);
}

#[test]
fn a_wait_that_is_over_while_it_is_being_mounted_says_so() {
    let mut bench = Bench::new(QUIET);
    bench.publish(1, request("v", &["a"]));
    bench.applied("a", "1");
    assert_eq!(
        bench.pass(100 * SECOND),
        ["1 failed: the mount has not finished yet"]
    );
    assert_eq!(bench.mounted("v", 1), ["say published v files=1"]);
}

#[test]
fn a_call_without_an_end_waits_for_as_long_as_it_takes() {
    let mut bench = Bench::new(Policy::default());
    let request = Box::new(request("v", &["a"]));
    bench.call(
        1,
        Ask::Publish {
            request,
            until: None,
        },
    );
    assert_eq!(bench.machine.due(), None);
    assert_eq!(bench.pass(10_000_000 * SECOND), [""; 0]);
}

#[test]
fn a_pod_that_goes_while_it_waits_is_let_go() {
    let mut bench = Bench::new(POLICY);
    bench.serve("here", "b", 1);
    assert_eq!(bench.publish(1, request("v", &["a"])), ["watch a"]);
    bench.publish(2, request("w", &["a"]));
    assert_eq!(bench.machine.due(), Some(bench.now + SECOND / 2));
    assert_eq!(bench.pass(SECOND / 2), ["ask which pods stay"]);
    let stay = |pods: &[&str]| {
        Input::Staying(Some(
            pods.iter()
                .map(|pod| format!("uid-{pod}"))
                .collect::<BTreeSet<_>>(),
        ))
    };
    // The answer says nothing of a pod that came after the question.
    bench.now += Duration::from_millis(1);
    bench.publish(3, request("late", &["a"]));
    assert_eq!(
        bench.step(stay(&["w"])),
        ["1 failed: the pod is being deleted"]
    );
    // What is mounted is not touched by it, and it is asked again while somebody waits, not at once.
    assert_eq!(bench.pass(SECOND), [""; 0]);
    assert_eq!(bench.machine.due(), Some(bench.now + SECOND));
    assert_eq!(bench.pass(SECOND), ["ask which pods stay"]);
    assert_eq!(bench.pass(60 * SECOND), [""; 0], "one question at a time");
    assert_eq!(
        bench.step(Input::Staying(None)),
        [""; 0],
        "it could not be told"
    );
    assert_eq!(bench.pass(2 * SECOND), ["ask which pods stay"]);
    bench.applied("a", "1");
    bench.mounted("late", 2);
    bench.mounted("v", 3);
    bench.mounted("w", 4);
    bench.step(stay(&[]));
    assert_eq!(bench.pass(60 * SECOND), [""; 0], "nobody waits");
}

#[test]
fn what_nobody_asks_for_again_is_forgotten() {
    let mut bench = Bench::new(QUIET);
    bench.publish(1, request("v", &["a"]));
    bench.pass(100 * SECOND);
    assert_eq!(bench.machine.due(), Some(bench.now + 600 * SECOND));
    assert_eq!(bench.pass(599 * SECOND), [""; 0]);
    assert_eq!(
        bench.pass(SECOND),
        ["say forgotten v", "forget pod v", "unwatch a"]
    );
    assert!(bench.machine.is_empty());
}

#[test]
fn what_is_asked_for_again_or_mounted_is_not_forgotten() {
    let mut bench = Bench::new(QUIET);
    bench.publish(1, request("v", &["a"]));
    bench.pass(100 * SECOND);
    bench.pass(500 * SECOND);
    bench.publish(2, request("v", &["a"]));
    bench.pass(100 * SECOND);
    assert_eq!(bench.pass(500 * SECOND), [""; 0]);
    bench.applied("a", "1");
    bench.mounted("v", 1);
    assert_eq!(bench.machine.due(), None);
    assert_eq!(bench.pass(100_000 * SECOND), [""; 0]);
}

#[test]
fn what_is_waited_for_is_said_again_until_it_is_there() {
    let mut bench = Bench::new(Policy {
        remind: Some(5 * SECOND),
        ..Policy::default()
    });
    let ask = Ask::Publish {
        request: Box::new(request("v", &["a"])),
        until: None,
    };
    bench.call(1, ask);
    let waiting = ["say waiting v: ConfigMap default/a does not exist"];
    assert_eq!(bench.deleted("a"), waiting);
    assert_eq!(bench.pass(4 * SECOND), [""; 0]);
    assert_eq!(bench.pass(SECOND), waiting);
    assert_eq!(bench.machine.due(), Some(bench.now + 5 * SECOND));
    assert_eq!(bench.pass(5 * SECOND), waiting);
    bench.applied("a", "1");
    bench.mounted("v", 1);
    assert_eq!(bench.machine.due(), None);
    assert_eq!(bench.pass(60 * SECOND), [""; 0]);
}
