//! All that the machine hears: a closed list, so that all that can change a volume's life stands in one
//! place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use livemount_engine::engine::VolumeId;
use livemount_engine::snapshot::Snapshot;
use livemount_hand::{HandError, Unbind};

use super::Request;
use crate::publish::PublishError;
use crate::source::Update;

/// A call that waits for its answer. Whoever makes one up uses it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One mounting of a volume: tells the news of a connection from those of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountingId(pub u64);

/// What a host can ask for.
#[derive(Debug)]
pub enum Ask {
    /// Publish, and answer when the volume shows its first snapshot, or why not when `until` has come.
    /// Nothing there: it waits for as long as it takes.
    Publish {
        /// What is wanted.
        request: Box<Request>,
        /// When the call's time is up.
        until: Option<Instant>,
    },
    /// Take the volume away.
    Unpublish {
        /// The volume.
        volume: VolumeId,
        /// Where it is.
        target: PathBuf,
        /// Whether somebody may still use it.
        how: Unbind,
        /// Whether whatever else of ours is at the target goes as well, a dead predecessor's too.
        clear: bool,
    },
    /// Answer when the kernel has ended the volume's connection and nobody here has asked for it; with an
    /// error when the volume has gone in another way.
    Lost {
        /// The volume.
        volume: VolumeId,
    },
    /// How large the volume is.
    Stats {
        /// The volume.
        volume: VolumeId,
        /// Where it is.
        target: PathBuf,
    },
}

/// All that the machine hears.
#[derive(Debug)]
pub enum Input {
    /// A host asks. Each call is answered exactly once.
    Call(CallId, Ask),
    /// A source says something.
    Source(Update),
    /// What became of an `Action::Mount`.
    Mounted {
        /// The volume.
        volume: VolumeId,
        /// Which mounting.
        mount: MountingId,
        /// What it shows, or why it does not.
        result: Result<Arc<Snapshot>, PublishError>,
    },
    /// What became of an `Action::Unmount`.
    Unmounted {
        /// The volume.
        volume: VolumeId,
        /// Whether a mount of the volume was meant, and is gone.
        gone: bool,
        /// Whether all that was to be done was.
        result: Result<(), HandError>,
    },
    /// What became of an `Action::Rebind`.
    Rebound {
        /// The volume.
        volume: VolumeId,
        /// Whether its target shows it.
        result: Result<(), HandError>,
    },
    /// The kernel has ended a connection, and nobody here has asked for it.
    Ended {
        /// The volume.
        volume: VolumeId,
        /// Which mounting of it.
        mount: MountingId,
    },
    /// The answer to `Action::AskPods`: the uids of this node's pods that are there to stay; nothing
    /// where it could not be told.
    Staying(Option<BTreeSet<String>>),
    /// Nothing but time has passed.
    Tick,
}
