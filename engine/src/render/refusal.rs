//! Why a spec was not rendered, and what was rendered and may not be meant. Sentences name objects,
//! keys and paths, never a value.

use thiserror::Error;

use crate::object::ObjectKey;
use crate::path::RelPath;
use crate::shorten::{IN_A_SENTENCE, shorten};

/// Why a spec cannot be rendered from its objects.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// An object that is not optional does not exist.
    #[error("{object} does not exist")]
    Missing {
        /// The object.
        object: ObjectKey,
    },
    /// A key that the items of a source that is not optional ask for does not exist.
    #[error("{object} has no key {:?}", shorten(.key, IN_A_SENTENCE))]
    MissingKey {
        /// The object.
        object: ObjectKey,
        /// The key.
        key: String,
    },
    /// A pod does not tell what the items of a volume ask it for.
    #[error(
        "{object} does not tell {:?}: it has no such container, or what its node can allocate is \
         not known",
        shorten(.field, IN_A_SENTENCE)
    )]
    Untold {
        /// The pod.
        object: ObjectKey,
        /// What it does not tell.
        field: String,
    },
    /// A path would be a file and a folder at once.
    #[error(
        "path {:?} is a file and cannot hold {:?}",
        shorten(.file.as_str(), IN_A_SENTENCE),
        shorten(.below.as_str(), IN_A_SENTENCE)
    )]
    FileAndFolder {
        /// The path that is a file.
        file: RelPath,
        /// The path of a file that lies below it.
        below: RelPath,
    },
    /// A folder that another volume is to be mounted on would be a file, or lie below one.
    #[error(
        "mountpoint {:?} cannot be a folder: path {:?} is a file",
        shorten(.mountpoint.as_str(), IN_A_SENTENCE),
        shorten(.file.as_str(), IN_A_SENTENCE)
    )]
    Mountpoint {
        /// The folder.
        mountpoint: RelPath,
        /// The path that is a file.
        file: RelPath,
    },
}

/// What rendered, but may not be what was meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Warning {
    /// Two values ask for one path; the later one is shown, as with the kubelet.
    #[error(
        "path {:?}: key {:?} of {by} replaces key {:?} of {of}",
        shorten(.path.as_str(), IN_A_SENTENCE),
        shorten(.by_key, IN_A_SENTENCE),
        shorten(.of_key, IN_A_SENTENCE)
    )]
    Replaced {
        /// The path.
        path: RelPath,
        /// The object whose value is shown.
        by: ObjectKey,
        /// The key of that value.
        by_key: String,
        /// The object whose value is not shown.
        of: ObjectKey,
        /// The key of that value.
        of_key: String,
    },
    /// An immutable object is another one now; the volume keeps the one that it has shown, as the
    /// kubelet does.
    #[error("{object} is immutable and was changed or made anew; the former one stays")]
    Immutable {
        /// The object.
        object: ObjectKey,
    },
}
