//! The CSI's Identity service: who this is, and whether it can work.

use livemount_csi::v1::identity_server::Identity as Service;
use livemount_csi::v1::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest,
    GetPluginInfoResponse, ProbeRequest, ProbeResponse,
};
use tonic::{Request, Response, Status};

use super::PodVolumes;

/// Answers who this is.
#[derive(Clone)]
pub struct Identity {
    volumes: PodVolumes,
    driver: String,
}

impl Identity {
    /// The driver of this name; ready when the volumes are.
    pub fn new(volumes: PodVolumes, driver: impl Into<String>) -> Self {
        let driver = driver.into();
        Self { volumes, driver }
    }
}

#[tonic::async_trait]
impl Service for Identity {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: self.driver.clone(),
            vendor_version: env!("CARGO_PKG_VERSION").into(),
            ..GetPluginInfoResponse::default()
        }))
    }

    /// Nothing but the Node service: an inline volume has no controller and may be on any node.
    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        Ok(Response::new(GetPluginCapabilitiesResponse::default()))
    }

    /// Why not is for `/readyz` and the log: the CSI has no field for it.
    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Ok(Response::new(ProbeResponse {
            ready: Some(self.volumes.ready().is_ok()),
        }))
    }
}
