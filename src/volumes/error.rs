//! Why a call about a volume failed. The sentences may stand in a pod's events: they name objects, keys
//! and paths, never a value.

use std::path::PathBuf;

use livemount_hand::HandError;
use thiserror::Error;

use crate::publish::PublishError;

/// Why a call about a volume failed.
#[derive(Debug, Error)]
pub enum CallError {
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
    /// It was unpublished while the publish waited.
    #[error("the volume was unpublished meanwhile")]
    Cancelled,
    /// The pod was deleted while its publish waited.
    #[error("the pod is being deleted")]
    PodTerminating,
    /// The daemon is ending.
    #[error("the plugin is ending")]
    Ending,
    /// The hand could not do its part.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The volume could not be mounted.
    #[error(transparent)]
    Publish(#[from] PublishError),
}
