//! Objects from an API server: one watch for each object, shared by all who want it.
//!
//! How the server is reached: `access` is the credentials, `line` one HTTP/2 connection, `lines` the
//! few that the watches share, [`Cluster`] all of it. What is asked and told: `request`, `feed`,
//! `wire`. What that means: `follow`, a state machine without a clock or a connection, which keeps
//! promise 7. `pursuit` is the task that brings the three together for one object, [`KubeSource`] where it
//! is asked for.
//!
//! A watch is always opened by a consistent read: the server's answer is as new as etcd at that
//! moment, whichever API server gives it, and only such an answer may be older than what was said
//! before (an etcd that was restored). Knows nothing of volumes or of who wants an object.

mod access;
mod cluster;
mod error;
mod feed;
mod follow;
mod line;
mod lines;
mod options;
pub mod pod;
mod pursuit;
mod request;
mod sentence;
mod source;
mod status;
mod version;
mod wire;

#[cfg(test)]
mod follow_tests;
#[cfg(test)]
mod wire_tests;

use livemount_engine::object::Origin;

pub use cluster::Cluster;
pub use error::KubeError;
pub use options::{Options, Pace};
pub use source::KubeSource;
pub use status::{Reason, SourceStatus};

/// The origin of objects of an API server.
pub const ORIGIN: Origin = Origin::named("kube");
