//! The concurrent files once more, compiled against a machine that shuttle runs: it tries them in the
//! orders that it chooses, and a thread that nobody wakes is found as a deadlock.

// The tests ask less of them than the product does.
#![allow(dead_code)]

#[allow(clippy::duplicate_mod)] // On purpose: against another machine.
#[path = "kept.rs"]
mod kept;
#[allow(clippy::duplicate_mod)] // On purpose: against another machine.
#[path = "parker.rs"]
mod parker;
#[allow(clippy::duplicate_mod)] // On purpose: against another machine.
#[path = "shared.rs"]
mod shared;
pub(crate) mod sync;

pub(crate) use parker::Parker;
pub(crate) use shared::SharedVolume;
