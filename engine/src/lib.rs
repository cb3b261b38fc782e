//! The pure part of livemount: Kubernetes objects and volume specs go in, immutable snapshots and
//! ordered plans come out.
//!
//! This crate is separate so that the compiler keeps it pure. It knows no lock, clock, thread,
//! descriptor or future, and cannot name tokio, kube, fuser or tonic. Everything that can change a
//! volume's contents is decided here and can be tested on plain data.

pub mod diff;
pub mod downward;
pub mod engine;
pub mod object;
pub mod path;
pub mod render;
pub mod shorten;
pub mod snapshot;
pub mod spec;

#[cfg(test)]
mod sample;
