//! `livemount node`: a CSI node plugin. Pods' volumes come in as gRPC calls, their objects from the
//! API server; volumes, engine, publisher, hand and filesystem are those of `livemount mount`.
//!
//! The way of a call: `listen` has the sockets, `node_service`, `identity` and `registration` the services,
//! `attributes` what a call asks for, [`PodVolumes`] where it goes, `grpc` the code of what fails. `start` and
//! `plugin` bring the rooms together and own none of their decisions.

mod allocatable;
mod attributes;
pub mod error;
mod gauges;
mod grpc;
mod identity;
mod listen;
mod node_event;
mod node_service;
mod options;
mod orphaned_volumes;
mod plugin;
pub mod pod_volumes;
pub mod publish_request;
mod registration;
mod start;
mod swap_space;
mod take_up;
mod terminating_pods;

pub use error::NodeError;
pub use options::Options;
pub use pod_volumes::PodVolumes;
pub use publish_request::PublishRequest;
pub use start::{StartError, run};
