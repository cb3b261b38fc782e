//! The volumes of this node's pods, as the gRPC services ask for them: what only a node knows of a
//! publish, before the volumes' own machine has it.

use std::path::Path;
use std::time::{Duration, Instant};

use livemount_engine::engine::VolumeId;
use livemount_engine::object::{Kind, ObjectKey};
use livemount_hand::{Hand, Unbind};

use super::{NodeError, PublishRequest, swap_space};
use crate::volumes::{Stats, Volumes};

/// The volumes of this node's pods. Cheap to clone.
#[derive(Clone)]
pub struct PodVolumes {
    volumes: Volumes,
    wait: Duration,
    allow_swap: bool,
    hand: Hand,
}

impl PodVolumes {
    /// A publish waits for its objects for `wait`. Secrets are refused where memory could be swapped,
    /// unless `allow_swap`.
    pub(super) fn new(volumes: Volumes, hand: Hand, wait: Duration, allow_swap: bool) -> Self {
        Self {
            volumes,
            wait,
            allow_swap,
            hand,
        }
    }

    /// Publishes a volume, and returns when it shows its first snapshot. For one that is published
    /// at this target already nothing is left to do.
    ///
    /// # Errors
    ///
    /// As of [`Volumes::publish`]; and Secrets where they could reach a disk.
    pub async fn publish(&self, request: PublishRequest) -> Result<(), NodeError> {
        let secret = |key: &&ObjectKey| key.kind == Kind::Secret;
        if let Some(secret) = request.spec.objects().into_iter().find(secret)
            && !self.allow_swap
            && swap_space::may_swap()
        {
            return Err(NodeError::Swap(secret.clone()));
        }
        let until = Instant::now() + self.wait;
        Ok(self.volumes.publish(request.into(), Some(until)).await?)
    }

    /// Takes a volume away from its target, and the target. Also what a predecessor left there.
    ///
    /// # Errors
    ///
    /// As of [`Volumes::unpublish`].
    pub async fn unpublish(&self, id: &str, target: &Path) -> Result<(), NodeError> {
        let volume = VolumeId::new(id);
        let how = Unbind::Detach;
        Ok(self.volumes.unpublish(&volume, target, how, true).await?)
    }

    /// How large a published volume is, from memory.
    ///
    /// # Errors
    ///
    /// As of [`Volumes::stats`].
    pub async fn stats(&self, id: &str, target: &Path) -> Result<Stats, NodeError> {
        Ok(self.volumes.stats(&VolumeId::new(id), target).await?)
    }

    /// Whether volumes can be published: the hand lives, and a first mount has worked.
    ///
    /// # Errors
    ///
    /// Why not, in one sentence.
    pub fn ready(&self) -> Result<(), String> {
        if self.volumes.is_ending() {
            Err("the plugin is ending".into())
        } else if !self.volumes.has_mounted() {
            Err("no mount has worked yet".into())
        } else if !self.hand.status().up {
            Err("the hand is being started again".into())
        } else {
            Ok(())
        }
    }
}
