//! An API server as a source: one task for each object that is wanted.

use std::sync::Arc;

use livemount_engine::object::{ObjectKey, Origin};
use tokio::runtime::Handle;

use super::ORIGIN;
use super::cluster::Shared;
use super::pursuit::Pursuit;
use super::status::SourceStatus;
use crate::source::{Mailbox, Source};

/// Where objects of an API server are asked for.
pub struct KubeSource {
    cluster: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    runtime: Handle,
}

impl KubeSource {
    pub(super) fn new(cluster: Arc<Shared>, mailbox: Arc<Mailbox>) -> Self {
        Self {
            cluster,
            mailbox,
            runtime: Handle::current(),
        }
    }

    /// The source's numbers now.
    pub fn status(&self) -> SourceStatus {
        let mut status = SourceStatus {
            objects: self.mailbox.objects(),
            ..SourceStatus::default()
        };
        self.cluster.fill(&mut status);
        status
    }
}

impl Source for KubeSource {
    fn origin(&self) -> Origin {
        ORIGIN
    }

    /// If the object is followed already, or lingers, it is read afresh: each call is answered by a state
    /// that the server gave after the call, or by why there is none.
    fn watch(&self, key: &ObjectKey) {
        if let Some(wants) = self.mailbox.want(key) {
            let (cluster, mailbox) = (self.cluster.clone(), self.mailbox.clone());
            let pursuit = Pursuit::new(key.clone(), cluster, mailbox, wants);
            self.runtime.spawn(pursuit.run());
        }
    }

    /// The object's watch lingers for a while, silently, so that a pod that is replaced finds the
    /// connection warm.
    fn unwatch(&self, key: &ObjectKey) {
        self.mailbox.unwant(key);
    }
}
