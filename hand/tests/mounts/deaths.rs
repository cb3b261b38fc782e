//! What is left when somebody dies or stands still: nothing, and nobody who waits.

use std::fs;
use std::time::Duration;

use livemount_hand::{CommitNumber, HandError, OpResult, Unbind};
use rustix::process::Signal;

use crate::cases::publish_again;
use crate::scene::{
    CALM, ONE, SOON, Scene, TWO, assert_clean, daemon, hand_of, is_gone, mounts, publish, ring,
    send, start, state, until,
};
use crate::server::WRITE;

pub const ALL: &[(&str, fn())] = &[
    ("a_killed_hand_is_replaced", a_killed_hand_is_replaced),
    (
        "a_hand_killed_in_an_operation",
        a_hand_killed_in_an_operation,
    ),
    ("a_silent_hand_is_replaced", a_silent_hand_is_replaced),
    (
        "closed_while_there_is_no_hand",
        closed_while_there_is_no_hand,
    ),
    (
        "stop_signals_do_not_end_a_hand",
        stop_signals_do_not_end_a_hand,
    ),
    (
        "a_killed_daemon_leaves_nothing",
        a_killed_daemon_leaves_nothing,
    ),
    (
        "a_daemon_killed_in_an_operation_leaves_nothing",
        a_daemon_killed_in_an_operation_leaves_nothing,
    ),
    ("a_stopped_daemon_is_given_up", a_stopped_daemon_is_given_up),
    (
        "both_killed_and_a_new_hand_sweeps",
        both_killed_and_a_new_hand_sweeps,
    ),
    (
        "both_stopped_for_long_is_no_silence",
        both_stopped_for_long_is_no_silence,
    ),
];

/// A heartbeat that a test can outlast.
const BEAT: Duration = Duration::from_millis(400);

fn a_killed_hand_is_replaced() {
    let scene = Scene::new(&[]);
    let (target, _seen) = scene.volume(1);
    let (_, _other) = scene.volume(2);
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(4), 2, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );
    for round in 1..=5 {
        let hand = hand_of(std::process::id()).expect("a hand");
        send(hand, Signal::KILL);
        until("gone", || is_gone(hand));
        assert_eq!(mounts(scene.root.path()).len(), 2, "the binds stay");
        // Whichever of the two hands hears it.
        assert_eq!(scene.hand.refresh(ONE, &["a"], SOON), Ok(vec![None]));
        assert_eq!(scene.hand.status().restarts, round);
        let last = scene
            .hand
            .last(ONE)
            .expect("is known")
            .last
            .expect("was told");
        assert_eq!((last.commit, last.index), (CommitNumber(4), 2));
        assert_eq!(
            scene
                .hand
                .run(TWO, CommitNumber(round), 0, &[ring("a")], SOON),
            Ok(vec![OpResult::Done])
        );
    }
    // The last hand's sweep may be looking at it.
    until("unbound", || {
        scene.hand.unbind(ONE, Unbind::IfIdle) == Ok(())
    });
    scene.hand.forget(ONE, true).expect("forgets");
    assert!(
        !target.exists(),
        "it knows that the directory was made by a hand"
    );
    scene.end();
}

fn a_hand_killed_in_an_operation() {
    let scene = Scene::new(&[]);
    let (_, seen) = scene.volume(1);
    seen.lock().hold = Some(WRITE);
    let running = {
        let hand = scene.hand.clone();
        std::thread::spawn(move || hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON))
    };
    until("in the kernel", || seen.lock().is_holding());
    let hand = hand_of(std::process::id()).expect("a hand");
    send(hand, Signal::KILL);
    until("its first thread is dead", || is_gone(hand));
    // Its worker is in the kernel until somebody answers or aborts: the hand cannot die before.
    assert!(scene.hand.status().up);
    seen.lock().release();
    let unfinished = running
        .join()
        .expect("no panic")
        .expect_err("nobody could tell");
    assert_eq!(
        (unfinished.done.len(), unfinished.why),
        (0, HandError::Died)
    );
    assert_eq!(
        scene.hand.last(ONE).expect("of the new hand").last,
        None,
        "so the caller does it again"
    );
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );
    scene.end();
}

fn a_silent_hand_is_replaced() {
    let root = tempfile::tempdir().expect("a directory");
    let hand = start(root.path(), BEAT, &[]);
    let _seen = publish(&hand, 1, &root.path().join("1"));
    let stuck = publish(&hand, 2, &root.path().join("2"));

    send(hand_of(std::process::id()).expect("a hand"), Signal::STOP);
    assert_eq!(
        hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON)
            .map_err(|end| end.why),
        Err(HandError::Died)
    );
    assert_eq!(
        hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );

    // Killed with a thread in the kernel, it stays, and so does its socket.
    stuck.lock().hold = Some(WRITE);
    assert!(
        hand.run(
            TWO,
            CommitNumber(1),
            0,
            &[ring("a")],
            Duration::from_millis(50)
        )
        .is_err()
    );
    send(hand_of(std::process::id()).expect("a hand"), Signal::KILL);
    assert_eq!(
        hand.refresh(ONE, &["a"], SOON),
        Ok(vec![None]),
        "another volume hardly notices"
    );
    assert_eq!(hand.status().restarts, 2);
    assert_eq!(mounts(root.path()).len(), 2);
    stuck.lock().release();
    hand.close(SOON).expect("ends");
    assert_clean(root.path());
}

fn closed_while_there_is_no_hand() {
    let scene = Scene::new(&[]);
    let (_, _seen) = scene.volume(1);
    let hand = hand_of(std::process::id()).expect("a hand");
    send(hand, Signal::KILL);
    scene.end();
}

fn stop_signals_do_not_end_a_hand() {
    let scene = Scene::new(&[]);
    let (_, _seen) = scene.volume(1);
    let hand = hand_of(std::process::id()).expect("a hand");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        send(hand, signal);
    }
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );
    assert_eq!(scene.hand.status().restarts, 0);
    scene.end();
    assert_eq!(hand_of(std::process::id()), None);
}

fn a_killed_daemon_leaves_nothing() {
    for _ in 0..10 {
        let root = tempfile::tempdir().expect("a directory");
        let mut daemon = daemon(root.path(), CALM, "idle");
        assert_eq!(mounts(root.path()).len(), 1);
        send(daemon.pid, Signal::KILL);
        daemon.child.wait().expect("ours to reap");
        let took = until("taken away", || mounts(root.path()).is_empty());
        until("gone", || is_gone(daemon.hand));
        println!("  taken away {took:?} after the daemon's end");
        assert_clean(root.path());
    }
}

fn a_daemon_killed_in_an_operation_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let mut daemon = daemon(root.path(), CALM, "stuck");
    send(daemon.pid, Signal::KILL);
    daemon.child.wait().expect("ours to reap");
    until("taken away", || mounts(root.path()).is_empty());
    until("gone", || is_gone(daemon.hand));
    assert_clean(root.path());
}

fn a_stopped_daemon_is_given_up() {
    for mode in ["idle", "stuck"] {
        let root = tempfile::tempdir().expect("a directory");
        let mut daemon = daemon(root.path(), BEAT, mode);
        // The time is what is tested: a daemon that were thought dead would be by the second beat.
        std::thread::sleep(2 * BEAT + BEAT / 2);
        assert_eq!(
            mounts(root.path()).len(),
            1,
            "a daemon that lives is not given up"
        );
        send(daemon.pid, Signal::STOP);
        let took = until("taken away", || mounts(root.path()).is_empty());
        until("gone", || is_gone(daemon.hand));
        println!("  {mode}: taken away {took:?} after it stood still");
        let status = daemon.child.wait().expect("ours to reap");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(libc::SIGKILL)
        );
        assert_clean(root.path());
    }
}

fn both_killed_and_a_new_hand_sweeps() {
    let root = tempfile::tempdir().expect("a directory");
    let mut first = daemon(root.path(), CALM, "idle");
    // The hand first: its daemon must not have the time to start another.
    send(first.pid, Signal::STOP);
    send(first.hand, Signal::KILL);
    send(first.pid, Signal::KILL);
    first.child.wait().expect("ours to reap");
    until("gone", || is_gone(first.hand));
    let target = root.path().join("t");
    assert_eq!(mounts(root.path()).len(), 1, "nobody could");
    assert_eq!(
        fs::metadata(&target)
            .err()
            .and_then(|error| error.raw_os_error()),
        Some(libc::ENOTCONN)
    );
    let hand = start(root.path(), CALM, &[]);
    until("swept", || mounts(root.path()).is_empty());
    publish_again(&hand, 1, &target);
    hand.close(SOON).expect("ends");
    fs::remove_dir(&target).expect("it was there, so it stays");
    assert_clean(root.path());
}

fn both_stopped_for_long_is_no_silence() {
    let root = tempfile::tempdir().expect("a directory");
    let mut daemon = daemon(root.path(), BEAT, "idle");
    for pid in [daemon.pid, daemon.hand] {
        send(pid, Signal::STOP);
    }
    // The time is what is tested: to stand still for several beats.
    std::thread::sleep(4 * BEAT);
    // The worst order: the hand is awake first, and has looked at the clock before its daemon is.
    send(daemon.hand, Signal::CONT);
    until("the hand waits again", || state(daemon.hand) == Some('S'));
    send(daemon.pid, Signal::CONT);
    // And again: by now each would have missed the other, if their time counted while they stood.
    std::thread::sleep(2 * BEAT + BEAT / 2);
    assert_eq!(mounts(root.path()).len(), 1);
    send(daemon.pid, Signal::KILL);
    daemon.child.wait().expect("ours to reap");
    until("gone", || is_gone(daemon.hand));
    assert_clean(root.path());
}
