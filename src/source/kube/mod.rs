//! Objects from an API server: one watch for each object, shared by all who want it.
//!
//! How the server is reached: `credentials` are who asks and where it is, `connection` one HTTP/2 connection, `pool` the
//! few that the watches share, [`Cluster`] all of it. What is asked and told: `request`, `json_lines`,
//! `decode`. What that means: `watch_state`, a state machine without a clock or a connection, which keeps
//! promise 7. `watch_task` is the task that brings the three together for one object, [`KubeSource`] where it
//! is asked for.
//!
//! A watch is always opened by a consistent read: the server's answer is as new as etcd at that
//! moment, whichever API server gives it, and only such an answer may be older than what was said
//! before (an etcd that was restored). Knows nothing of volumes or of who wants an object.

mod cluster;
mod connection;
mod credentials;
mod decode;
mod error;
mod error_text;
mod json_lines;
mod options;
pub mod pod;
mod pool;
mod request;
mod resource_version;
mod source;
mod status;
mod watch_state;
mod watch_task;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod watch_state_tests;

use livemount_engine::object::Origin;

pub use cluster::Cluster;
pub use error::KubeError;
pub use options::{Options, Timing};
pub use source::KubeSource;
pub use status::{RestartReason, SourceStatus};

/// The origin of objects of an API server.
pub const ORIGIN: Origin = Origin::named("kube");
