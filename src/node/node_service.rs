//! The CSI's Node service: the kubelet's calls, handed to the volumes.
//!
//! It decides nothing. `attributes` reads the calls, `PodVolumes` hands them on, `grpc` has
//! the codes of what fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use livemount_csi::v1::node_server::Node;
use livemount_csi::v1::node_service_capability::{Rpc, Type, rpc};
use livemount_csi::v1::volume_usage::Unit;
use livemount_csi::v1::{
    NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
    NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodePublishVolumeResponse, NodeServiceCapability, NodeStageVolumeRequest,
    NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
    NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, VolumeUsage,
};
use tonic::{Code, Request, Response, Status};
use tracing::warn;

use super::attributes::{self, Rules};
use super::{NodeError, PodVolumes, grpc};
use crate::observe::Metrics;
use crate::volumes::Stats;

/// Answers the kubelet.
#[derive(Clone)]
pub struct NodeService {
    volumes: PodVolumes,
    rules: Rules,
    node: String,
    metrics: Arc<Metrics>,
}

impl NodeService {
    /// The service on the node of this name; calls are counted in `metrics`.
    pub fn new(
        volumes: PodVolumes,
        rules: Rules,
        node: impl Into<String>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            volumes,
            rules,
            node: node.into(),
            metrics,
        }
    }

    /// Does a call about a volume, and counts it.
    async fn call<T: Send + 'static>(
        &self,
        call: &'static str,
        volume: String,
        work: impl Future<Output = Result<T, NodeError>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let began = Instant::now();
        let answer = apart(call, volume, work).await;
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        self.metrics.called(call, grpc::word(code), began.elapsed());
        answer
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let id = request.volume_id.clone();
        let Self { volumes, rules, .. } = self.clone();
        self.call("NodePublishVolume", id, async move {
            volumes.publish(rules.publish_request(request)?).await?;
            Ok(NodePublishVolumeResponse {})
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        let volumes = self.volumes.clone();
        self.call(
            "NodeUnpublishVolume",
            request.volume_id.clone(),
            async move {
                let (id, target) = attributes::unpublish_request(request)?;
                volumes.unpublish(&id, &target).await?;
                Ok(NodeUnpublishVolumeResponse {})
            },
        )
        .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        let volumes = self.volumes.clone();
        self.call(
            "NodeGetVolumeStats",
            request.volume_id.clone(),
            async move {
                let (id, path): (String, PathBuf) = attributes::stats_request(request)?;
                let stats = volumes.stats(&id, &path).await?;
                let usage = usage(stats).into();
                Ok(NodeGetVolumeStatsResponse { usage })
            },
        )
        .await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let capabilities = [rpc::Type::VolumeMountGroup, rpc::Type::GetVolumeStats]
            .map(|served| NodeServiceCapability {
                r#type: Some(Type::Rpc(Rpc {
                    r#type: served.into(),
                })),
            })
            .into();
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse {
            node_id: self.node.clone(),
            // As many as there are.
            max_volumes_per_node: 0,
        }))
    }

    async fn node_stage_volume(
        &self,
        _: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        Err(inline_only())
    }

    async fn node_unstage_volume(
        &self,
        _: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        Err(inline_only())
    }

    async fn node_expand_volume(
        &self,
        _: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        Err(inline_only())
    }
}

fn inline_only() -> Status {
    Status::unimplemented("only inline volumes are served, which are published and unpublished")
}

/// Does a call in a task of its own. A call that panics ends alone, and leaves open what became of
/// its volume; one that its caller gives up goes on to its end.
async fn apart<T: Send + 'static>(
    call: &'static str,
    volume: String,
    work: impl Future<Output = Result<T, NodeError>> + Send + 'static,
) -> Result<Response<T>, Status> {
    match tokio::spawn(work).await {
        Ok(Ok(answer)) => Ok(Response::new(answer)),
        Ok(Err(error)) => {
            let status = grpc::status(&error);
            warn!(volume, code = ?status.code(), "{call}: {error}");
            Err(status)
        }
        Err(_) => Err(Status::unavailable(
            "the call ended in a fault of the plugin, whose log tells more",
        )),
    }
}

/// Nothing is free: nobody can write there.
fn usage(stats: Stats) -> [VolumeUsage; 2] {
    [(Unit::Bytes, stats.bytes), (Unit::Inodes, stats.inodes)].map(|(unit, used)| {
        let used = i64::try_from(used).unwrap_or(i64::MAX);
        VolumeUsage {
            available: 0,
            total: used,
            used,
            unit: unit.into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_after_which_the_kubelet_unpublishes() {
        let call = apart::<()>("NodePublishVolume", "csi-1".into(), async {
            panic!("on purpose")
        });
        let status = call.await.expect_err("it panicked");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.message().contains("on purpose"), "{status}");
    }

    #[tokio::test]
    async fn a_call_that_is_given_up_goes_on() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut call = Box::pin(apart("NodePublishVolume", "csi-1".into(), async move {
            let _ = gone.await;
            let _ = tell.send("done");
            Ok(())
        }));
        tokio::select! {
            biased;
            _ = &mut call => panic!("it cannot be done yet"),
            () = tokio::task::yield_now() => {}
        }
        drop(call);
        drop(go);
        assert_eq!(told.await, Ok("done"));
    }

    #[test]
    fn usage_is_what_is_there_and_nothing_is_free() {
        let stats = Stats {
            bytes: 1234,
            inodes: 5,
        };
        let [bytes, inodes] = usage(stats);
        assert_eq!((bytes.unit(), inodes.unit()), (Unit::Bytes, Unit::Inodes));
        for (usage, is) in [(bytes, 1234), (inodes, 5)] {
            assert_eq!((usage.used, usage.total, usage.available), (is, is, 0));
        }
    }
}
