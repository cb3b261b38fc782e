//! Kubernetes Events on pods: what `kubectl describe pod` should say of its volumes.
//!
//! Telling never waits. What is told too often is left out (`limits`), what is left goes into a bounded
//! queue, and one task writes it, at its own pace. An Event is help, not record: one that cannot be
//! written is dropped after a few attempts. Sentences hold names and never a value, because whoever may
//! see the pod reads them.

mod limits;
mod pod_event;
mod series;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Metrics;
use super::metrics::EventResult;
use crate::pod::PodRef;
use limits::{Admitted, Limits};
pub use pod_event::PodEvent;
use writer::{Entry, Writer};

/// How many may wait to be written.
const WAITING: usize = 256;

/// Tells of pods. Clones are the same; when the last is dropped, what waits is still written.
#[derive(Clone)]
pub struct PodEvents {
    queue: mpsc::Sender<Entry>,
    limits: Arc<Mutex<Limits>>,
    metrics: Arc<Metrics>,
}

impl PodEvents {
    /// Starts the task that writes, on the current tokio runtime. The Events say that they come from
    /// `reporter` on `node`.
    pub fn start(client: kube::Client, reporter: &str, node: &str, metrics: Arc<Metrics>) -> Self {
        let (queue, entries) = mpsc::channel(WAITING);
        let writer = Writer::new(client, reporter, node, Arc::clone(&metrics));
        tokio::spawn(writer.run(entries));
        Self {
            queue,
            limits: Arc::default(),
            metrics,
        }
    }

    /// Tells of a pod's volume. Returns at once, whatever becomes of it.
    pub fn tell(&self, pod: &PodRef, event: PodEvent) {
        let admitted = self.limits.lock().admit(&pod.uid, &event, Instant::now());
        match admitted {
            Admitted::Write => {}
            Admitted::Repeated => return self.metrics.pod_event(EventResult::Repeated),
            Admitted::Limited => return self.metrics.pod_event(EventResult::Limited),
        }
        let pod = pod.clone();
        if self.queue.try_send(Entry { pod, event }).is_err() {
            self.metrics.pod_event(EventResult::Dropped);
        }
    }

    /// Forgets how often a pod was told of: its last volume is gone.
    pub fn forget(&self, pod: &PodRef) {
        self.limits.lock().forget(&pod.uid);
    }
}
