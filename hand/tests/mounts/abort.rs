//! The last resort: one volume's connection is aborted, wherever its mount is, and no other's.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use livemount_hand::{CommitNumber, Hand, HandError, OpResult, Prepared, Unbind, VolumeNumber};
use parking_lot::Mutex;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::hands::{Apart, Stuck, stick};
use crate::scene::{ONE, SOON, TWO, mounts, ring, until};
use crate::server::{Seen, serve};

pub const ALL: &[(&str, fn())] = &[
    ("aborted_wherever_it_is", aborted_wherever_it_is),
    (
        "aborted_by_a_hand_that_did_not_make_it",
        aborted_by_a_hand_that_did_not_make_it,
    ),
    ("only_livemounts_are_aborted", only_livemounts_are_aborted),
];

/// Whoever waits is freed, and nobody is answered any more.
fn assert_aborted(daemon: &Hand, volume: VolumeNumber, stuck: Stuck) {
    let freed = stuck.join().expect("no panic").expect("it has ended");
    assert!(matches!(freed[..], [OpResult::Failed(_)]), "{freed:?}");
    assert_eq!(
        daemon.run(volume, CommitNumber(2), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Failed(libc::ENOTCONN)])
    );
}

fn published(
    scene: &Apart,
    daemon: &Hand,
    volume: VolumeNumber,
) -> (Arc<OwnedFd>, Arc<Mutex<Seen>>) {
    let made = scene.volume(daemon, volume);
    let seen = serve(made.device);
    daemon.bind(volume, &scene.target(volume)).expect("binds");
    (made.mount, seen)
}

fn well(daemon: &Hand, volume: VolumeNumber) {
    assert_eq!(
        daemon.run(volume, CommitNumber(9), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );
}

fn aborted_wherever_it_is() {
    let scene = Apart::new();
    let daemon = scene.daemon();
    let (_other, _serves) = published(&scene, &daemon, TWO);
    let target = scene.target(ONE);

    let (_mount, seen) = published(&scene, &daemon, ONE);
    let stuck = stick(&daemon, ONE, &seen);
    assert_eq!(daemon.abort(ONE), Ok(()), "uppermost at its target");
    assert_aborted(&daemon, ONE, stuck);
    assert_eq!(mounts(&target).len(), 1, "it stays where it is");
    assert_eq!(daemon.abort(ONE), Ok(()), "twice is once");

    // A new one in its place, and something over it.
    assert_eq!(
        daemon.prepare(ONE, &target, false),
        Ok(Prepared {
            created: true,
            replaced: true
        })
    );
    let made = daemon.mount(ONE).expect("a connection");
    let seen = serve(made.device);
    daemon.bind(ONE, &target).expect("binds");
    let cover = tempfile::tempdir().expect("a directory");
    mount_bind(cover.path(), &target).expect("covers");
    let stuck = stick(&daemon, ONE, &seen);
    assert_eq!(daemon.abort(ONE), Ok(()), "beneath another");
    assert_aborted(&daemon, ONE, stuck);
    unmount(&target, UnmountFlags::empty()).expect("uncovers");
    daemon.unbind(ONE, Unbind::Detach).expect("unbinds");

    let made = daemon.mount(ONE).expect("a connection");
    let seen = serve(made.device);
    let stuck = stick(&daemon, ONE, &seen);
    assert_eq!(daemon.abort(ONE), Ok(()), "bound nowhere");
    assert_aborted(&daemon, ONE, stuck);

    well(&daemon, TWO);
    let three = VolumeNumber(3);
    assert_eq!(daemon.abort(three), Err(HandError::NoVolume(three)));
}

fn aborted_by_a_hand_that_did_not_make_it() {
    let mut scene = Apart::new();
    let daemon = scene.daemon();
    let (_other, _serves) = published(&scene, &daemon, TWO);
    let (_mount, seen) = published(&scene, &daemon, ONE);
    rustix::process::kill_process(scene.hand(), rustix::process::Signal::KILL).expect("is there");
    scene.again().wait().expect("ours to reap");
    until("it is told", || daemon.last(ONE).is_ok());
    let stuck = stick(&daemon, ONE, &seen);
    let cover = tempfile::tempdir().expect("a directory");
    mount_bind(cover.path(), scene.target(ONE)).expect("covers");
    assert_eq!(daemon.abort(ONE), Ok(()));
    assert_aborted(&daemon, ONE, stuck);
    unmount(scene.target(ONE), UnmountFlags::empty()).expect("uncovers");
    well(&daemon, TWO);
}

/// A daemon that was taken over could give the hand whatever it can open.
fn only_livemounts_are_aborted() {
    let scene = Apart::new();
    let daemon = scene.daemon();
    let plain = fs::File::open("/tmp").expect("opens");
    let adopt = |target: &Path, bound| {
        daemon.adopt(
            ONE,
            target,
            false,
            bound,
            OwnedFd::from(plain.try_clone().expect("room")),
        )
    };
    adopt(&scene.target(ONE), true).expect("is told");
    assert_eq!(daemon.abort(ONE), Err(HandError::NotFuse));
    assert_eq!(
        daemon
            .run(ONE, CommitNumber(1), 0, &[ring("a")], SOON)
            .map_err(|end| end.why),
        Err(HandError::NotFuse)
    );
    assert_eq!(
        adopt(Path::new("/etc/x"), true),
        Err(HandError::OutsideRoots)
    );
    daemon.forget(ONE, true).expect("forgets");
}
