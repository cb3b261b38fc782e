//! Those who come next: some that die, some that are asked to go, some of another binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use livemount_keeper::{Keeper, Role};

use crate::apart;
use crate::house::House;
use crate::loads::Loads;
use crate::support::PATIENCE;
use crate::support::process::MARKER;
use crate::writer::Writer;

#[test]
fn promise_11_successors_that_die_in_a_row_are_not_noticed() {
    apart::run("successors that die");
}

#[test]
fn promise_11_a_daemon_that_is_told_to_end_or_to_hand_over_is_not_missed() {
    apart::run("hand-over");
}

#[test]
fn promise_11_another_binary_goes_on_and_back() {
    apart::run("another binary");
}

/// All who use a mount, and a writer.
struct Used {
    house: House,
    writer: Writer,
    loads: Loads,
}

impl Used {
    fn new() -> Self {
        let house = House::new(true);
        let writer = Writer::start(house.manifest(), &house.target());
        let loads = Loads::start(&house.scratch, &house.target());
        Self {
            house,
            writer,
            loads,
        }
    }

    /// Everything goes on, and nobody has noticed.
    fn expect_unnoticed(self) {
        let Self {
            house,
            writer,
            loads,
        } = self;
        house.wait_until_ready();
        writer.wait_for(3);
        let heard = writer.stop();
        for report in loads.stop() {
            assert!(
                report.failures.is_empty(),
                "{:?}: {:#?}",
                report.role,
                report.failures
            );
            assert!(
                report.bad.is_empty(),
                "{:?}: {:#?}",
                report.role,
                report.bad
            );
            assert!(report.rounds > 1, "{:?} did something", report.role);
        }
        assert!(heard.wrong.is_empty(), "{:#?}", heard.wrong);
        let (_, _scratch) = house.end();
    }
}

pub fn that_die() {
    let mut used = Used::new();
    used.house.daemon.kill();
    for round in 0..10 {
        let house = &used.house;
        match round % 3 {
            0 => {
                // One that cannot start at all: it has not even asked for what is kept.
                let broken = house.scratch.join("broken.yaml");
                std::fs::write(&broken, "kind: [").expect("it can be written");
                let launch = crate::support::daemon::Launch::mount(&house.scratch);
                let launch = launch.arg("--keeper").arg(house.folder());
                let finished = launch.arg(&broken).arg(house.target()).run();
                assert_eq!(finished.code(), 1, "{finished:#?}");
            }
            1 => {
                // One that takes everything and dies.
                let this = std::env::current_exe().expect("this binary");
                let status = Command::new(this)
                    .args(["take", "--exact", "--ignored"])
                    .env(TAKE, house.folder())
                    .env(MARKER, house.scratch.path())
                    .stdout(Stdio::null())
                    .status();
                assert!(!status.expect("it can be started").success(), "it dies");
            }
            _ => {
                // One that serves, and dies.
                used.house.next_daemon();
                let serves = |line: &str| line.contains("are served again");
                used.house.daemon.wait_for_line("it serves", serves);
                used.house.daemon.kill();
            }
        }
    }
    used.house.next_daemon();
    used.expect_unnoticed();
}

/// The folder of a keeper of which everything is to be taken.
const TAKE: &str = "LIVEMOUNT_TEST_TAKE";

/// What the test `take` runs: a daemon that takes what is kept, and dies of it.
pub fn take() {
    if let Some(folder) = std::env::var_os(TAKE) {
        let taken = Keeper::take(&PathBuf::from(folder), Role::Daemon, PATIENCE);
        let (_keeper, stored) = taken.expect("it is granted");
        assert!(!stored.is_empty(), "there is something to take");
        std::process::abort();
    }
}

pub fn hand_over() {
    let mut used = Used::new();
    for round in 0..10 {
        if round % 2 == 0 {
            // Told to end; the next one comes after.
            used.house.daemon.stop();
            used.house.next_daemon();
        } else {
            // The next one comes, and this one hears of it.
            used.house.wait_until_ready();
            let this = Path::new(crate::support::daemon::BINARY);
            let next = used.house.launch(this).spawn();
            let status = used.house.daemon.wait_for_end(PATIENCE);
            assert!(
                status.success(),
                "{status}: {:#?}",
                used.house.daemon.stderr.all()
            );
            used.house.take_the_place(next);
        }
        used.writer.wait_for(1);
    }
    used.expect_unnoticed();
}

/// The binary of another build: the previous release's, or the previous commit's.
const OTHER: &str = "LIVEMOUNT_OTHER";

/// `LIVEMOUNT_OTHER` names another build; without it the very same program goes on under another name.
pub fn another_binary() {
    let mut used = Used::new();
    let this = Path::new(crate::support::daemon::BINARY);
    let other = std::env::var_os(OTHER).map_or_else(
        || {
            let copy = used.house.scratch.join("livemount-other");
            std::fs::copy(this, &copy).expect("it can be copied");
            copy
        },
        PathBuf::from,
    );
    println!("to {} and back", other.display());
    for round in 0..6 {
        let program = if round % 2 == 0 { &other } else { this };
        used.house.daemon.kill();
        used.house.next_daemon_of(program);
        used.house.wait_until_ready();
        used.writer.wait_for(2);
    }
    used.expect_unnoticed();
}
