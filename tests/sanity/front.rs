//! What csi-sanity needs beside an inline driver: a controller that makes volumes up, and an endpoint
//! that says it has one and hands each Node call on to the plugin, having looked whether the mount is
//! there afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use livemount_cluster::folder;
use livemount_csi::v1::controller_server::{Controller, ControllerServer};
use livemount_csi::v1::identity_client::IdentityClient;
use livemount_csi::v1::identity_server::{Identity, IdentityServer};
use livemount_csi::v1::node_client::NodeClient;
use livemount_csi::v1::node_server::{Node, NodeServer};
use livemount_csi::v1::{
    ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse,
    ControllerServiceCapability, CreateVolumeRequest, CreateVolumeResponse, DeleteVolumeRequest,
    DeleteVolumeResponse, GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse,
    GetPluginInfoRequest, GetPluginInfoResponse, NodeExpandVolumeRequest, NodeExpandVolumeResponse,
    NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest,
    NodeGetInfoResponse, NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse,
    NodePublishVolumeRequest, NodePublishVolumeResponse, NodeStageVolumeRequest,
    NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
    NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, PluginCapability, ProbeRequest,
    ProbeResponse, Volume, controller_service_capability, plugin_capability,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

use super::{CONTENT, FILE, plugin};

/// The front, for as long as the test's runtime lives.
pub struct Front {
    socket: PathBuf,
    looked: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Services {
    node: NodeClient<Channel>,
    identity: IdentityClient<Channel>,
    attributes: BTreeMap<String, String>,
    looked: Arc<AtomicUsize>,
}

impl Front {
    /// Serves in front of the plugin; every volume that is made has these attributes.
    pub async fn serve(plugin: &Path, attributes: impl Iterator<Item = (String, String)>) -> Self {
        let socket = folder().join("front.sock");
        let listener = UnixListener::bind(&socket).expect("a socket can be bound");
        let channel = plugin::channel(plugin).await.expect("the plugin listens");
        let looked = Arc::new(AtomicUsize::new(0));
        let services = Services {
            node: NodeClient::new(channel.clone()),
            identity: IdentityClient::new(channel),
            attributes: attributes.collect(),
            looked: Arc::clone(&looked),
        };
        tokio::spawn(
            Server::builder()
                .add_service(IdentityServer::new(services.clone()))
                .add_service(ControllerServer::new(services.clone()))
                .add_service(NodeServer::new(services))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Self { socket, looked }
    }

    /// Where it is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How many published volumes it has looked into.
    pub fn looked(&self) -> usize {
        self.looked.load(Ordering::Relaxed)
    }
}

/// Looks at a path on a thread that may wait for the mount.
async fn look<T: Send + 'static>(
    path: PathBuf,
    look: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let looking = tokio::task::spawn_blocking(move || look(&path));
    looking.await.expect("looking does not panic")
}

#[tonic::async_trait]
impl Identity for Services {
    async fn get_plugin_info(
        &self,
        request: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        self.identity.clone().get_plugin_info(request).await
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        use plugin_capability::{Service, Type, service};

        let controller = PluginCapability {
            r#type: Some(Type::Service(Service {
                r#type: service::Type::ControllerService.into(),
            })),
        };
        let capabilities = vec![controller];
        Ok(Response::new(GetPluginCapabilitiesResponse {
            capabilities,
        }))
    }

    async fn probe(
        &self,
        request: Request<ProbeRequest>,
    ) -> Result<Response<ProbeResponse>, Status> {
        self.identity.clone().probe(request).await
    }
}

#[tonic::async_trait]
impl Controller for Services {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let volume = Volume {
            capacity_bytes: 0,
            volume_id: format!("csi-{}", request.into_inner().name),
            volume_context: self.attributes.clone(),
        };
        let volume = Some(volume);
        Ok(Response::new(CreateVolumeResponse { volume }))
    }

    async fn delete_volume(
        &self,
        _: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        Ok(Response::new(DeleteVolumeResponse {}))
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        use controller_service_capability::{Rpc, Type, rpc};

        let create = ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: rpc::Type::CreateDeleteVolume.into(),
            })),
        };
        let capabilities = vec![create];
        Ok(Response::new(ControllerGetCapabilitiesResponse {
            capabilities,
        }))
    }
}

#[tonic::async_trait]
impl Node for Services {
    /// Published is what shows the object.
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let file = Path::new(&request.get_ref().target_path).join(FILE);
        let answer = self.node.clone().node_publish_volume(request).await?;
        match look(file, |file| fs::read_to_string(file)).await {
            Ok(content) if content == CONTENT => {
                self.looked.fetch_add(1, Ordering::Relaxed);
                Ok(answer)
            }
            shown => Err(Status::data_loss(format!(
                "published, but {FILE} reads {shown:?}"
            ))),
        }
    }

    /// Unpublished is what is not there at all.
    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let target = PathBuf::from(&request.get_ref().target_path);
        let answer = self.node.clone().node_unpublish_volume(request).await?;
        match look(target, |target| fs::symlink_metadata(target)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(answer),
            left => Err(Status::data_loss(format!(
                "unpublished, but the target is {left:?}"
            ))),
        }
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        self.node.clone().node_get_volume_stats(request).await
    }

    async fn node_get_capabilities(
        &self,
        request: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        self.node.clone().node_get_capabilities(request).await
    }

    async fn node_get_info(
        &self,
        request: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        self.node.clone().node_get_info(request).await
    }

    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        self.node.clone().node_stage_volume(request).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        self.node.clone().node_unstage_volume(request).await
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        self.node.clone().node_expand_volume(request).await
    }
}
