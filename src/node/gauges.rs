//! What the metrics look at only when somebody asks for them: the state of the parts, read from where it
//! is.

use std::sync::Arc;

use super::plugin::Plugin;
use crate::publish;
use crate::source::kube::{KubeSource, RestartReason};
use crate::volumes::Volumes;

/// Has the metrics look at what is only known when it is asked for.
pub(super) fn provide(plugin: &Plugin, source: Arc<KubeSource>, volumes: &Volumes) {
    let (hand, facts) = (plugin.daemon.hand.clone(), plugin.daemon.facts.clone());
    let publisher = plugin.daemon.publisher.clone();
    let volumes = volumes.clone();
    let keeping = plugin.daemon.keeping.clone();
    let (taken_over, caretaken) = (plugin.taken_over, plugin.daemon.caretaken);
    plugin.metrics.provide(move |now| {
        if let Some(keeping) = &keeping {
            let keeper = keeping.keeper().status();
            now.keeper_up = keeper.up;
            now.keeper_losses = keeper.losses;
        }
        now.taken_over = taken_over;
        now.caretaken = caretaken.unwrap_or_default();
        let hand = hand.status();
        now.hand_up = hand.up;
        now.hand_restarts = hand.restarts;
        now.hand_busy = hand.busy.into();
        now.hand_late = hand.late.into();
        now.facts_lost = facts.lost();
        now.publishes_waiting = volumes.waiting();
        let (mut pinned, mut bytes) = (0, 0);
        for volume in publisher.stats() {
            now.volumes += 1;
            now.volumes_with_condition += u64::from(volume.has_condition);
            now.behind = now.behind.max(volume.behind);
            pinned += volume.pinned_versions;
            bytes += volume.pinned_bytes;
        }
        now.pinned_versions = pinned;
        now.pinned_bytes = bytes;
        now.failing_objects = volumes.failing();
        let source = source.status();
        now.watches = source.watches as u64;
        now.watch_connections = source.connections as u64;
        let named = |(reason, count): &(RestartReason, u64)| (reason.name(), *count);
        now.watch_restarts = source.restarts.iter().map(named).collect();
        let failed = |(reason, _): &&(RestartReason, u64)| reason.is_failure();
        now.api_errors = source.restarts.iter().filter(failed).map(named).collect();
        now.kernel_lacks = publish::kernel_lacks().to_vec();
    });
}
