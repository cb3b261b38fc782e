//! `livemount status`: what every livemount of this machine serves, and which version was read when.
//!
//! Each daemon answers on a socket of its own that only root can reach; whoever connects gets one JSON
//! document and the end. Names, versions and times, never a value.

mod client;
mod server;

pub use client::{StatusError, run, target_of, targets_of};
pub use server::{Server, ServerError};

/// Where the sockets are: one for each daemon, named by its process id.
const FOLDER: &str = "/run/livemount";
