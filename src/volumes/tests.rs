//! The machine, told inputs and a time, and what it answers: no runtime, no mount, no clock.
//!
//! `bench` is the table's words, `lives` one volume's way, `sources` what objects do, `waits` what time does,
//! `random` any sequence of inputs against the invariants.

mod bench;
mod lives;
mod random;
mod sources;
mod waits;
