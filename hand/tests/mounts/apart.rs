//! A hand that runs apart: what stays when daemons go, and what a successor finds.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use livemount_hand::protocol::Work;
use livemount_hand::{
    CommitNumber, Hand, HandError, Last, OpResult, Progress, Unbind, VolumeNumber,
};
use rustix::process::Signal;

use crate::hands::{Apart, Guest, come, goes_on, stick};
use crate::scene::{
    CALM, ONE, SOON, Scene, TWO, assert_clean, daemon, is_gone, mounts, publish, ring, send,
    server, start, until,
};
use crate::server::{GETATTR, LOOKUP, WRITE, resend, serve};

pub const ALL: &[(&str, fn())] = &[
    (
        "a_daemon_goes_and_nothing_else",
        a_daemon_goes_and_nothing_else,
    ),
    (
        "what_no_daemon_knows_any_more_goes",
        what_no_daemon_knows_any_more_goes,
    ),
    (
        "an_operation_outlives_its_daemon",
        an_operation_outlives_its_daemon,
    ),
    (
        "dead_mounts_wait_for_a_daemon",
        dead_mounts_wait_for_a_daemon,
    ),
    ("what_is_dead_may_stay", what_is_dead_may_stay),
    ("a_hand_heeds_term", a_hand_heeds_term),
    (
        "another_hand_is_told_everything",
        another_hand_is_told_everything,
    ),
    (
        "a_successor_passes_on_what_it_was_told",
        a_successor_passes_on_what_it_was_told,
    ),
    (
        "a_hand_killed_in_the_kernel_is_in_nobodys_way",
        a_hand_killed_in_the_kernel_is_in_nobodys_way,
    ),
    (
        "a_hand_whose_place_is_taken_ends",
        a_hand_whose_place_is_taken_ends,
    ),
    (
        "a_hand_may_come_after_its_daemon",
        a_hand_may_come_after_its_daemon,
    ),
    (
        "a_mount_that_cloning_used_up_is_told",
        a_mount_that_cloning_used_up_is_told,
    ),
];

const THREE: VolumeNumber = VolumeNumber(3);
const FOUR: VolumeNumber = VolumeNumber(4);
const FIVE: VolumeNumber = VolumeNumber(5);
/// What does not end in that time does not.
const SHORT: Duration = Duration::from_millis(50);
/// For pings in a test's time.
const BEAT: Duration = Duration::from_millis(400);

fn done(commit: u64, index: u32) -> Progress {
    Progress {
        last: Some(Last {
            commit: CommitNumber(commit),
            index,
            result: OpResult::Done,
        }),
        running: None,
    }
}

fn rings(daemon: &Hand, volume: VolumeNumber, commit: u64) {
    assert_eq!(
        daemon.run(volume, CommitNumber(commit), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );
}

fn a_daemon_goes_and_nothing_else() {
    let scene = Apart::new();
    let target = scene.target(ONE);
    let first = scene.daemon();
    let made = scene.volume(&first, ONE);
    let seen = serve(made.device);
    assert!(first.bind(ONE, &target).expect("binds").is_none());
    assert_eq!(
        first.run(ONE, CommitNumber(7), 3, &[ring("a"), ring("b")], SOON),
        Ok(vec![OpResult::Done; 2])
    );
    first.close(SOON).expect("goes");
    assert_eq!(first.last(ONE), Err(HandError::Closed));
    let mount = made.mount;
    for commit in 8..12 {
        let next = scene.daemon();
        assert_eq!(mounts(scene.root.path()).len(), 1);
        assert_eq!(fs::metadata(target.join("a")).expect("is served").len(), 3);
        // The hand knows better: a successor may not know that it was bound.
        next.adopt(ONE, &target, false, false, Arc::clone(&mount))
            .expect("adopts");
        let index = if commit == 8 { 4 } else { 0 };
        assert_eq!(next.last(ONE), Ok(done(commit - 1, index)));
        next.settle().expect("is told");
        assert!(next.bind(ONE, &target).expect("is bound").is_none());
        rings(&next, ONE, commit);
        next.close(SOON).expect("goes");
    }
    assert_eq!(
        seen.lock()
            .changes
            .iter()
            .filter(|change| **change == "write")
            .count(),
        6
    );
    let last = scene.daemon();
    scene.adopt(&last, ONE, &mount);
    last.settle().expect("is told");
    drop(mount);
    last.unbind(ONE, Unbind::Detach).expect("unbinds");
    last.forget(ONE, true).expect("forgets");
    assert_clean(scene.root.path());
}

fn what_no_daemon_knows_any_more_goes() {
    let scene = Apart::new();
    let first = scene.daemon();
    let (kept, lost) = (scene.volume(&first, ONE), scene.volume(&first, TWO));
    let _kept = serve(kept.device);
    let stuck = serve(lost.device);
    for volume in [ONE, TWO] {
        first.bind(volume, &scene.target(volume)).expect("binds");
    }
    // Nobody ever answers this.
    let rings_two = stick(&first, TWO, &stuck);
    // Nor this, which is bound nowhere; nor does anybody tell the last one its name.
    let unbound = serve(scene.volume(&first, FOUR).device);
    let rings_four = stick(&first, FOUR, &unbound);
    let nameless = serve(scene.volume(&first, FIVE).device);
    nameless.lock().hold = Some(LOOKUP);
    first.close(SOON).expect("goes");
    for rings in [rings_two, rings_four] {
        let unfinished = rings.join().expect("no panic").expect_err("nobody told");
        assert_eq!(unfinished.why, HandError::Died);
    }
    let hasty = Guest::welcome(&scene.socket());
    let target = scene.target(FIVE).into_os_string().into_vec();
    let bind = Work::Bind {
        volume: FIVE,
        target,
    };
    // Past its time as soon as it has begun; one that comes too late is not begun at all.
    until("it is asked", || {
        hasty.say_within(2, 1, bind.clone());
        nameless.lock().is_holding()
    });
    drop(hasty);

    let next = scene.daemon();
    assert!(goes_on(&next.idle(TWO, SHORT)));
    assert_eq!(next.idle(ONE, SOON), Ok(()));
    scene.adopt(&next, ONE, &kept.mount);
    // A new one is nobody's leftover.
    let fresh = scene.volume(&next, THREE);
    next.settle().expect("is told");
    for volume in [TWO, FOUR, FIVE] {
        until("taken away", || !scene.target(volume).exists());
        assert_eq!(next.idle(volume, SOON), Ok(()), "it is freed");
        let unknown = Err(HandError::NoVolume(volume));
        until("forgotten", || next.last(volume) == unknown);
    }
    assert_eq!(mounts(scene.root.path()).len(), 1);
    rings(&next, ONE, 1);
    let _fresh = serve(fresh.device);
    next.bind(THREE, &scene.target(THREE)).expect("binds");
    rings(&next, THREE, 1);
}

/// The first daemon's process and its server's are the test's own and a child's; what is kept for the
/// second is a copy of `/dev/fuse`, as a keeper has it.
fn an_operation_outlives_its_daemon() {
    let scene = Apart::new();
    let first = scene.daemon();
    let made = scene.volume(&first, ONE);
    let serving = server(&made.device, WRITE);
    first.bind(ONE, &scene.target(ONE)).expect("binds");
    let under_way = Progress {
        last: None,
        running: Some((CommitNumber(5), 2)),
    };
    // Past its time. One that came too late was not begun at all.
    until("under way", || {
        first
            .run(ONE, CommitNumber(5), 2, &[ring("a")], SHORT)
            .expect_err("nobody answers");
        first.last(ONE) == Ok(under_way)
    });
    // The daemon's death.
    drop(serving);
    first.close(SOON).expect("goes");

    let next = scene.daemon();
    scene.adopt(&next, ONE, &made.mount);
    assert_eq!(next.last(ONE), Ok(under_way), "it is not lost");
    next.settle().expect("is told");
    assert!(goes_on(&next.idle(ONE, SHORT)));
    let waiting = {
        let next = next.clone();
        std::thread::spawn(move || next.idle(ONE, SOON))
    };
    resend(&made.device);
    let seen = serve(made.device);
    assert_eq!(waiting.join().expect("no panic"), Ok(()));
    assert_eq!(next.last(ONE), Ok(done(5, 2)), "its result is remembered");
    assert_eq!(seen.lock().changes, ["write"], "and it is done once");
    rings(&next, ONE, 6);
}

/// A mount at `t` whose daemon and hand were killed.
fn leave_dead(root: &Path) {
    let mut dead = daemon(root, CALM, "idle");
    // The hand first, before its daemon has the time to start another.
    send(dead.pid, Signal::STOP);
    send(dead.hand, Signal::KILL);
    send(dead.pid, Signal::KILL);
    dead.child.wait().expect("ours to reap");
    until("gone", || is_gone(dead.hand));
}

fn dead_mounts_wait_for_a_daemon() {
    let mut scene = Apart::with_heartbeat(BEAT);
    // Of somebody else.
    let other = start(scene.root.path(), CALM, &[]);
    let silent = publish(&other, 2, &scene.target(TWO));
    leave_dead(scene.root.path());
    send(scene.hand(), Signal::KILL);
    scene.again().wait().expect("ours to reap");
    silent.lock().hold = Some(GETATTR);

    let first = scene.daemon();
    let away = scene.volume(&first, ONE);
    let serving = serve(away.device);
    first.bind(ONE, &scene.target(ONE)).expect("binds");
    first.close(SOON).expect("goes");
    let next = scene.daemon();
    // Its daemon does not answer yet.
    serving.lock().hold = Some(GETATTR);
    scene.adopt(&next, ONE, &away.mount);
    assert_eq!(
        mounts(scene.root.path()).len(),
        3,
        "it is for a daemon to say"
    );
    next.settle().expect("is told");
    until("swept", || mounts(scene.root.path()).len() == 2);
    // The one that does not answer is being asked; of its own nobody asks the hand.
    until("only that", || next.status().busy == 1);
    assert!(!mounts(scene.target(ONE).as_path()).is_empty());
    assert!(!mounts(scene.target(TWO).as_path()).is_empty());
    serving.lock().release();
    rings(&next, ONE, 1);
    silent.lock().release();
    other.close(SOON).expect("ends");
}

/// Nobody finds an empty folder where a volume was, until somebody asks for it again.
fn what_is_dead_may_stay() {
    let scene = Apart::told(CALM, &["--leave-dead"]);
    leave_dead(scene.root.path());
    let first = scene.daemon();
    let lost = scene.volume(&first, ONE);
    let _seen = serve(lost.device);
    first.bind(ONE, &scene.target(ONE)).expect("binds");
    // This one nobody was promised.
    let _unbound = scene.volume(&first, TWO);
    drop(lost.mount);
    first.close(SOON).expect("goes");

    let next = scene.daemon();
    next.settle().expect("is told");
    for volume in [ONE, TWO] {
        until("forgotten", || {
            next.last(volume) == Err(HandError::NoVolume(volume))
        });
    }
    assert!(!scene.target(TWO).exists());
    let dead = [scene.target(ONE), scene.root.path().join("t")];
    for dead in &dead {
        // What the kernel remembered of it as well.
        until("it refuses", || {
            let asked = fs::metadata(dead).map(drop).map_err(|e| e.raw_os_error());
            asked == Err(Some(libc::ENOTCONN))
        });
        let found = fs::read_dir(dead)
            .map(drop)
            .expect_err("is no empty folder");
        assert_eq!(
            found.raw_os_error(),
            Some(libc::ENOTCONN),
            "{}",
            dead.display()
        );
    }
    let replaced = next.prepare(THREE, &dead[0], false);
    assert_eq!(
        replaced.map(|prepared| prepared.replaced),
        Ok(true),
        "it is asked for again"
    );
    let made = next.mount(THREE).expect("a connection");
    let _served = serve(made.device);
    let still = fs::read_dir(&dead[0]).map(drop);
    still.expect_err("there is nothing yet to put in its place");
    next.bind(THREE, &dead[0]).expect("binds");
    assert_eq!(fs::metadata(dead[0].join("a")).expect("is served").len(), 3);
    next.clear(&dead[1]).expect("it is taken away");
    assert_eq!(mounts(scene.root.path()).len(), 1);
}

fn a_hand_heeds_term() {
    let mut scene = Apart::new();
    let daemon = scene.daemon();
    let made = scene.volume(&daemon, ONE);
    let _seen = serve(made.device);
    daemon.bind(ONE, &scene.target(ONE)).expect("binds");
    for ignored in [Signal::INT, Signal::HUP] {
        send(scene.hand(), ignored);
    }
    rings(&daemon, ONE, 1);
    send(scene.hand(), Signal::TERM);
    scene.again().wait().expect("it ends, and is ours to reap");
    rings(&daemon, ONE, 2);
    assert_eq!(mounts(scene.root.path()).len(), 1);
}

fn another_hand_is_told_everything() {
    let mut scene = Apart::new();
    let daemon = scene.daemon();
    daemon.settle().expect("is told");
    leave_dead(scene.root.path());
    let made = scene.volume(&daemon, ONE);
    let _seen = serve(made.device);
    daemon.bind(ONE, &scene.target(ONE)).expect("binds");
    drop(made.mount);
    rings(&daemon, ONE, 3);
    for round in 1..=3 {
        send(scene.hand(), Signal::KILL);
        let mut former = scene.again();
        former.wait().expect("ours to reap");
        assert_eq!(daemon.last(ONE), Ok(done(3, 0)));
        assert_eq!(daemon.status().restarts, round);
        until("swept", || mounts(scene.root.path()).len() == 1);
        rings(&daemon, ONE, 3);
    }
}

/// How far the predecessor was, a successor has asked; should the hand die now, another is told.
fn a_successor_passes_on_what_it_was_told() {
    let mut scene = Apart::new();
    let first = scene.daemon();
    let made = scene.volume(&first, ONE);
    let _seen = serve(made.device);
    first.bind(ONE, &scene.target(ONE)).expect("binds");
    rings(&first, ONE, 3);
    first.close(SOON).expect("goes");
    let next = scene.daemon();
    scene.adopt(&next, ONE, &made.mount);
    assert_eq!(next.last(ONE), Ok(done(3, 0)));
    next.settle().expect("is told");
    send(scene.hand(), Signal::KILL);
    scene.again().wait().expect("ours to reap");
    assert_eq!(next.last(ONE), Ok(done(3, 0)));
    rings(&next, ONE, 4);
}

fn a_hand_killed_in_the_kernel_is_in_nobodys_way() {
    // A hand that says nothing is given up only after more than that.
    let mut scene = Apart::with_heartbeat(Duration::from_secs(6));
    let daemon = scene.daemon();
    let (stuck, other) = (scene.volume(&daemon, ONE), scene.volume(&daemon, TWO));
    let (held, _seen) = (serve(stuck.device), serve(other.device));
    for volume in [ONE, TWO] {
        daemon.bind(volume, &scene.target(volume)).expect("binds");
    }
    let rings_one = stick(&daemon, ONE, &held);
    send(scene.hand(), Signal::KILL);
    let mut former = scene.again();
    // Whichever of the two hands hears it: the first keeps its connections, and says nothing.
    let sooner = Duration::from_secs(5);
    assert_eq!(daemon.refresh(TWO, &["a"], sooner), Ok(vec![None]));
    assert_eq!(daemon.status().restarts, 1);
    rings(&daemon, TWO, 1);
    assert_eq!(
        former.try_wait().expect("ours"),
        None,
        "it is in the kernel"
    );
    assert_eq!(mounts(scene.root.path()).len(), 2);
    held.lock().release();
    former.wait().expect("ours to reap");
    let unfinished = rings_one
        .join()
        .expect("no panic")
        .expect_err("nobody told");
    assert_eq!(unfinished.why, HandError::Died);
    rings(&daemon, ONE, 2);
}

fn a_hand_may_come_after_its_daemon() {
    let mut scene = Apart::new();
    send(scene.hand(), Signal::KILL);
    let socket = scene.socket();
    fs::remove_file(&socket).expect("it was there");
    let daemon = std::thread::spawn(move || come(&socket, CALM));
    let mut former = scene.again();
    former.wait().expect("ours to reap");
    let daemon = daemon.join().expect("no panic").expect("a hand");
    assert_eq!(daemon.status().restarts, 0);
}

fn a_mount_that_cloning_used_up_is_told() {
    let scene = Scene::new(&["--clone-attached"]);
    let target = scene.target("1");
    scene.hand.prepare(ONE, &target, false).expect("is empty");
    let made = scene.hand.mount(ONE).expect("a connection");
    let _seen = serve(made.device);
    let mount = scene.hand.bind(ONE, &target).expect("binds");
    let mount = mount.expect("a new one");
    assert!(!Arc::ptr_eq(&mount, &made.mount));
    scene.hand.unbind(ONE, Unbind::Detach).expect("unbinds");
    let again = scene.hand.bind(ONE, &target).expect("binds again");
    assert!(again.is_some_and(|again| !Arc::ptr_eq(&again, &mount)));
    scene.end();
}

/// A hand that holds the mounts of volumes that it will not hear of again would keep them alive.
fn a_hand_whose_place_is_taken_ends() {
    let mut scene = Apart::new();
    let daemon = scene.daemon();
    let made = scene.volume(&daemon, ONE);
    let _seen = serve(made.device);
    daemon.bind(ONE, &scene.target(ONE)).expect("binds");
    let mut former = scene.again();
    rings(&daemon, ONE, 1);
    assert_eq!(daemon.status().restarts, 0, "its daemon stays with it");
    daemon.close(SOON).expect("goes");
    assert!(former.wait().expect("ours to reap").success());
    assert_eq!(mounts(scene.root.path()).len(), 1);
    let next = scene.daemon();
    scene.adopt(&next, ONE, &made.mount);
    rings(&next, ONE, 2);
    next.close(SOON).expect("goes");
    let mut former = scene.again();
    assert!(former.wait().expect("ours to reap").success());
}
