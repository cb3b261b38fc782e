//! The volumes of a daemon: who wants which, what each shall show, and how far each is.
//!
//! [`Machine`] decides: a plain state machine without a runtime, a socket, a thread or a clock. Calls,
//! what sources say, what became of actions and the time go in; actions come out. [`Driver`] does them:
//! it owns the mounts, asks the sources, answers the calls, and brings results back as inputs. [`Volumes`]
//! is where a host (`mount`, `node`) calls, [`Voice`] what is said to people meanwhile.
//!
//! Knows nothing of the CSI, of pods in an API server, of signals, or of how a commit is made.

mod action;
mod driver;
mod error;
mod handle;
mod input;
mod machine;
mod request;
mod slot;
mod voice;

#[cfg(test)]
mod tests;

pub use action::{About, Action, Lack, Notice};
pub use driver::{AskPods, Driver, Parts};
pub use error::CallError;
pub use handle::Volumes;
pub use input::{Ask, CallId, Input, MountingId};
pub use machine::{Machine, Policy};
pub use request::{Owner, Request, Stats};
pub use voice::Voice;
