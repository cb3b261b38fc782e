//! An API server as a source: one task for each object that is wanted.

use std::sync::Arc;

use livemount_engine::object::{ObjectKey, Origin};
use tokio::runtime::Handle;

use super::ORIGIN;
use super::cluster::ApiServer;
use super::status::SourceStatus;
use super::watch_task::WatchTask;
use crate::source::{Mailbox, Source};

/// Where objects of an API server are asked for.
pub struct KubeSource {
    server: Arc<ApiServer>,
    mailbox: Arc<Mailbox>,
    runtime: Handle,
}

impl KubeSource {
    pub(super) fn new(server: Arc<ApiServer>, mailbox: Arc<Mailbox>) -> Self {
        Self {
            server,
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
        self.server.fill(&mut status);
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
            let (server, mailbox) = (self.server.clone(), self.mailbox.clone());
            let task = WatchTask::new(key.clone(), server, mailbox, wants);
            self.runtime.spawn(task.run());
        }
    }

    /// The object's watch lingers for a while, silently, so that a pod that is replaced finds the
    /// connection warm.
    fn unwatch(&self, key: &ObjectKey) {
        self.mailbox.unwant(key);
    }
}
