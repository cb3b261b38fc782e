//! Those who are not heard, or not understood, or ask for what is not theirs.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use livemount_keeper::{Keeper, KeeperError, Role};

use super::Case;
use super::raw::{FakeKeeper, Raw};
use super::roles::descriptor;
use super::scene::{NEVER, Process, Scene};

pub const ALL: &[Case] = &[
    (
        "garbage_ends_a_connection_and_nothing_else",
        garbage_ends_a_connection_and_nothing_else,
    ),
    (
        "a_holder_that_babbles_is_still_the_holder",
        a_holder_that_babbles_is_still_the_holder,
    ),
    (
        "only_the_holder_stores_and_removes",
        only_the_holder_stores_and_removes,
    ),
    ("another_uid_is_not_heard", another_uid_is_not_heard),
    (
        "who_is_not_heard_gives_up_in_time",
        who_is_not_heard_gives_up_in_time,
    ),
    (
        "idle_connections_do_not_push_the_holder_out",
        idle_connections_do_not_push_the_holder_out,
    ),
    (
        "who_does_not_read_keeps_nobody_waiting",
        who_does_not_read_keeps_nobody_waiting,
    ),
];

fn garbage_ends_a_connection_and_nothing_else() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "barrier"]);
    let file = descriptor("x");
    let file = file.as_fd();
    let too_long = vec![b'A'; (68 << 10) + 1];
    for (bytes, beside) in [
        (&b"garbage"[..], 0),
        (b"TAKE=1", 0),
        (b"TAKE=1\nROLE=king", 0),
        (b"FDSTORE=1\nFDNAME=a:b", 1),
        (b"FDSTORE=1\nFDNAME=a\nFDNAME=b", 1),
        (b"BARRIER=1", 0),
        (b"READY=1", 253),
        (b"\xff\xfe", 0),
        (&too_long, 0),
    ] {
        let raw = Raw::dial(scene.dir()).expect("it listens");
        raw.say(bytes, &vec![file; beside]).expect("room");
        assert_eq!(
            raw.hear(),
            None,
            "{}",
            bytes[..bytes.len().min(40)].escape_ascii()
        );
    }
    daemon.does(["store b two", "barrier"]);
    assert_eq!(scene.report().entries, 2);
    assert!(
        daemon.ask("status").contains("losses: 0"),
        "its connection lives"
    );
}

fn a_holder_that_babbles_is_still_the_holder() {
    let scene = Scene::new();
    let _keeper = scene.keeper_with(0, NEVER, &[]);
    let raw = Raw::dial(scene.dir()).expect("it listens");
    raw.say(b"TAKE=1\nROLE=daemon", &[]).expect("room");
    assert_eq!(raw.hear(), Some(("TAKEN=0\n".to_owned(), 0)));
    raw.say(b"FDSTORE=1\nFDNAME=a", &[descriptor("x").as_fd()])
        .expect("room");
    raw.say(b"babble", &[]).expect("room");
    assert_eq!(raw.hear(), None);
    // It holds as long as its process lives: a caretaker gets nothing.
    assert_eq!(scene.report().pid, Some(std::process::id()));
    let mut caretaker = scene.asking(Role::Caretaker);
    assert_eq!(
        caretaker.hear(),
        "error: the keeper refused: somebody serves"
    );
    let again = Raw::dial(scene.dir()).expect("it listens");
    again.say(b"TAKE=1\nROLE=daemon", &[]).expect("room");
    assert_eq!(again.hear(), Some(("FDNAME=a\n".to_owned(), 1)));
    assert_eq!(again.hear(), Some(("TAKEN=1\nSAME=1\n".to_owned(), 0)));
}

fn only_the_holder_stores_and_removes() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "barrier"]);
    let raw = Raw::dial(scene.dir()).expect("it listens");
    raw.say(b"FDSTORE=1\nFDNAME=a", &[descriptor("two").as_fd()])
        .expect("room");
    raw.say(b"FDSTOREREMOVE=1\nFDNAME=a", &[]).expect("room");
    raw.say(b"READY=1\nWATCHDOG_USEC=1\nTAKEN=1", &[])
        .expect("room");
    let refused = |why: &str| Some((format!("REFUSED=only the holder {why}\n"), 0));
    assert_eq!(raw.hear(), refused("stores"));
    assert_eq!(raw.hear(), refused("removes"));
    let report = scene.report();
    assert_eq!((report.entries, report.ready), (1, false));
    daemon.kill();
    let (_next, got) = scene.daemon();
    assert_eq!(got, "1: a=one");
}

fn another_uid_is_not_heard() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let dir = scene.dir();
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(dir), mode(&dir.join("keep.sock"))), (0o700, 0o600));
    // As if somebody had opened it to everybody: it is not the folder's mode alone that keeps strangers out.
    for (path, mode) in [(dir.to_owned(), 0o755), (dir.join("keep.sock"), 0o666)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    }
    let stranger = |uid| {
        let mut stranger = Process::start(
            Command::new("/proc/self/exe")
                .arg("stranger")
                .arg(dir)
                .uid(uid),
        );
        stranger.hear()
    };
    assert_eq!(stranger(65_534), "None", "it got an answer");
    assert!(stranger(0).starts_with("Some((\"REPORT="), "our own does");
    assert_eq!(scene.report().entries, 0);
}

/// Asks, as whoever it is.
pub fn stranger(dir: &str) -> ExitCode {
    let raw = Raw::dial(Path::new(dir)).expect("it may connect");
    // It may have been dropped before it could say a word.
    let _said = raw.say(b"ASK=1", &[]);
    println!("{:?}", raw.hear());
    ExitCode::SUCCESS
}

fn who_is_not_heard_gives_up_in_time() {
    let scene = Scene::new();
    std::fs::create_dir(scene.dir()).expect("a folder");
    let fake = FakeKeeper::listen(scene.dir());
    std::thread::spawn(move || {
        loop {
            fake.drop_next();
        }
    });
    let within = std::time::Duration::from_millis(50);
    let taken = Keeper::take(scene.dir(), Role::Daemon, within);
    assert!(matches!(taken, Err(KeeperError::Gone)), "{taken:?}");
}

fn idle_connections_do_not_push_the_holder_out() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    let mut waiting = scene.asking(Role::Daemon);
    assert_eq!(daemon.ask("event"), "Ok(HandOver)");
    let idle: Vec<Raw> = (0..200)
        .map(|_| Raw::dial(scene.dir()).expect("it listens"))
        .collect();
    daemon.does(["store a one", "barrier"]);
    assert!(daemon.ask("status").contains("losses: 0"));
    assert_eq!(idle[0].hear(), None, "the first idle ones went");
    daemon.kill();
    assert_eq!(waiting.hear(), "1: a=one");
}

fn who_does_not_read_keeps_nobody_waiting() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "barrier"]);
    let deaf = Raw::dial(scene.dir()).expect("it listens");
    // More answers than a socket's buffer takes; the keeper has to read on.
    for _ in 0..5_000 {
        if deaf.say(b"ASK=1", &[]).is_err() {
            break;
        }
    }
    daemon.does(["store b two", "barrier"]);
    assert_eq!(scene.report().entries, 2);
}
