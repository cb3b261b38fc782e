//! The kill loop: daemon, keeper, hand, at random moments, alone and two at once, under all who use a mount.
//!
//! `LIVEMOUNT_KILLS` says how many, 60 by default. Half of them are on a connection that is treated as an
//! older kernel's, which does not send requests again.

use std::time::Duration;

use rustix::process::Signal;

use crate::apart;
use crate::house::House;
use crate::loads::Loads;
use crate::outcome::Outcome;
use crate::sealed::{CHANGING, content, version_of};
use crate::support::random::Random;
use crate::support::served::monotonic;
use crate::support::{PATIENCE, wait_until};
use crate::writer::{self, Writer};

#[test]
fn promise_11_nobody_notices_a_kill_at_any_moment() {
    apart::run("kills");
}

#[test]
fn promise_11_nobody_notices_a_kill_where_the_kernel_does_not_send_again() {
    apart::run("kills without resend");
}

pub fn scenario() {
    kill_and_expect(true);
}

pub fn scenario_without_resend() {
    kill_and_expect(false);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The daemon; another comes at once.
    Daemon,
    /// The daemon, and none comes until a caretaker has served for a while.
    Caretaken,
    /// The daemon, and then the caretaker is stopped, and killed by its keeper.
    CaretakerStopped,
    Keeper,
    Hand,
    /// The daemon is stopped, and killed by its keeper.
    Stopped,
    DaemonAndHand,
    KeeperAndHand,
}

/// So many deaths: a tenth each of keeper, hand, a daemon that is stopped, and two at once.
fn deaths(many: usize, random: &mut Random) -> Vec<Death> {
    let kind = |place: usize| match place % 20 {
        0 | 1 => Death::Keeper,
        2 | 3 => Death::Hand,
        4 | 5 => Death::Stopped,
        6 => Death::DaemonAndHand,
        7 => Death::KeeperAndHand,
        8 => Death::CaretakerStopped,
        9 | 10 => Death::Caretaken,
        _ => Death::Daemon,
    };
    let mut deaths: Vec<Death> = (0..many).map(kind).collect();
    for place in (1..deaths.len()).rev() {
        let other = usize::try_from(random.below(place as u64 + 1)).expect("small");
        deaths.swap(place, other);
    }
    deaths
}

struct Loop<'r> {
    house: House,
    writer: Writer,
    random: &'r mut Random,
    /// When whose deaths were.
    at: Vec<(Death, u64)>,
}

/// No more deaths than these come to one mount, so that a test which hangs is noticed in time.
const AT_ONE_MOUNT: usize = 100;

fn kill_and_expect(resend: bool) {
    let kills = std::env::var("LIVEMOUNT_KILLS").map_or(60, |kills| {
        kills.parse::<usize>().expect("LIVEMOUNT_KILLS is a number")
    });
    let mut random = Random::new("kills");
    let deaths = deaths(kills.div_ceil(2), &mut random);
    let mut outcome = Outcome::default();
    for deaths in deaths.chunks(AT_ONE_MOUNT) {
        kill(deaths, resend, &mut random, &mut outcome);
    }
    outcome.tell();
    outcome.expect_unnoticed(resend);
}

/// One mount, under all who use it, and so many deaths.
fn kill(deaths: &[Death], resend: bool, random: &mut Random, outcome: &mut Outcome) {
    let house = House::new(resend);
    let writer = Writer::start(house.manifest(), &house.target());
    let loads = Loads::start(&house.scratch, &house.target());
    let mut killing = Loop {
        house,
        writer,
        random,
        at: Vec::new(),
    };
    for death in deaths {
        killing.one(*death);
    }
    let Loop {
        house, writer, at, ..
    } = killing;
    house.wait_until_ready();
    writer.wait_for(2);
    let heard = writer.stop();
    let version = heard.version;
    outcome.add(at, heard, loads.stop());
    if outcome.is_wrong() {
        outcome.tell();
        outcome.expect_unnoticed(resend);
    }
    expect_final(&house, version);
    expect_no_pin_left(&house, version, resend);
    let (lines, _scratch) = house.end();
    let wrong = |line: &&String| WRONG.iter().any(|wrong| line.contains(wrong));
    let wrong: Vec<_> = lines.iter().filter(wrong).take(20).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What no log must say, whatever is killed.
const WRONG: [&str; 6] = [
    "could not ",
    "cannot be used",
    "is lost",
    "dropped for the limit",
    "Failed to send FUSE reply",
    "panicked",
];

impl Loop<'_> {
    fn one(&mut self, death: Death) {
        const SOON: Duration = Duration::from_millis(150);
        self.random.moment(SOON);
        match death {
            Death::Daemon => {
                self.kill_daemon(death);
                self.house.next_daemon();
            }
            Death::Caretaken => {
                self.kill_daemon(death);
                self.house.wait_for_caretaker();
                self.random.moment(Duration::from_secs(1));
                self.house.next_daemon();
            }
            Death::CaretakerStopped => {
                self.kill_daemon(death);
                let caretaker = self.house.wait_for_caretaker();
                self.note(death);
                caretaker.signal(Signal::STOP);
                wait_until("the keeper ends it", PATIENCE, || !caretaker.alive());
                self.house.wait_for_caretaker();
                self.house.next_daemon();
            }
            Death::Keeper => {
                // Before a daemon has said that it is ready, both would die: see `together`.
                self.house.wait_until_ready();
                self.kill_keeper(death);
            }
            Death::Hand => self.kill_hand(death),
            Death::Stopped => {
                // From then on its keeper looks after it.
                self.house.wait_until_ready();
                self.random.moment(SOON);
                self.note(death);
                self.house.daemon.signal(Signal::STOP);
                self.house.wait_for_watchdog();
                self.house.next_daemon();
            }
            Death::DaemonAndHand => {
                self.kill_hand(death);
                self.kill_daemon(death);
                self.house.next_daemon();
            }
            Death::KeeperAndHand => {
                self.house.wait_until_ready();
                self.kill_hand(death);
                self.kill_keeper(death);
            }
        }
        if self.random.below(2) == 0 {
            // So that the loop is not always in the same part of a life.
            let more = self.random.below(8);
            self.writer.wait_for(more);
        }
    }

    fn note(&mut self, death: Death) {
        self.at.push((death, monotonic()));
    }

    fn kill_daemon(&mut self, death: Death) {
        self.note(death);
        self.house.daemon.kill();
    }

    fn kill_hand(&mut self, death: Death) {
        let hand = self.house.hand();
        self.writer.hand_dies();
        self.note(death);
        hand.signal(Signal::KILL);
    }

    fn kill_keeper(&mut self, death: Death) {
        let since = self.house.daemon.stderr.all().len();
        // The next one starts a hand of its own, and the former then ends.
        self.writer.hand_dies();
        self.note(death);
        self.house.keeper.kill();
        self.house.next_keeper();
        let back = |line: &str| line.contains("a keeper is back and has everything");
        let daemon = &self.house.daemon.stderr;
        daemon.wait_past(since, "the daemon has stored again", back);
    }
}

/// What everybody sees in the end.
fn expect_final(house: &House, version: u64) {
    for (name, _) in CHANGING {
        let bytes = std::fs::read(house.target().join(name)).expect("it can be read");
        assert!(
            bytes == content(name, version_of(name, version)),
            "{name} is not of {version}"
        );
    }
}

/// Nobody has a handle open any more, so none must be counted: what is counted too often is kept for ever.
fn expect_no_pin_left(house: &House, version: u64, resend: bool) {
    let mut left = String::new();
    for next in version + 1..version + 50 {
        let since = house.daemon.stderr.all().len();
        writer::put(&house.manifest(), next);
        let committed = |line: &str| line.contains(" committed ");
        left = house.daemon.stderr.wait_past(since, "a commit", committed);
        // What was closed last may be told after the commit.
        if left.contains("older_handles=0") {
            return;
        }
    }
    assert!(!resend, "handles that nobody has: {left}");
    println!("handles that nobody has: {left}");
}
