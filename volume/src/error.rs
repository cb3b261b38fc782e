//! Why the filesystem says no. One closed list; `fs::errno` holds the one table to errno.

use thiserror::Error;

/// A refusal of one filesystem operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FsError {
    /// The name is not in its folder.
    #[error("no such name")]
    NoName,
    /// The inode is unknown, or the version that the handle pinned was dropped. Never told as "no
    /// such name": the kubelet would skip an unmount
    /// (`CleanupMountPoint`, k8s.io/mount-utils).
    #[error("the inode or its version is gone")]
    Stale,
    /// Nobody armed this change.
    #[error("the volume is read-only")]
    ReadOnly,
    /// A folder was expected.
    #[error("not a folder")]
    NotDir,
    /// A file was expected.
    #[error("a folder")]
    IsDir,
    /// A link was expected.
    #[error("not a link")]
    NotALink,
    /// The extended attribute is not there.
    #[error("no such attribute")]
    NoAttr,
    /// The name is taken: a name is never renamed over.
    #[error("the name is taken")]
    Exists,
    /// The folder still holds names.
    #[error("the folder is not empty")]
    NotEmpty,
}
