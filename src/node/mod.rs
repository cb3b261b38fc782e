//! `livemount node`: a CSI node plugin. Pods' volumes come in as gRPC calls, their objects from the
//! API server; engine, publisher, hand and filesystem are those of `livemount mount`.

pub mod error;
pub mod wanted;

pub use error::NodeError;
pub use wanted::{PodRef, Stats, Wanted};
