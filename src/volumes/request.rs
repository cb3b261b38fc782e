//! What a host asks for, once it was read and found good; plain data.

use std::path::PathBuf;

use livemount_engine::engine::VolumeId;
use livemount_engine::spec::Spec;

use crate::pod::PodRef;
use crate::publish::Settings;

/// A volume that is to be published.
#[derive(Clone, Debug)]
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

/// A pod's volume.
#[derive(Clone, Debug, PartialEq, Eq)]
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
