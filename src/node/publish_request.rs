//! What a publish call asks for, once it was read and found good; plain data between the gRPC
//! services and the volumes.

use std::path::PathBuf;

use livemount_engine::engine::VolumeId;
use livemount_engine::spec::Spec;

use crate::pod::PodRef;
use crate::publish::Settings;
use crate::volumes::{Owner, Request};

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

impl From<PublishRequest> for Request {
    fn from(call: PublishRequest) -> Self {
        Self {
            volume: VolumeId::new(call.id),
            name: call.pod.volume_name(&call.name),
            target: call.target,
            over: false,
            owner: Some(Owner {
                pod: call.pod,
                volume: call.name,
            }),
            spec: call.spec,
            settings: call.settings,
        }
    }
}
