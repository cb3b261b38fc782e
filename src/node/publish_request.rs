//! What a publish call asks for, once it was read and found good; plain data between the gRPC
//! services and the volumes.

use std::path::PathBuf;

use livemount_engine::spec::Spec;

use crate::publish::Settings;

/// The pod that a volume belongs to, as the kubelet told it (`getPodInfoAttrs`, `csi_util.go`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A volume that is to be published.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// The CSI volume id; names the volume for its whole life.
    pub id: String,
    /// The path that the kubelet wants it at.
    pub target: PathBuf,
    /// The pod.
    pub pod: PodRef,
    /// The volume's name in the pod spec, taken from the target path; the id where it is not there.
    pub name: String,
    /// What it is to show.
    pub spec: Spec,
    /// How its commits behave.
    pub settings: Settings,
}

/// What NodeGetVolumeStats tells, from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files and folders.
    pub inodes: u64,
}
