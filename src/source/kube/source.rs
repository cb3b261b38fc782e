//! The caller's two ends of a source: where it says what it wants, and where it hears what is true.

use std::sync::Arc;

use livemount_engine::object::{Object, ObjectKey};
use tokio::runtime::Handle;

use super::cluster::Shared;
use super::desk::Desk;
use super::pursuit::Pursuit;
use super::status::SourceStatus;

/// Where objects are asked for. A clone is the same source; it ends with the last one.
#[derive(Clone)]
pub struct KubeSource(Arc<Inner>);

struct Inner {
    cluster: Arc<Shared>,
    desk: Arc<Desk>,
    runtime: Handle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// Where a source is heard.
pub struct Heard(Arc<Desk>);

/// What is said of an object. For one object, in the order in which it was true; states that were
/// superseded before anybody heard them are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// This is its state.
    Applied(Object),
    /// It is not there.
    Deleted(ObjectKey),
    /// Nothing can be learned of it for now; it is tried again. What was said stays good.
    Failing {
        /// The object.
        key: ObjectKey,
        /// Why, one sentence without a value.
        why: String,
    },
    /// After `Failing`: it is followed again.
    Working(ObjectKey),
}

impl KubeSource {
    pub(super) fn new(cluster: Arc<Shared>) -> (Self, Heard) {
        let desk = Arc::new(Desk::default());
        let heard = Heard(desk.clone());
        let runtime = Handle::current();
        let inner = Inner {
            cluster,
            desk,
            runtime,
        };
        (Self(Arc::new(inner)), heard)
    }

    /// Follows an object. If it is followed already, or lingers, it is read afresh: each call is
    /// answered by a state that the server gave after the call, or by why there is none.
    #[allow(clippy::needless_pass_by_value)] // the caller's effect is used up
    pub fn watch(&self, key: ObjectKey) {
        if let Some(orders) = self.0.desk.want(&key) {
            let pursuit = Pursuit::new(key, self.0.cluster.clone(), self.0.desk.clone(), orders);
            self.0.runtime.spawn(pursuit.run());
        }
    }

    /// Nobody wants the object any more. Its watch lingers for a while, silently, so that a pod that
    /// is replaced finds the connection warm.
    pub fn unwatch(&self, key: &ObjectKey) {
        self.0.desk.unwant(key);
    }

    /// The source's numbers now.
    pub fn status(&self) -> SourceStatus {
        let mut status = SourceStatus {
            objects: self.0.desk.objects(),
            ..SourceStatus::default()
        };
        self.0.cluster.fill(&mut status);
        status
    }
}

impl Heard {
    /// The next thing that the source says; None when the source is gone. Nothing is lost when the
    /// future is dropped.
    pub async fn next(&mut self) -> Option<Said> {
        self.0.next().await
    }
}
