//! The keeper: it holds descriptors while no daemon runs, so that a daemon can go and another come
//! without an application noticing.
//!
//! It touches no mount and reads nothing of what it holds; to it a descriptor is a name and a number.
//! What it does beside holding is to see to it that one process alone has the descriptors at any moment:
//! it grants them to one, and makes sure that the one before has ended.
//!
//! The crate is both ends: [`process`] is what `livemount keep` runs, [`Keeper`] is what a daemon holds,
//! and [`message`] is the only thing that they share. The messages are those of `sd_notify(3)` and
//! systemd's descriptor store, with a few of our own beside them, so that [`Keeper::systemd`] is the same
//! client where systemd itself is the keeper.

mod client;
mod error;
pub mod message;
mod peer;
pub mod process;
mod socket;
mod sys;
mod taking;

pub use client::{Keeper, KeeperEvent, KeeperReport, KeeperStatus, Stored, ask};
pub use error::KeeperError;
pub use message::{BadName, Name, Role};
