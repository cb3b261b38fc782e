//! Storing, taking, and one holder at a time.

use std::os::fd::AsFd;

use livemount_keeper::Role;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Case;
use super::raw::Raw;
use super::roles::PATIENCE;
use super::scene::{NEVER, Scene, until};

pub const ALL: &[Case] = &[
    (
        "what_is_stored_outlives_a_kill",
        what_is_stored_outlives_a_kill,
    ),
    (
        "a_thousand_said_just_before_a_kill_are_held",
        a_thousand_said_just_before_a_kill_are_held,
    ),
    (
        "a_stopped_holder_is_ended_before_the_next_one_gets_anything",
        a_stopped_holder_is_ended_before_the_next_one_gets_anything,
    ),
    (
        "a_holder_hands_over_what_it_stored_last",
        a_holder_hands_over_what_it_stored_last,
    ),
    (
        "the_same_process_takes_twice_and_lives",
        the_same_process_takes_twice_and_lives,
    ),
    (
        "a_barrier_is_closed_when_all_before_it_is_done",
        a_barrier_is_closed_when_all_before_it_is_done,
    ),
    (
        "who_gives_no_sign_of_life_is_killed",
        who_gives_no_sign_of_life_is_killed,
    ),
    ("it_needs_little_memory", it_needs_little_memory),
];

fn what_is_stored_outlives_a_kill() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut first, got) = scene.daemon();
    assert_eq!(got, "0:");
    first.does([
        "store a one",
        "store b two",
        "store c three",
        "store a four",
        "remove b",
        "barrier",
    ]);
    assert_eq!(scene.report().entries, 2);
    assert_eq!(
        first.ask("store a:b x"),
        "error: a name has 1 to 255 printable ASCII characters and no colon"
    );
    first.kill();
    let (mut second, got) = scene.daemon();
    assert_eq!(got, "2: a=four c=three");
    // The second one got copies of its own: they are there for a third.
    second.does(["remove c", "barrier"]);
    second.kill();
    let (_third, got) = scene.daemon();
    assert_eq!(got, "1: a=four");
    let report = scene.report();
    assert_eq!(
        (report.takes, report.holder, report.ready),
        (3, Some(Role::Daemon), false)
    );
}

fn a_thousand_said_just_before_a_kill_are_held() {
    let scene = Scene::new();
    let keeper = scene.keeper();
    let (mut first, _) = scene.daemon();
    // So that nothing of it is read before the daemon has gone. What does not fit waits in the daemon, so
    // it is no more than fits.
    keeper.stop();
    first.does(["many 1000"]);
    first.kill();
    keeper.signal(rustix::process::Signal::CONT);
    let (mut second, got) = scene.daemon();
    assert!(got.starts_with("1000: many00000=many "), "{}", &got[..40]);
    assert!(got.ends_with(" many00999=many"));
    second.does(["remove many00000", "barrier"]);
    assert_eq!(scene.report().entries, 999);
}

fn a_stopped_holder_is_ended_before_the_next_one_gets_anything() {
    let scene = Scene::new();
    let _keeper = scene.keeper_with(100, NEVER, &[]);
    let (mut first, _) = scene.daemon();
    first.does(["store a one", "barrier"]);
    first.stop();
    let mut second = scene.asking(Role::Daemon);
    assert_eq!(second.hear(), "1: a=one");
    assert!(first.has_ended(), "two have everything");
    // One after the other, however many ask.
    let mut third = scene.asking(Role::Daemon);
    assert_eq!(second.ask("event"), "Ok(HandOver)");
    assert_eq!(third.hear(), "1: a=one");
    assert!(second.has_ended(), "two have everything");
    assert!(!third.has_ended());
}

fn a_holder_hands_over_what_it_stored_last() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut first, _) = scene.daemon();
    let mut second = scene.asking(Role::Daemon);
    assert_eq!(first.ask("event"), "Ok(HandOver)");
    // Nobody else has anything yet, so it may still change what there is.
    first.does(["store a last", "barrier"]);
    assert_eq!(scene.report().pid, Some(first.child.id()));
    first.does(["store b unread"]);
    first.kill();
    assert_eq!(second.hear(), "2: a=last b=unread");
}

fn the_same_process_takes_twice_and_lives() {
    let scene = Scene::new();
    let _keeper = scene.keeper_with(0, NEVER, &[]);
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "barrier"]);
    assert_eq!(
        daemon.ask(&format!("take daemon {}", scene.dir().display())),
        "1: a=one"
    );
    daemon.does(["store b two", "barrier"]);
    let report = scene.report();
    assert_eq!((report.entries, report.pid), (2, Some(daemon.child.id())));
}

fn a_barrier_is_closed_when_all_before_it_is_done() {
    let scene = Scene::new();
    let keeper = scene.keeper();
    let raw = Raw::dial(scene.dir()).expect("it listens");
    raw.say(b"TAKE=1\nROLE=daemon", &[]).expect("room");
    assert_eq!(raw.hear(), Some(("TAKEN=0\n".to_owned(), 0)));
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let closed = || {
        let mut polled = [PollFd::new(&ours, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).expect("polls") > 0
    };
    keeper.stop();
    raw.say(b"FDSTORE=1\nFDNAME=a", &[ours.as_fd()])
        .expect("room");
    raw.say(b"BARRIER=1", &[theirs.as_fd()]).expect("room");
    drop(theirs);
    assert!(!closed(), "the keeper has not read it");
    keeper.signal(rustix::process::Signal::CONT);
    until("the barrier is closed", closed);
    assert_eq!(scene.report().entries, 1);
}

fn who_gives_no_sign_of_life_is_killed() {
    let scene = Scene::new();
    let _keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["store a one", "watchdog 80"]);
    // As long as it says that it is well it lives: for three times the time, and longer.
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 240 {
        daemon.does(["alive"]);
    }
    assert!(!daemon.has_ended());
    daemon.stop();
    let status = daemon.end();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
    let (_next, got) = scene.daemon();
    assert_eq!(got, "1: a=one");
    assert!(begun.elapsed() < PATIENCE);
}

fn it_needs_little_memory() {
    let scene = Scene::new();
    let keeper = scene.keeper();
    let (mut daemon, _) = scene.daemon();
    daemon.does(["many 4000", "barrier"]);
    daemon.kill();
    let (_next, got) = scene.daemon();
    assert!(got.starts_with("4000:"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", keeper.child.id()))
        .expect("it is there");
    let anonymous: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("RssAnon:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .expect("a number");
    println!("{anonymous} KiB with 4,000 descriptors");
    assert!(anonymous < 3 << 10, "{anonymous} KiB");
}
