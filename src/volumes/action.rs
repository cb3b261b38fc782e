//! All that the machine asks for and tells: a closed list. Who does it decides nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use livemount_engine::engine::{Condition, VolumeId};
use livemount_engine::object::ObjectKey;
use livemount_engine::render::{Refusal, Warning};
use livemount_engine::snapshot::Snapshot;
use livemount_hand::Unbind;

use super::{CallError, CallId, MountingId, Owner};
use crate::pod::PodRef;
use crate::publish::Settings;

/// What is to be done now, in this order. Nothing of it is waited for by the machine.
#[derive(Debug)]
pub enum Action {
    /// Follow an object; told again, read it afresh.
    Watch(ObjectKey),
    /// Follow it no more.
    Unwatch(ObjectKey),
    /// Mount a volume with its first snapshot, and say so by `Input::Mounted`. A volume has at most one of
    /// `Mount` and `Unmount` under way.
    Mount {
        /// The volume.
        volume: VolumeId,
        /// Which mounting this is.
        mount: MountingId,
        /// The name by which it is known.
        name: String,
        /// Where.
        target: PathBuf,
        /// Whether the target may hold something.
        over: bool,
        /// What it shows first.
        snapshot: Arc<Snapshot>,
        /// How its commits behave.
        settings: Settings,
        /// What a successor of this process needs to go on with it.
        request: Vec<u8>,
    },
    /// See to it that a mounted volume's target shows it, whoever took it away there, and say so by
    /// `Input::Rebound`. Counts as under way as a mount does.
    Rebind {
        /// The volume.
        volume: VolumeId,
        /// Whether the target may hold something.
        over: bool,
    },
    /// Commit a snapshot to a mounted volume; a later one replaces one that still waits.
    Offer {
        /// The volume.
        volume: VolumeId,
        /// What it shall show.
        snapshot: Arc<Snapshot>,
    },
    /// Take a volume's mount away, if it is meant, then clear the target, where one is named, and say so by
    /// `Input::Unmounted`.
    Unmount {
        /// The volume.
        volume: VolumeId,
        /// Whether its mount is meant: it may have none, or one at another target, which stays.
        mounted: bool,
        /// How.
        how: Unbind,
        /// What is cleared.
        clear: Option<PathBuf>,
        /// The mount is not the volume's any more, whatever comes of this: another takes its place.
        abandon: bool,
    },
    /// Note for the status why a mounted volume does not show the newest, or that it does again.
    Condition {
        /// The volume.
        volume: VolumeId,
        /// Why.
        why: Option<String>,
    },
    /// Answer a call.
    Answer(CallId, Result<(), CallError>),
    /// Answer a call with a mounted volume's size.
    AnswerStats(CallId, VolumeId),
    /// Ask which of this node's pods stay, and say so by `Input::Staying`.
    AskPods,
    /// A pod's last volume is gone: what is remembered of it may go.
    ForgetPod(PodRef),
    /// Say something to people.
    Say(Box<Notice>),
}

impl Action {
    /// Say this.
    pub(super) fn say(notice: Notice) -> Self {
        Self::Say(Box::new(notice))
    }
}

/// The volume that a notice is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The volume.
    pub volume: VolumeId,
    /// The name by which it is known.
    pub name: String,
    /// Whose it is.
    pub owner: Option<Owner>,
}

/// What there is to say to people. Sentences name objects, keys and paths, never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A volume shows its first snapshot.
    Published {
        /// Which.
        about: About,
        /// Where.
        target: PathBuf,
        /// How many files.
        files: usize,
        /// What it shows, in words.
        objects: String,
    },
    /// A volume could not be mounted.
    PublishFailed {
        /// Which.
        about: About,
        /// Why.
        why: String,
    },
    /// What renders is perhaps not what was meant.
    Warnings {
        /// Which volume.
        about: About,
        /// All that there is to warn of.
        warnings: Vec<Warning>,
    },
    /// A volume has never shown anything and waits for this.
    Waiting {
        /// Which.
        about: About,
        /// What is missing.
        lack: Lack,
    },
    /// A version was refused; what was shown stays.
    Refused {
        /// Which volume.
        about: About,
        /// Why.
        refusal: Refusal,
        /// Whether it shows an earlier version.
        published: bool,
    },
    /// A refused volume renders again.
    Recovered {
        /// Which.
        about: About,
        /// Whether it is mounted.
        published: bool,
    },
    /// An object, or a part of a source, cannot be read: what was said of it stays good.
    Unreadable {
        /// Why.
        why: String,
        /// The volumes that show it, and whether each is mounted.
        users: Vec<(About, bool)>,
        /// Whether any volume is mounted.
        serving: bool,
    },
    /// A mounted volume's connection was ended from outside.
    Lost {
        /// Which.
        about: About,
        /// Where it was.
        target: PathBuf,
    },
    /// A volume that nobody has asked for again is dropped.
    Forgotten {
        /// Which.
        about: About,
    },
}

/// Why a volume has no first snapshot; as a sentence for whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Why an object of it cannot be read.
    pub unreadable: Option<String>,
    /// Why it cannot be rendered.
    pub condition: Option<Condition>,
    /// Its first object, which may not have been read yet.
    pub first: Option<ObjectKey>,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.unreadable, &self.condition, &self.first) {
            (Some(why), _, _) => f.write_str(why),
            (None, Some(Condition::Waiting(object)), _) => write!(f, "{object} does not exist"),
            (None, Some(Condition::Refused(refusal)), _) => refusal.fmt(f),
            (None, None, Some(object)) => write!(f, "{object} could not be read yet"),
            (None, None, None) => f.write_str("the mount has not finished yet"),
        }
    }
}
