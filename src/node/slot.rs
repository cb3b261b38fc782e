//! One volume's place in the loop: what is served there, who waits for it, and what was asked for
//! while a thread was at work on it. Calls for one volume are serialised here.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::volumes::{Ask, Reply};
use super::{NodeError, PublishRequest, Stats};
use crate::publish::Published;

/// A volume's place.
#[derive(Default)]
pub(super) struct Slot {
    /// What is served or shall be; nothing while only something left behind is cleared.
    pub(super) hosted: Option<HostedVolume>,
    /// A thread mounts or unmounts.
    pub(super) busy: bool,
    /// What was asked for meanwhile.
    pub(super) later: VecDeque<Ask>,
}

/// A volume that the kubelet wants.
pub(super) struct HostedVolume {
    pub(super) request: PublishRequest,
    pub(super) published: Option<Arc<Published>>,
    /// Publish calls that wait for the first snapshot.
    pub(super) waiters: Vec<Waiter>,
    /// When a publish call last waited for it, or it was published.
    pub(super) asked: Instant,
    /// It was told that the kernel has ended the connection.
    pub(super) lost: bool,
}

/// A publish call.
pub(super) struct Waiter {
    pub(super) until: Instant,
    pub(super) reply: Reply<()>,
}

impl HostedVolume {
    pub(super) fn new(request: PublishRequest) -> Self {
        Self {
            request,
            published: None,
            waiters: Vec::new(),
            asked: Instant::now(),
            lost: false,
        }
    }

    /// The name by which facts, status and log know it: whose it is, and which.
    pub(super) fn name(&self) -> String {
        let PublishRequest { pod, name, .. } = &self.request;
        format!("{}/{}/{name}", pod.namespace, pod.name)
    }

    /// Answers everybody who waits; an error goes to the first as it is, to others as a sentence.
    pub(super) fn answer(&mut self, result: Result<(), NodeError>) {
        let sentence = result.as_ref().err().map(ToString::to_string);
        let mut result = Some(result);
        for waiter in self.waiters.drain(..) {
            let answer = match (result.take(), &sentence) {
                (Some(result), _) => result,
                (None, Some(sentence)) => Err(NodeError::Waiting(sentence.clone())),
                (None, None) => Ok(()),
            };
            // Who has given up is not told.
            let _ = waiter.reply.send(answer);
        }
    }

    /// Answers those whose time is up.
    pub(super) fn give_up(&mut self, now: Instant, why: &str) {
        let (late, waiters): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| waiter.until <= now);
        self.waiters = waiters;
        for waiter in late {
            let _ = waiter.reply.send(Err(NodeError::Waiting(why.to_owned())));
        }
    }

    pub(super) fn stats(&self, path: &Path) -> Result<Stats, NodeError> {
        let published = self.published.as_ref();
        match published.filter(|_| self.request.target == path) {
            Some(published) => {
                let shown = published.volume().shown();
                Ok(Stats {
                    bytes: shown.bytes(),
                    // The root is one, too.
                    inodes: shown.entries.len() as u64 + 1,
                })
            }
            None => Err(NodeError::NotPublished(path.to_owned())),
        }
    }
}
