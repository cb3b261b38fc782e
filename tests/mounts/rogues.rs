//! Promise 12: one volume's trouble is its own. In each test a process does its worst in a mount
//! namespace of its own (tests/mounts/rogues/rogue.rs), with all that root may do there, to the volume that
//! is bound into it. Meanwhile another volume of the same daemon is committed, and each of its events
//! and bytes has to be exact. When the rogue has gone, its own volume has to be complete and exact.

mod fault;
mod forge;
mod rogue;
mod scene;

use std::fs;
use std::time::Duration;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::Signal;

use crate::support::watch::lines;
use crate::support::{PATIENCE, wait_until};
use rogue::Task;
use scene::{Scene, Volume};

/// The rogues that the tests here start.
#[test]
#[ignore = "a rogue that the other tests start; not a test"]
fn rogue_process() {
    rogue::main();
}

#[test]
fn promise_12_who_writes_in_a_loop() {
    let mut scene = Scene::new();
    let mut rogue = scene.rogue(Task::Write);
    scene.both(40);
    // Its own volume is complete all the same, and while nothing is committed nothing can be done.
    scene.settle_theirs();
    scene.theirs.shows(scene.theirs.version);
    let mut watch = scene.theirs.watch();
    let before = rogue.step().rounds;
    wait_until("it has tried again", PATIENCE, || {
        rogue.step().rounds > before + 2
    });
    assert_eq!(lines(&watch.drain()), [""; 0]);
    let told = rogue.end();
    assert!(told.rounds > 0);
    assert_eq!(told.notes, [""; 0], "what was let through");
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_forges_file_handles() {
    let mut scene = Scene::new();
    let mut rogue = scene.rogue(Task::Forge);
    scene.both(20);
    let told = rogue.end();
    assert!(told.rounds > 0);
    assert_eq!(told.notes, [""; 0], "what was opened");
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_takes_leases_and_gives_none_up() {
    let mut scene = Scene::new();
    let rogue = scene.rogue(Task::Lease);
    let mut watch = scene.theirs.watch();
    for _ in 0..4 {
        scene.offer_theirs();
        scene.quiet_is_exact(5);
        // No lease holds a commit up, and its file gets MODIFY alone.
        scene.settle_theirs();
        let mut expected = Volume::events(scene.theirs.version);
        expected.retain(|event| !event.contains("OPEN") && !event.contains("CLOSE_WRITE"));
        assert_eq!(lines(&watch.drain()), expected);
    }
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_holds_a_folder() {
    let mut scene = Scene::new();
    let rogue = scene.rogue(Task::HoldFolder);
    // A name is to come into the folder whose listing does not end.
    scene.offer_theirs();
    let hand = scene.served.hand();
    let blocked = || hand.state() == Some('D');
    wait_until("the hand waits for the folder", PATIENCE, blocked);
    scene.quiet_is_exact(20);
    assert!(blocked(), "it waits all the time");
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_holds_a_folder_of_a_volume_that_goes() {
    let mut scene = Scene::new();
    let rogue = scene.rogue(Task::HoldFolder);
    scene.offer_theirs();
    let hand = scene.served.hand();
    wait_until("the hand waits for the folder", PATIENCE, || {
        hand.state() == Some('D')
    });
    scene.served.unpublish("theirs");
    scene.quiet_is_exact(20);
    drop(rogue);
    let tree = scene.theirs.tree(scene.theirs.version);
    scene.served.publish("theirs", &scene.theirs.path, &tree);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_locks_files_and_folders() {
    let mut scene = Scene::new();
    let rogue = scene.rogue(Task::Flock);
    scene.both(10);
    // Nobody is held up by these.
    scene.theirs_recovers();
    drop(rogue);
}

#[test]
fn promise_12_who_opens_at_every_commit_and_closes_nothing() {
    let mut scene = Scene::new();
    let mut rogue = scene.rogue(Task::KeepOpen);
    for _ in 0..40 {
        rogue.step();
        scene.offer_theirs();
        scene.quiet_is_exact(1);
        scene.settle_theirs();
    }
    // 40 older versions are held open, 32 are kept.
    let reads = rogue.end().reads;
    for (version, read) in (0..).zip(reads) {
        let expected = if version < 8 {
            Err(libc::ESTALE)
        } else {
            Ok(scene.theirs.tree(version)["a"].0.clone())
        };
        assert!(
            read == expected,
            "version {version}: {:?}",
            read.map(|bytes| bytes.len())
        );
    }
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_opens_and_never_reads() {
    let mut scene = Scene::new();
    let mut rogue = scene.rogue(Task::NeverRead);
    for _ in 0..10 {
        rogue.step();
        scene.offer_theirs();
        scene.quiet_is_exact(2);
        scene.settle_theirs();
    }
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_floods() {
    let mut scene = Scene::new();
    let alone = scene.quiet_is_exact(200);
    let mut rogue = scene.rogue(Task::Flood);
    scene.both(20);
    let flooded = scene.quiet_is_exact(200);
    let told = rogue.end();
    drop(rogue);
    println!(
        "another volume's commit: {} alone, {} beside a flood ({} rounds of it)",
        percentiles(alone),
        percentiles(flooded),
        told.rounds
    );
    scene.theirs_recovers();
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    format!("p50 {:.2?}, p99 {:.2?}", at(50), at(99))
}

#[test]
fn promise_12_who_unmounts_by_force() {
    let mut scene = Scene::new();
    let rogue = scene.rogue(Task::ForceUnmount);
    scene.both(10);
    scene.settle_theirs();
    let error = fs::read(scene.theirs.path.join("a")).expect_err("the connection is gone");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    drop(rogue);
    scene.publish_theirs_again();
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_mounts_over_files_in_a_namespace_of_its_own() {
    let mut scene = Scene::new();
    // `n` is there in version 1, and goes in version 2.
    scene.offer_theirs();
    scene.settle_theirs();
    let rogue = scene.rogue(Task::Cover);
    // Nobody else notices, and the covered name goes.
    scene.both(3);
    scene.theirs_recovers();
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_mounts_over_files_in_the_hosts_namespace() {
    let mut scene = Scene::new();
    scene.offer_theirs();
    scene.settle_theirs();
    let cover = scene.scratch.join("cover");
    fs::create_dir(&cover).expect("a folder");
    fs::write(cover.join("file"), "over it").expect("a file");
    let covered = ["a", "n", "d"].map(|name| scene.theirs.path.join(name));
    for path in &covered {
        let over = if path.is_dir() {
            cover.clone()
        } else {
            cover.join("file")
        };
        mount_bind(over, path).expect("covers it");
    }
    // The kernel does not let a name go that something is mounted on; the rest of the commit is done.
    scene.offer_theirs();
    scene.quiet_is_exact(10);
    scene.settle_theirs();
    for path in &covered {
        unmount(path, UnmountFlags::empty()).expect("uncovers it");
    }
    scene.theirs_has_new_bytes();
    assert!(scene.theirs.path.join("n").exists(), "it could not go");
    // The next commit takes it away, whatever else it does.
    let mut watch = scene.theirs.watch();
    scene.theirs.version += 1;
    scene.offer_theirs();
    scene.settle_theirs();
    let version = scene.theirs.version;
    assert_eq!(lines(&watch.drain()), Volume::events(version));
    drop(watch);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_stops_in_the_middle_of_a_read() {
    let mut scene = Scene::new();
    let mut rogue = scene.rogue(Task::StopInRead);
    wait_until("it has stopped", PATIENCE, || {
        rogue.process.state() == Some('T')
    });
    scene.both(10);
    scene.settle_theirs();
    scene.theirs.shows(scene.theirs.version);
    // It goes on, with the version that it began with.
    rogue.process.signal(Signal::CONT);
    let reads = rogue.end().reads;
    assert!(
        reads == [Ok(scene.theirs.tree(0)["a"].0.clone())],
        "the rest of what it read"
    );
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_is_stopped_within_a_read() {
    let mut scene = Scene::new();
    let rogue = scene.rogue(Task::HoldRead);
    scene.both(10);
    scene.settle_theirs();
    scene.theirs.shows(scene.theirs.version);
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_wants_to_be_asked_and_never_answers() {
    let mut scene = Scene::new();
    let rogue = scene.rogue(Task::Judge);
    scene.offer_theirs();
    let hand = scene.served.hand();
    let blocked = || hand.state() == Some('D');
    wait_until("the ring waits for the rogue's word", PATIENCE, blocked);
    scene.both(20);
    assert!(blocked(), "it waits all the time");
    drop(rogue);
    scene.theirs_recovers();
}

#[test]
fn promise_12_who_remounts_the_filesystem_read_only() {
    let mut scene = Scene::new();
    let mut rogue = scene.rogue(Task::SuperReadOnly);
    scene.both(9);
    scene.settle_theirs();
    // No name can change and nobody can be told, but what is there is new.
    scene.theirs_has_new_bytes();
    assert!(!scene.theirs.path.join("n").exists(), "it could not come");
    rogue.step();
    drop(rogue);
    scene.offer_theirs();
    scene.theirs_recovers();
}
