//! How the kubelet learns of this plugin, without a sidecar: it finds our socket in its
//! `plugins_registry`, asks what we are, asks the CSI socket for the node's name, and says whether it
//! took us (`pluginmanager/operationexecutor`).
//!
//! Where it did not, it says why and asks again by itself.

use std::path::PathBuf;
use std::sync::Arc;

use livemount_csi::registration::registration_server::Registration as Service;
use livemount_csi::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};
use tracing::{error, info};

/// What the kubelet has said of us last. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registered(Arc<Mutex<Word>>);

#[derive(Clone, Debug, Default)]
enum Word {
    #[default]
    None,
    Taken,
    Refused(String),
}

impl Registered {
    /// Whether the kubelet sends us its calls.
    ///
    /// # Errors
    ///
    /// Why not, in one sentence.
    pub fn ready(&self) -> Result<(), String> {
        match &*self.0.lock() {
            Word::Taken => Ok(()),
            Word::None => Err("the kubelet has not registered the plugin yet".into()),
            Word::Refused(why) => Err(format!("the kubelet did not register the plugin: {why}")),
        }
    }
}

/// Answers the kubelet's registration.
#[derive(Clone, Debug)]
pub struct Registration {
    driver: String,
    endpoint: PathBuf,
    registered: Registered,
}

impl Registration {
    /// Tells the kubelet that the CSI of the driver is served at `endpoint`, a path as the kubelet
    /// sees it; what it says to that is noted in `registered`.
    pub fn new(driver: impl Into<String>, endpoint: PathBuf, registered: Registered) -> Self {
        Self {
            driver: driver.into(),
            endpoint,
            registered,
        }
    }
}

#[tonic::async_trait]
impl Service for Registration {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".into(),
            name: self.driver.clone(),
            endpoint: self.endpoint.to_string_lossy().into_owned(),
            // What node-driver-registrar says for every driver of CSI 1.x.
            supported_versions: vec!["1.0.0".into()],
        }))
    }

    async fn notify_registration_status(
        &self,
        status: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = status.into_inner();
        let word = if status.plugin_registered {
            info!(
                driver = self.driver,
                "the kubelet has registered the plugin"
            );
            Word::Taken
        } else {
            error!("the kubelet did not register the plugin: {}", status.error);
            Word::Refused(status.error)
        };
        *self.registered.0.lock() = word;
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
