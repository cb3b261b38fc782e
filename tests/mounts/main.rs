//! The tests that serve real mounts, in one program: a file for what it is about, and what they share
//! in `tests/support`. Each test has a daemon and a scratch folder of its own, so that they run
//! side by side.

mod calls;
mod command;
mod crash;
mod events;
mod folder;
mod guests;
mod metrics;
mod model;
mod programs;
mod refusals;
mod regression;
mod rogues;
mod semantics;
#[path = "../support/mod.rs"]
mod support;
mod torn;
mod version_dirs;
mod watchers;

/// The daemon that the tests start by [`support::served::Served::in_test`].
#[test]
#[ignore = "the daemon that the other tests start; not a test"]
fn served() {
    support::served::main();
}

/// The readers that the tests start by [`support::helper::Helper`].
#[test]
#[ignore = "a reader that the other tests start; not a test"]
fn helper() {
    support::helper::main();
}
