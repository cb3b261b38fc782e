//! What a host asks for, once it was read and found good; plain data.

use std::path::PathBuf;

use livemount_engine::engine::VolumeId;
use livemount_engine::spec::Spec;
use serde::{Deserialize, Serialize};

use crate::pod::PodRef;
use crate::publish::Settings;

/// A volume that is to be published. Kept with it, so that a successor of this process can go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// What names the volume for its whole life.
    pub volume: VolumeId,
    /// The name by which facts, status and log know it.
    pub name: String,
    /// The path that it is wanted at.
    pub target: PathBuf,
    /// Whether the target may hold something, which is hidden meanwhile.
    pub over: bool,
    /// Whose it is; nobody's on a plain host.
    pub owner: Option<Owner>,
    /// What it is to show.
    pub spec: Spec,
    /// How its commits behave.
    pub settings: Settings,
}

/// In which form requests are written down.
const FORMAT: u32 = 1;

impl Request {
    /// Written down, for a successor of this process.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Plain data: only memory could be missing, and then nobody can read it.
        postcard::to_stdvec(&(FORMAT, self)).unwrap_or_default()
    }

    /// What a predecessor wrote; nothing where that was another form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = postcard::take_from_bytes::<u32>(bytes).ok()?;
        (format == FORMAT).then(|| postcard::from_bytes(rest).ok())?
    }
}

/// A pod's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The pod.
    pub pod: PodRef,
    /// The volume's name in the pod spec.
    pub volume: String,
}

/// How large a published volume is, from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files and folders.
    pub inodes: u64,
}
