//! Why the plugin could not do what a call asked for. `grpc` has the one table to status codes.
//!
//! The sentences go into the pod's events, where anybody who may see the pod reads them: they name
//! objects, keys, paths and attributes, never a value.

use livemount_engine::object::ObjectKey;
use thiserror::Error;

use crate::volume_source::VolumeSourceError;
use crate::volumes::CallError;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum NodeError {
    /// A field of the request that must be there is empty.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The call asks for what no volume here can be.
    #[error("{0}")]
    Unserved(&'static str),
    /// A volume attribute is unknown, twice there, or has a value that is none of its own.
    #[error("volumeAttributes: {0}")]
    Attribute(String),
    /// The volume source in an attribute was refused.
    #[error("volumeAttributes: {0}")]
    VolumeSource(#[from] VolumeSourceError),
    /// The call does not come from a kubelet that tells about the pod, or it was forged.
    #[error("{0}")]
    NotThePod(String),
    /// Secrets are not served where they could reach a disk.
    #[error(
        "{0} is not served here: this node has swap, and Secrets must not reach a disk; turn swap off \
         for the plugin (memory.swap.max=0), or start it with --allow-swap"
    )]
    Swap(ObjectKey),
    /// The volumes could not do it.
    #[error(transparent)]
    Call(#[from] CallError),
}
