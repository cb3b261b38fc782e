//! Who comes to a hand that runs apart, and who is not let in.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use livemount_hand::HandError;
use livemount_hand::protocol::{Answer, Control, Reply, Request, Spoken, Work, decode, encode};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    listen, recv, send as send_bytes, socket_with,
};
use rustix::process::Signal;

use crate::hands::{Apart, Guest, come};
use crate::scene::{CALM, ONE, SOON, TWO, assert_clean, mounts, send, state, until};
use crate::server::serve;

pub const ALL: &[(&str, fn())] = &[
    ("a_stranger_is_not_heard", a_stranger_is_not_heard),
    (
        "who_says_no_hello_disturbs_nobody",
        who_says_no_hello_disturbs_nobody,
    ),
    ("the_newest_daemon_wins", the_newest_daemon_wins),
    (
        "what_a_former_daemon_asked_for_comes_first",
        what_a_former_daemon_asked_for_comes_first,
    ),
    (
        "a_silent_daemon_loses_its_connection_alone",
        a_silent_daemon_loses_its_connection_alone,
    ),
    ("a_version_that_is_refused", a_version_that_is_refused),
    (
        "a_message_of_a_newer_version_is_answered",
        a_message_of_a_newer_version_is_answered,
    ),
];

/// 65534 owns nothing.
const NOBODY: u32 = 65_534;

/// The socket is closed to others by its mode. Here somebody opened it.
fn a_stranger_is_not_heard() {
    let scene = Apart::new();
    let mode = |path: &std::path::Path| {
        let mode = fs::metadata(path).expect("is there").permissions().mode();
        mode & 0o7777
    };
    assert_eq!(mode(&scene.socket()), 0o600);
    fs::set_permissions(scene.dir.path(), Permissions::from_mode(0o755)).expect("ours");
    let stranger = |expected: &str| {
        let output = Command::new("/proc/self/exe")
            .arg("stranger")
            .arg(scene.socket())
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .expect("starts");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    };
    stranger("Permission denied");
    fs::set_permissions(scene.socket(), Permissions::from_mode(0o666)).expect("ours");
    let daemon = scene.daemon();
    stranger("not heard");
    assert_eq!(daemon.status().restarts, 0);
    daemon.settle().expect("is served all the same");
    assert_eq!(daemon.status().restarts, 0);
}

/// The role.
pub fn be_a_stranger(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let socket = PathBuf::from(args.next().expect("a socket"));
    match Guest::at(&socket) {
        Ok(guest) => {
            // It may have hung up already.
            let hello = Request {
                seq: 1,
                within_ms: 0,
                call: Control::Hello(Spoken::OURS).into(),
            };
            let _gone = guest.try_say(&encode(&hello).expect("short"));
            let heard = guest.hear();
            print!(
                "{}",
                if heard.is_none() {
                    "not heard"
                } else {
                    "heard"
                }
            );
        }
        Err(error) => print!(
            "{}",
            std::io::Error::from(error)
                .to_string()
                .split(" (")
                .next()
                .unwrap_or_default()
        ),
    }
    ExitCode::SUCCESS
}

fn who_says_no_hello_disturbs_nobody() {
    let scene = Apart::new();
    let daemon = scene.daemon();
    let silent = Guest::at(&scene.socket()).expect("listens");
    let garbage = Guest::at(&scene.socket()).expect("listens");
    garbage.say_bytes(&[255; 100]);
    assert_eq!(garbage.hear(), None);
    assert_eq!(silent.hear(), None, "there is room for one");
    let early = Guest::at(&scene.socket()).expect("listens");
    early.say(1, Control::Settle);
    assert_eq!(early.hear(), None);
    drop(Guest::at(&scene.socket()).expect("listens"));
    daemon.settle().expect("is served");
    let status = daemon.status();
    assert!(status.up && status.restarts == 0, "{status:?}");
}

fn the_newest_daemon_wins() {
    let scene = Apart::new();
    let first = scene.daemon();
    let made = scene.volume(&first, ONE);
    let _seen = serve(made.device);
    first.bind(ONE, &scene.target(ONE)).expect("binds");
    first.settle().expect("is told");
    let old = Guest::welcome(&scene.socket());
    until("it has heard", || !first.status().up);
    let next = Guest::welcome(&scene.socket());
    assert_eq!(old.hear(), Some((0, Err(HandError::Replaced))));
    assert_eq!(old.hear(), None);
    // The time is what is tested: who was replaced does not come back at once, to replace in turn.
    std::thread::sleep(Duration::from_millis(200));
    next.say(2, Control::Last { volume: ONE });
    let Some((2, Ok(Answer::Progress(_)))) = next.hear() else {
        panic!("it keeps what the first had")
    };
    let prepare = Work::Prepare {
        volume: TWO,
        target: scene.target(TWO).into_os_string().into_vec(),
        over: false,
    };
    next.say(3, prepare);
    assert!(matches!(next.hear(), Some((3, Ok(Answer::Prepared(_))))));
    // One that was there for a moment only, and then went, is no reason to stay away for ever.
    drop(next);
    until("it is back", || first.status().up);
    for _ in 0..100 {
        first
            .last(TWO)
            .expect("what came meanwhile is not taken away");
    }
    assert_eq!(first.forget(TWO, true), Ok(()));
    assert_eq!(mounts(scene.root.path()).len(), 1);
    first
        .unbind(ONE, livemount_hand::Unbind::Detach)
        .expect("unbinds");
    first.forget(ONE, true).expect("forgets");
    assert_clean(scene.root.path());
}

fn what_a_former_daemon_asked_for_comes_first() {
    let scene = Apart::new();
    let former = Guest::welcome(&scene.socket());
    send(scene.hand(), Signal::STOP);
    until("it stands still", || state(scene.hand()) == Some('T'));
    let prepare = Work::Prepare {
        volume: ONE,
        target: scene.target(ONE).into_os_string().into_vec(),
        over: false,
    };
    former.say(2, prepare);
    let next = Guest::at(&scene.socket()).expect("the kernel takes it");
    next.say(1, Control::Hello(Spoken::OURS));
    send(scene.hand(), Signal::CONT);
    assert_eq!(next.hear(), Some((1, Ok(Answer::Hello(Spoken::OURS)))));
    assert_eq!(former.hear(), Some((0, Err(HandError::Replaced))));
    until("it is done", || scene.target(ONE).exists());
}

fn a_silent_daemon_loses_its_connection_alone() {
    let scene = Apart::with_heartbeat(Duration::from_millis(400));
    let daemon = scene.daemon();
    let made = scene.volume(&daemon, ONE);
    let seen = serve(made.device);
    daemon.bind(ONE, &scene.target(ONE)).expect("binds");
    daemon.close(SOON).expect("goes");
    // A daemon that stands still says nothing.
    let silent = Guest::welcome(&scene.socket());
    assert_eq!(silent.hear(), None);
    assert_eq!(mounts(scene.root.path()).len(), 1);
    fs::metadata(scene.target(ONE).join("a")).expect("its connection is not aborted");
    let next = scene.daemon();
    scene.adopt(&next, ONE, &made.mount);
    next.settle().expect("is told");
    drop(seen);
}

fn a_version_that_is_refused() {
    let newer = Spoken {
        version: 900,
        oldest: 800,
    };
    let scene = Apart::new();
    let daemon = scene.daemon();
    let guest = Guest::at(&scene.socket()).expect("listens");
    guest.say(1, Control::Hello(newer));
    assert_eq!(guest.hear(), Some((1, Ok(Answer::Hello(Spoken::OURS)))));
    assert_eq!(guest.hear(), None);
    daemon.settle().expect("is not disturbed");
    assert_eq!(daemon.status().restarts, 0);
    let lenient = Guest::at(&scene.socket()).expect("listens");
    lenient.say(
        1,
        Control::Hello(Spoken {
            version: 900,
            oldest: 1,
        }),
    );
    assert_eq!(lenient.hear(), Some((1, Ok(Answer::Hello(Spoken::OURS)))));
    lenient.say(2, Control::Ping);
    assert!(matches!(lenient.hear(), Some((2, Ok(Answer::Pong { .. })))));

    // And the other way round: a hand of another time.
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("hand.sock");
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let old = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&old, &SocketAddrUnix::new(&socket).expect("short")).expect("binds");
    listen(&old, 1).expect("listens");
    let daemon = std::thread::spawn(move || come(&socket, CALM));
    let came = accept(&old).expect("comes");
    let mut buffer = [0; 100];
    let (length, _) = recv(&came, &mut buffer[..], RecvFlags::empty()).expect("says hello");
    let hello = decode::<Request>(&buffer[..length]).expect("a request");
    assert_eq!(hello.call, Control::Hello(Spoken::OURS).into());
    let reply = Reply {
        seq: hello.seq,
        outcome: Ok(Answer::Hello(newer)),
    };
    let bytes = encode(&reply).expect("short");
    send_bytes(&came, &bytes, SendFlags::NOSIGNAL).expect("it listens");
    let refused = daemon.join().expect("no panic").expect_err("no version");
    assert_eq!(
        refused,
        HandError::Version {
            ours: Spoken::OURS,
            theirs: newer
        }
    );
    assert_eq!(
        refused.to_string(),
        "this livemount speaks version 1 to 1 with a hand, and this hand 800 to 900"
    );
}

fn a_message_of_a_newer_version_is_answered() {
    let scene = Apart::new();
    let guest = Guest::welcome(&scene.socket());
    // Number 2, no time, work, a variant that nobody knows.
    guest.say_bytes(&[2, 0, 1, 200]);
    assert_eq!(guest.hear(), Some((2, Err(HandError::Malformed))));
    guest.say(3, Work::Idle { volume: TWO });
    assert_eq!(guest.hear(), Some((3, Ok(Answer::Done))));
}
