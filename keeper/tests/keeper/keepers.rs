//! Keepers that end, die, and take each other's place.

use std::os::fd::AsFd;

use livemount_keeper::Role;
use rustix::process::Signal;

use super::Case;
use super::raw::FakeKeeper;
use super::roles::descriptor;
use super::scene::{NEVER, Process, Scene, until};

pub const ALL: &[Case] = &[
    (
        "a_keeper_takes_anothers_place_under_a_daemon",
        a_keeper_takes_anothers_place_under_a_daemon,
    ),
    (
        "a_keeper_takes_anothers_place_while_nobody_holds",
        a_keeper_takes_anothers_place_while_nobody_holds,
    ),
    (
        "a_new_keeper_knows_who_has_to_end_first",
        a_new_keeper_knows_who_has_to_end_first,
    ),
    (
        "all_is_stored_again_when_a_keeper_died",
        all_is_stored_again_when_a_keeper_died,
    ),
    (
        "what_was_removed_while_nobody_kept_is_removed",
        what_was_removed_while_nobody_kept_is_removed,
    ),
    (
        "what_somebody_else_stored_meanwhile_is_found",
        what_somebody_else_stored_meanwhile_is_found,
    ),
    (
        "a_keeper_ends_only_when_it_holds_nothing_alone",
        a_keeper_ends_only_when_it_holds_nothing_alone,
    ),
    (
        "a_keeper_that_stays_serves_the_next_daemon",
        a_keeper_that_stays_serves_the_next_daemon,
    ),
    (
        "a_keeper_that_does_not_hand_over_keeps_its_place",
        a_keeper_that_does_not_hand_over_keeps_its_place,
    ),
];

fn ended(keeper: &mut Process, how: &str) {
    assert_eq!(keeper.hear(), how);
    assert!(keeper.end().success());
}

fn a_keeper_takes_anothers_place_under_a_daemon() {
    let scene = Scene::new();
    let mut old = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "many 600", "ready", "barrier"]);
    let mut new = scene.keeper();
    ended(&mut old, "Handed");
    assert_eq!(daemon.ask("event"), "Ok(Gone)");
    assert_eq!(daemon.ask("event"), "Ok(Back)");
    daemon.does(["store b two", "remove many00000", "barrier"]);
    assert_eq!(daemon.ask("found"), "");
    let report = scene.report();
    assert_eq!((report.entries, report.ready), (601, true));
    assert_eq!(report.pid, Some(daemon.child.id()));
    new.signal(Signal::TERM);
    ended(&mut new, "Held");
}

fn a_keeper_takes_anothers_place_while_nobody_holds() {
    let scene = Scene::new();
    let mut old = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "barrier"]);
    daemon.kill();
    // Two come at once: one has everything then, whichever it is.
    let mut new = [
        scene.start_keeper(NEVER, NEVER, &[]),
        scene.start_keeper(NEVER, NEVER, &[]),
    ];
    ended(&mut old, "Handed");
    until("one took from the other", || {
        new.iter_mut().any(Process::has_ended)
    });
    let (_daemon, got) = scene.daemon();
    assert_eq!(got, "1: a=one");
    let one = new.iter_mut().position(Process::has_ended).expect("it has");
    ended(&mut new[one], "Handed");
}

fn a_new_keeper_knows_who_has_to_end_first() {
    let scene = Scene::new();
    let mut old = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "ready", "barrier"]);
    daemon.stop();
    let _new = scene.keeper_with(0, NEVER, &[]);
    ended(&mut old, "Handed");
    let report = scene.report();
    assert_eq!((report.pid, report.ready), (Some(daemon.child.id()), true));
    let (_next, got) = scene.daemon();
    assert_eq!(got, "1: a=one");
    assert!(daemon.has_ended(), "two have everything");
}

fn all_is_stored_again_when_a_keeper_died() {
    let scene = Scene::new();
    let mut old = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["many 600", "store a one", "store b two", "ready", "barrier"]);
    old.kill();
    assert_eq!(daemon.ask("event"), "Ok(Gone)");
    // While nobody keeps, nothing fails that is about later.
    daemon.does(["store a three", "remove b", "store c four"]);
    assert_eq!(daemon.ask("barrier"), "error: the keeper is away");
    assert!(
        daemon
            .ask("status")
            .contains("up: false, stored: 602, losses: 1")
    );
    let _new = scene.keeper();
    assert_eq!(daemon.ask("event"), "Ok(Back)");
    daemon.does(["barrier"]);
    let report = scene.report();
    assert_eq!((report.entries, report.ready), (602, true));
    daemon.kill();
    let (_next, got) = scene.daemon();
    assert!(
        got.starts_with("602: a=three c=four many00000=many"),
        "{}",
        &got[..40]
    );
}

fn what_was_removed_while_nobody_kept_is_removed() {
    let scene = Scene::new();
    std::fs::create_dir(scene.dir()).expect("a folder");
    let fake = FakeKeeper::listen(scene.dir());
    let mut daemon = scene.asking(Role::Daemon);
    let keeper = fake.asked();
    keeper.say(b"TAKEN=0", &[]).expect("room");
    assert_eq!(daemon.hear(), "0:");
    daemon.does(["store a one", "store b two"]);
    for _ in 0..2 {
        assert!(
            keeper
                .hear()
                .expect("a message")
                .0
                .starts_with("FDSTORE=1\n")
        );
    }
    drop(keeper);
    assert_eq!(daemon.ask("event"), "Ok(Gone)");
    daemon.does(["remove b"]);
    // One that has it still, and something of somebody else.
    let (file, everything) = (descriptor("x"), b"FDNAME=a\nFDNAME=b\nFDNAME=c\n");
    let keeper = fake.asked();
    keeper
        .say(everything, &[file.as_fd(), file.as_fd(), file.as_fd()])
        .expect("room");
    keeper.say(b"TAKEN=3", &[]).expect("room");
    let said = |text: &str, beside| Some((text.to_owned(), beside));
    assert_eq!(keeper.hear(), said("FDSTOREREMOVE=1\nFDNAME=b\n", 0));
    assert_eq!(keeper.hear(), said("FDSTORE=1\nFDNAME=a\n", 1));
    assert_eq!(daemon.ask("event"), "Ok(Back)");
    assert_eq!(daemon.ask("found"), "c=x");
    drop(keeper);
    // One that knows that nobody else held: what it has more is an echo of ours.
    let keeper = fake.asked();
    keeper
        .say(everything, &[file.as_fd(), file.as_fd(), file.as_fd()])
        .expect("room");
    keeper.say(b"TAKEN=3\nSAME=1", &[]).expect("room");
    assert_eq!(
        keeper.hear(),
        said("FDSTOREREMOVE=1\nFDNAME=b\nFDNAME=c\n", 0)
    );
}

fn what_somebody_else_stored_meanwhile_is_found() {
    let scene = Scene::new();
    let mut old = scene.keeper();
    let (mut first, _) = scene.daemon();
    first.does(["store a one", "barrier"]);
    // So that it comes back after the other.
    first.stop();
    old.kill();
    let _new = scene.keeper();
    let (mut second, got) = scene.daemon();
    assert_eq!(got, "0:", "the keeper that died told nobody");
    second.does(["store b two", "barrier"]);
    // Whoever was there first has what is served; the other has to come again.
    first.signal(Signal::CONT);
    assert_eq!(second.ask("event"), "Ok(HandOver)");
    second.kill();
    assert_eq!(first.ask("event"), "Ok(Gone)");
    assert_eq!(first.ask("event"), "Ok(Back)");
    assert_eq!(first.ask("found"), "b=two");
    first.does(["barrier"]);
    assert_eq!(scene.report().entries, 2);
}

fn a_keeper_ends_only_when_it_holds_nothing_alone() {
    let scene = Scene::new();
    let mut keeper = scene.keeper();
    keeper.signal(Signal::TERM);
    ended(&mut keeper, "Empty");
    assert!(!scene.dir().join("keep.sock").exists());

    let mut keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "ready", "barrier"]);
    keeper.signal(Signal::INT);
    ended(&mut keeper, "Held");

    let mut keeper = scene.keeper();
    until("it is stored again", || scene.report().ready);
    daemon.kill();
    let (mut next, _) = scene.daemon();
    keeper.signal(Signal::TERM);
    // It holds, but has not said that it has everything. Two questions: the signal came before the second.
    until("it was told", || scene.report().entries == 1);
    assert_eq!(scene.report().entries, 1);
    assert!(!keeper.has_ended());
    next.does(["ready"]);
    ended(&mut keeper, "Held");
}

fn a_keeper_that_stays_serves_the_next_daemon() {
    let scene = Scene::new();
    let mut keeper = scene.keeper_with(NEVER, 1, &["caretaker"]);
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "ready", "barrier"]);
    daemon.kill();
    until("a caretaker holds and is ready", || {
        let report = scene.report();
        report.holder == Some(Role::Caretaker) && report.ready
    });
    keeper.signal(Signal::TERM);
    let (mut next, got) = scene.daemon();
    assert_eq!(
        got, "1: a=one",
        "a caretaker's being ready lets no keeper go"
    );
    next.does(["ready"]);
    ended(&mut keeper, "Held");
}

fn a_keeper_that_does_not_hand_over_keeps_its_place() {
    let scene = Scene::new();
    let keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "barrier"]);
    keeper.stop();
    let mut other = scene.start_keeper(NEVER, NEVER, &["hasty"]);
    assert_eq!(other.hear(), "the keeper has not answered in time: take");
    assert!(!other.end().success());
    keeper.signal(Signal::CONT);
    daemon.does(["store b two", "barrier"]);
    assert_eq!(scene.report().entries, 2);
}
