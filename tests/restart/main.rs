//! Nobody notices a restart: whatever is killed, at any moment, while programs read, map, send, list and
//! watch, and a writer never stops.
//!
//! Each scenario runs in namespaces of its own ([`apart`]), so that nothing of it is left, however it
//! ends. Those who use the mount are processes of their own ([`load`]), since a test must not wait for a
//! daemon that it has killed.

mod apart;
mod house;
mod kills;
mod load;
mod loads;
mod outcome;
mod readers;
mod sealed;
mod successors;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod waits;
mod writer;

/// A scenario, in its own namespaces.
#[test]
#[ignore = "what the other tests start; not a test"]
fn inside() {
    apart::main();
}

/// Who uses a mount.
#[test]
#[ignore = "what the other tests start; not a test"]
fn load() {
    load::main();
}

/// A daemon that takes what is kept, and dies.
#[test]
#[ignore = "what the other tests start; not a test"]
fn take() {
    successors::take();
}
