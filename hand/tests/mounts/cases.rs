//! What the hand does while everybody lives.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use livemount_hand::{
    ClientOptions, CommitNumber, Hand, HandError, HandOp, Last, OpResult, Prepared, Progress,
    Reach, Unbind, VolumeNumber,
};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::scene::{CALM, ONE, SOON, Scene, TWO, mounts, ring, start, until};
use crate::server::{WRITE, serve};

pub const ALL: &[(&str, fn())] = &[
    (
        "a_volume_from_prepare_to_forget",
        a_volume_from_prepare_to_forget,
    ),
    ("cloning_as_before_linux_6_15", cloning_as_before_linux_6_15),
    (
        "a_stuck_volume_delays_no_other",
        a_stuck_volume_delays_no_other,
    ),
    (
        "a_target_is_cleared_whoever_left_it",
        a_target_is_cleared_whoever_left_it,
    ),
    ("targets_that_are_refused", targets_that_are_refused),
    ("a_root_that_is_none", a_root_that_is_none),
    (
        "a_forced_unmount_by_somebody_else",
        a_forced_unmount_by_somebody_else,
    ),
    ("long_lists_go_in_batches", long_lists_go_in_batches),
    ("many_volumes_at_once", many_volumes_at_once),
];

fn errno(result: std::io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn a_volume_from_prepare_to_forget() {
    let scene = Scene::new(&[]);
    let (target, seen) = scene.volume(1);
    assert!(
        scene.hand.bind(ONE, &target).expect("binds").is_none(),
        "twice is once"
    );
    let [line] = &mounts(&target)[..] else {
        panic!("one mount")
    };
    assert!(
        line.contains(" /files ")
            && line.contains(" ro,nosuid,nodev,relatime ")
            && line.contains(" - fuse.livemount livemount "),
        "{line}"
    );
    assert_eq!(fs::metadata(target.join("a")).expect("is served").len(), 3);
    assert_eq!(
        errno(fs::OpenOptions::new().write(true).open(target.join("a"))),
        Some(libc::EROFS)
    );

    assert_eq!(
        scene.hand.refresh(ONE, &["a", "x", "b"], SOON),
        Ok(vec![None, Some(libc::ENOENT), None])
    );
    let ops = [
        HandOp::Rename {
            stage: "n".into(),
            path: "c".into(),
        },
        ring("a"),
        ring("x"),
        HandOp::Touch {
            path: "b".into(),
            mtime_sec: 9,
            mtime_nsec: 1,
        },
        HandOp::Unlink { path: "b".into() },
    ];
    assert_eq!(scene.hand.last(ONE), Ok(Progress::default()));
    // It stops at the one that fails; the caller goes on behind it.
    let failed = OpResult::Failed(libc::ENOENT);
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(5), 0, &ops, SOON),
        Ok(vec![OpResult::Done, OpResult::Done, failed])
    );
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(5), 3, &ops[3..], SOON),
        Ok(vec![OpResult::Done, OpResult::Done])
    );
    assert_eq!(
        seen.lock().changes,
        ["rename", "open", "write", "setattr", "remove"]
    );
    assert_eq!(
        scene.hand.last(ONE),
        Ok(Progress {
            last: Some(Last {
                commit: CommitNumber(5),
                index: 4,
                result: OpResult::Done
            }),
            running: None
        })
    );
    assert_eq!(
        scene.hand.refresh(ONE, &["../stage"], SOON),
        Err(HandError::BadPath)
    );

    let user = fs::File::open(target.join("a")).expect("opens");
    assert_eq!(scene.hand.unbind(ONE, Unbind::IfIdle), Err(HandError::Busy));
    assert_eq!(scene.hand.mount(ONE).map(drop), Err(HandError::StillBound));
    drop(user);
    assert_eq!(scene.hand.unbind(ONE, Unbind::IfIdle), Ok(()));
    assert_eq!(
        scene.hand.unbind(ONE, Unbind::Detach),
        Ok(()),
        "twice is once"
    );
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(6), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done]),
        "the volume needs no target"
    );
    assert_eq!(scene.hand.forget(ONE, true), Ok(()));
    assert!(!target.exists());
    assert_eq!(
        scene.hand.refresh(ONE, &["a"], SOON),
        Err(HandError::NoVolume(ONE))
    );
    scene.end();
}

fn cloning_as_before_linux_6_15() {
    let scene = Scene::new(&["--clone-attached"]);
    let (target, _seen) = scene.volume(1);
    for _ in 0..3 {
        assert_eq!(
            fs::read_dir(scene.root.path()).expect("is there").count(),
            1,
            "the private directory is gone"
        );
        assert_eq!(mounts(scene.root.path()).len(), 1);
        assert_eq!(
            errno(fs::OpenOptions::new().write(true).open(target.join("a"))),
            Some(libc::EROFS)
        );
        assert_eq!(
            scene.hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON),
            Ok(vec![OpResult::Done])
        );
        scene.hand.unbind(ONE, Unbind::Detach).expect("unbinds");
        scene.hand.bind(ONE, &target).expect("binds again");
    }
    scene.end();
}

fn a_stuck_volume_delays_no_other() {
    let scene = Scene::new(&[]);
    let (target, seen) = scene.volume(1);
    let (_, _other) = scene.volume(2);
    seen.lock().hold = Some(WRITE);
    let short = Duration::from_millis(100);
    let ops = [ring("b"), ring("a")];
    let failed = scene
        .hand
        .run(ONE, CommitNumber(1), 3, &ops, short)
        .expect_err("is stuck");
    assert_eq!(
        (failed.done.len(), failed.why),
        (0, HandError::Slow { what: "run".into() })
    );
    let begun = Instant::now();
    assert_eq!(
        scene.hand.run(TWO, CommitNumber(1), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );
    assert_eq!(scene.hand.refresh(ONE, &["a"], SOON), Err(HandError::Stuck));
    assert_eq!(
        scene.hand.last(ONE),
        Ok(Progress {
            last: None,
            running: Some((CommitNumber(1), 3))
        })
    );
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    scene
        .hand
        .unbind(ONE, Unbind::Force)
        .expect("does not wait");
    until("freed", || {
        scene
            .hand
            .last(ONE)
            .is_ok_and(|progress| progress.running.is_none())
    });
    let last = scene
        .hand
        .last(ONE)
        .expect("is known")
        .last
        .expect("has ended");
    assert!(
        matches!(
            last,
            Last {
                commit: CommitNumber(1),
                index: 3,
                result: OpResult::Failed(_)
            }
        ),
        "{last:?}"
    );
    assert_eq!(mounts(&target), [] as [String; 0]);
    scene.end();
}

fn targets_that_are_refused() {
    let scene = Scene::new(&[]);
    let prepare = |target: &Path, over| scene.hand.prepare(VolumeNumber(7), target, over);
    assert_eq!(
        prepare(scene.root.path(), true),
        Err(HandError::OutsideRoots)
    );
    assert_eq!(
        prepare(Path::new("/etc"), true),
        Err(HandError::OutsideRoots)
    );
    assert_eq!(
        prepare(&scene.target("../x"), true),
        Err(HandError::OutsideRoots)
    );
    let missing = prepare(&scene.target("x/y"), true).expect_err("no parent");
    assert_eq!(missing.errno(), Some(libc::ENOENT));
    fs::write(scene.target("file"), "").expect("writes");
    assert_eq!(
        prepare(&scene.target("file"), true),
        Err(HandError::NotADirectory)
    );
    fs::create_dir(scene.target("full")).expect("makes");
    fs::write(scene.target("full/file"), "").expect("writes");
    assert_eq!(
        prepare(&scene.target("full"), false),
        Err(HandError::NotEmpty)
    );
    assert_eq!(
        prepare(&scene.target("full"), true),
        Ok(Prepared {
            created: false,
            replaced: false
        })
    );

    let (target, _seen) = scene.volume(1);
    let other = start(scene.root.path(), CALM, &[]);
    assert_eq!(other.prepare(ONE, &target, true), Err(HandError::Occupied));
    other.close(SOON).expect("ends");
    assert_eq!(
        mounts(&target).len(),
        1,
        "another hand's end takes away only what is its own"
    );
    assert_eq!(
        scene.hand.prepare(ONE, &scene.target("elsewhere"), false),
        Err(HandError::StillBound)
    );

    fs::remove_dir_all(scene.target("full")).expect("removes");
    fs::remove_file(scene.target("file")).expect("removes");
    scene.end();
}

/// NodeUnpublishVolume for a volume that this daemon never knew: its predecessor is gone.
fn a_target_is_cleared_whoever_left_it() {
    let scene = Scene::new(&[]);
    let (target, _seen) = scene.volume(1);
    assert_eq!(scene.hand.clear(&target), Ok(()));
    assert!(mounts(&target).is_empty() && !target.exists());
    assert_eq!(scene.hand.clear(&target), Ok(()), "nothing is left to do");
    assert_eq!(scene.hand.clear(&target.join("a/b")), Ok(()));
    let full = scene.target("kept");
    fs::create_dir(&full).expect("makes");
    fs::write(full.join("x"), "x").expect("writes");
    let Err(HandError::Os { errno, .. }) = scene.hand.clear(&full) else {
        panic!("files are nobody's to take away");
    };
    assert_eq!(errno, libc::ENOTEMPTY);
    assert_eq!(
        scene.hand.clear(Path::new("/etc/x")),
        Err(HandError::OutsideRoots)
    );
    fs::remove_dir_all(full).expect("removes");
    scene.end();
}

fn a_root_that_is_none() {
    let root = tempfile::tempdir().expect("a directory");
    let options = |program: &str| ClientOptions {
        reach: Reach::Child {
            program: program.into(),
            args: vec!["hand".into()],
            roots: vec![root.path().join("x")],
            selinux_context: None,
        },
        heartbeat: CALM,
    };
    assert_eq!(
        Hand::start(options("/proc/self/exe")).err(),
        Some(HandError::Died)
    );
    assert_eq!(
        Hand::start(options("/none")).err(),
        Some(HandError::Start {
            errno: libc::ENOENT
        })
    );
}

fn a_forced_unmount_by_somebody_else() {
    let scene = Scene::new(&[]);
    let (target, _seen) = scene.volume(1);
    // Aborts the connection, and unmounts too where nobody uses it.
    let force = UnmountFlags::FORCE;
    let user = fs::File::open(target.join("a")).expect("opens");
    assert_eq!(unmount(&target, force), Err(Errno::BUSY));
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Failed(libc::ENOTCONN)])
    );
    assert_eq!(
        scene.hand.prepare(ONE, &target, false),
        Ok(Prepared {
            created: true,
            replaced: true
        })
    );
    let _seen = serve(scene.hand.mount(ONE).expect("a connection").device);
    scene.hand.bind(ONE, &target).expect("binds");
    assert_eq!(
        scene.hand.run(ONE, CommitNumber(1), 0, &[ring("a")], SOON),
        Ok(vec![OpResult::Done])
    );
    drop(user);
    unmount(&target, force).expect("nobody uses it");
    assert_eq!(
        scene.hand.unbind(ONE, Unbind::IfIdle),
        Ok(()),
        "it is not there"
    );

    scene.hand.prepare(ONE, &target, false).expect("is empty");
    let _seen = serve(scene.hand.mount(ONE).expect("a connection").device);
    scene.hand.bind(ONE, &target).expect("binds");
    let cover = scene.root.path();
    mount_bind(cover, &target).expect("covers");
    assert_eq!(
        scene.hand.unbind(ONE, Unbind::Detach),
        Err(HandError::Covered)
    );
    unmount(&target, UnmountFlags::empty()).expect("uncovers");
    scene.end();
}

fn long_lists_go_in_batches() {
    let scene = Scene::new(&[]);
    let (_, seen) = scene.volume(1);
    let paths = vec!["a"; 5_000];
    assert_eq!(scene.hand.refresh(ONE, &paths, SOON), Ok(vec![None; 5_000]));
    let ops: Vec<_> = (0..3_000)
        .map(|number| HandOp::Touch {
            path: if number == 2_999 { "x" } else { "a" }.into(),
            mtime_sec: number,
            mtime_nsec: 0,
        })
        .collect();
    let results = scene
        .hand
        .run(ONE, CommitNumber(1), 10, &ops, SOON)
        .expect("is done");
    assert_eq!(
        (results.len(), results[2_998], results[2_999]),
        (3_000, OpResult::Done, OpResult::Failed(libc::ENOENT))
    );
    assert_eq!(
        scene
            .hand
            .last(ONE)
            .expect("is known")
            .last
            .map(|last| last.index),
        Some(3_009)
    );
    assert_eq!(seen.lock().changes.len(), 2_999);
    scene.end();
}

fn many_volumes_at_once() {
    let scene = Scene::new(&[]);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let scene = &scene;
            scope.spawn(move || {
                for number in 0..25 {
                    let volume = thread * 100 + number;
                    let (_, _seen) = scene.volume(volume);
                    assert_eq!(
                        scene.hand.run(
                            VolumeNumber(volume),
                            CommitNumber(1),
                            0,
                            &[ring("a"), ring("b")],
                            SOON
                        ),
                        Ok(vec![OpResult::Done; 2])
                    );
                }
            });
        }
    });
    assert_eq!(mounts(scene.root.path()).len(), 200);
    let status = scene.hand.status();
    assert!(status.up && status.restarts == 0, "{status:?}");
    scene.end();
}

/// A volume at a target that was there before.
pub fn publish_again(hand: &Hand, volume: u64, target: &Path) {
    hand.prepare(VolumeNumber(volume), target, false)
        .expect("a dead mount is no obstacle");
    let _seen = serve(
        hand.mount(VolumeNumber(volume))
            .expect("a connection")
            .device,
    );
    hand.bind(VolumeNumber(volume), target).expect("binds");
    assert_eq!(hand.unbind(VolumeNumber(volume), Unbind::Detach), Ok(()));
    assert_eq!(hand.forget(VolumeNumber(volume), true), Ok(()));
}
