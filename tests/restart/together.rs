//! Keeper and daemon die at once: the mount is lost, and nobody waits for it.

use crate::apart;
use crate::house::House;
use crate::loads::Loads;
use crate::support::random::Random;
use crate::support::{PATIENCE, process, wait_until};

use std::time::Duration;

#[test]
fn keeper_and_daemon_at_once_lose_the_mount_and_leave_nobody_waiting() {
    apart::run("keeper and daemon");
}

pub fn scenario() {
    let mut random = Random::new("keeper and daemon");
    for _ in 0..4 {
        let mut house = House::new(true);
        let loads = Loads::start(&house.scratch, &house.target());
        random.moment(Duration::from_millis(100));
        house.keeper.kill();
        house.daemon.kill();
        let waits = || {
            let all = process::of_scratch(house.scratch.path());
            all.iter().any(|process| process.state() == Some('D'))
        };
        wait_until("nobody waits in the kernel", PATIENCE, || !waits());
        drop(loads);
        // The next ones begin anew, in the same place.
        house.next_keeper();
        house.next_daemon();
        house.wait_until_ready();
        let shown = std::fs::read(house.target().join("same")).expect("it can be read");
        assert_eq!(crate::sealed::check(&shown), Ok(0));
        let (_, _scratch) = house.end();
    }
}
