//! A scenario in namespaces of its own, which go with all that is in them, however it ends.

use std::sync::{Mutex, PoisonError};

use crate::support::apart;

const SCENARIO: &str = "LIVEMOUNT_TEST_SCENARIO";

/// What can be run apart.
const SCENARIOS: [(&str, fn()); 6] = [
    ("kills", crate::kills::scenario),
    (
        "kills without resend",
        crate::kills::scenario_without_resend,
    ),
    ("keeper and daemon", crate::together::scenario),
    ("successors that die", crate::successors::that_die),
    ("hand-over", crate::successors::hand_over),
    ("another binary", crate::successors::another_binary),
];

/// Runs a scenario and expects it to succeed. One at a time: each takes all that the machine has.
pub fn run(scenario: &str) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let arguments = ["inside", "--exact", "--ignored", "--nocapture"];
    let status = apart::run(&arguments, (SCENARIO, scenario), |line| println!("{line}"));
    assert!(status.success(), "{scenario}: {status}");
}

/// What the test `inside` runs.
pub fn main() {
    let Ok(name) = std::env::var(SCENARIO) else {
        return;
    };
    let scenario = SCENARIOS.iter().find(|(known, _)| *known == name);
    scenario.expect("a known scenario").1();
}
