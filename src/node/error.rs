//! Why the plugin could not do what a call asked for. `grpc` has the one table to status codes.
//!
//! The sentences go into the pod's events, where anybody who may see the pod reads them: they name
//! objects, keys, paths and attributes, never a value.

use std::path::PathBuf;

use livemount_engine::object::ObjectKey;
use livemount_hand::HandError;
use thiserror::Error;

use crate::publish::PublishError;
use crate::volume_source::VolumeSourceError;

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
    /// The volume's first snapshot could not be made before the call's time ran out, or the call
    /// was made in vain: what is missing, in one sentence.
    #[error("{0}")]
    Waiting(String),
    /// The same volume is published at another path.
    #[error("the volume is published at {} already", .0.display())]
    Elsewhere(PathBuf),
    /// No such volume is published here, or not at this path.
    #[error("no volume is published at {}", .0.display())]
    NotPublished(PathBuf),
    /// NodeUnpublishVolume came while the publish waited.
    #[error("the volume was unpublished meanwhile")]
    Cancelled,
    /// The pod was deleted while its publish waited.
    #[error("the pod is being deleted")]
    PodTerminating,
    /// Secrets are not served where they could reach a disk.
    #[error(
        "{0} is not served here: this node has swap, and Secrets must not reach a disk; turn swap off \
         for the plugin (memory.swap.max=0), or start it with --allow-swap"
    )]
    Swap(ObjectKey),
    /// The plugin is ending.
    #[error("the plugin is ending")]
    Ending,
    /// The hand could not do its part.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The volume could not be mounted.
    #[error(transparent)]
    Publish(#[from] PublishError),
}
