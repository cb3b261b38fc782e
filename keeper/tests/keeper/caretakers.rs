//! The children of a keeper: caretakers, when nobody serves, and the hand.

use livemount_keeper::Role;
use rustix::process::{Pid, Signal, kill_process};

use super::Case;
use super::scene::{NEVER, Process, Scene, is_gone, until};

pub const ALL: &[Case] = &[
    (
        "a_caretaker_serves_until_a_daemon_comes",
        a_caretaker_serves_until_a_daemon_comes,
    ),
    (
        "a_caretaker_gets_nothing_while_a_daemon_lives",
        a_caretaker_gets_nothing_while_a_daemon_lives,
    ),
    (
        "the_third_daemon_that_dies_is_not_waited_for",
        the_third_daemon_that_dies_is_not_waited_for,
    ),
    (
        "the_hand_is_started_again_and_ends_with_the_keeper",
        the_hand_is_started_again_and_ends_with_the_keeper,
    ),
];

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a number"), Signal::KILL).expect("it is there");
}

/// A caretaker that holds and is ready, waited for; not this one.
fn caretaker(scene: &Scene, not: u32) -> u32 {
    let mut pid = not;
    until("a caretaker holds and is ready", || {
        let report = scene.report();
        if report.holder == Some(Role::Caretaker) && report.ready {
            pid = report.pid.expect("it is seen");
        }
        pid != not
    });
    pid
}

fn a_caretaker_serves_until_a_daemon_comes() {
    let scene = Scene::new();
    let mut keeper = scene.keeper_with(NEVER, 0, &["caretaker"]);
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "barrier"]);
    daemon.kill();
    let first = caretaker(&scene, 0);
    kill(first);
    let second = caretaker(&scene, first);
    // Told to, it ends by itself: the keeper would wait for ever here.
    let (mut daemon, got) = scene.daemon();
    assert_eq!(got, "1: a=one");
    assert!(is_gone(second), "two have everything");
    // With nothing to serve nobody is needed. Whoever asks is answered after it was seen to.
    daemon.does(["remove a", "barrier"]);
    daemon.kill();
    until("its end is seen", || scene.report().holder.is_none());
    scene.report();
    assert!(!keeper.has_children());
    keeper.signal(Signal::TERM);
    assert_eq!(keeper.hear(), "Empty");
    assert!(keeper.end().success());
}

fn a_caretaker_gets_nothing_while_a_daemon_lives() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    let mut caretaker = scene.asking(Role::Caretaker);
    assert_eq!(
        caretaker.hear(),
        "error: the keeper refused: somebody serves"
    );
    // Nor while one waits.
    let mut next = scene.asking(Role::Daemon);
    assert_eq!(daemon.ask("event"), "Ok(HandOver)");
    let mut caretaker = scene.asking(Role::Caretaker);
    assert_eq!(
        caretaker.hear(),
        "error: the keeper refused: a daemon is about to serve"
    );
    daemon.kill();
    assert_eq!(next.hear(), "0:");
    next.kill();
    let mut caretaker = scene.asking(Role::Caretaker);
    assert_eq!(caretaker.hear(), "0:");
}

fn the_third_daemon_that_dies_is_not_waited_for() {
    let scene = Scene::new();
    let keeper = scene.keeper_with(NEVER, NEVER, &["caretaker"]);
    let dies = |line: &str| {
        let (mut daemon, _): (Process, _) = scene.daemon();
        daemon.does([line, "barrier"]);
        daemon.kill();
        until("it is seen", || {
            scene.report().pid != Some(daemon.child.id())
        });
    };
    dies("store a one");
    scene.report();
    assert!(!keeper.has_children());
    dies("store a two");
    scene.report();
    assert!(!keeper.has_children());
    dies("store a three");
    caretaker(&scene, 0);
}

fn the_hand_is_started_again_and_ends_with_the_keeper() {
    let scene = Scene::new();
    let mut keeper = scene.keeper_with(NEVER, NEVER, &["hand"]);
    let note = || {
        let note = std::fs::read_to_string(scene.dir().join("hand.note")).ok()?;
        let (pid, args) = note.split_once(' ')?;
        Some((pid.parse().ok()?, args.to_owned()))
    };
    until("there is a hand", || note().is_some());
    let (first, args): (u32, String) = note().expect("it was there");
    let dir = scene.dir().display();
    assert_eq!(
        args,
        format!("--dir {dir} --root /a --root /b --heartbeat 1500")
    );
    kill(first);
    until("there is another", || {
        note().is_some_and(|(pid, _)| pid != first)
    });
    let (second, _): (u32, String) = note().expect("it was there");
    assert!(!is_gone(second));
    keeper.signal(Signal::TERM);
    assert_eq!(keeper.hear(), "Empty");
    until("the hand has ended", || is_gone(second));
    assert!(keeper.end().success());
}
