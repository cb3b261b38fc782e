//! Who we are to the API server and where it is, as read once from a kubeconfig or a pod's service
//! account.
//!
//! Credentials that the server does not accept any more are not mended here: the whole of it is read
//! anew, which also finds a certificate, an address or a plugin's answer that has changed meanwhile.

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Client;
use kube::client::middleware::AuthLayer;
use kube::client::{ClientBuilder, ConfigExt};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio::task::spawn_blocking;
use tower::ServiceBuilder;

use super::connection::{Connection, Dial};
use super::error::{self, KubeError};
use super::options::Options;

/// One reading of where the server is and of the credentials for it.
pub(super) struct Credentials {
    config: Config,
    auth: Option<AuthLayer>,
    dial: Dial,
}

impl Credentials {
    /// Reads files and may run a credential plugin; asks the server nothing.
    pub async fn load(options: &Options) -> Result<Self, KubeError> {
        let mut config = config(options).await?;
        let agent = HeaderValue::from_str(&options.user_agent)
            .map_err(|_| KubeError::UserAgent(options.user_agent.clone()))?;
        config.headers.push((USER_AGENT, agent));
        let timing = options.timing.clone();
        // A credential plugin is waited for.
        let loaded = spawn_blocking(move || {
            let auth = config.auth_layer()?;
            config.extra_headers_layer()?;
            let dial = Dial::new(&config, &timing)?;
            Ok(Self { config, auth, dial })
        });
        loaded
            .await
            .map_err(|_| KubeError::Credentials("the plugin for them was given up".to_owned()))?
            .map_err(|error| KubeError::credentials(&error))
    }

    /// A connection of its own, which is opened with its first request.
    pub fn connection(&self) -> Connection {
        Connection::new(self.dial.clone(), self.config.cluster_url.clone())
    }

    /// A client whose requests all go over one connection.
    pub fn client(&self, connection: Connection) -> Client {
        let headers = self.config.extra_headers_layer();
        let service = ServiceBuilder::new()
            .layer(self.config.base_uri_layer())
            .option_layer(self.auth.as_ref())
            .option_layer(headers.ok()) // load() has made sure that it is Ok
            .service(connection);
        ClientBuilder::new(service, self.config.default_namespace.clone()).build()
    }
}

async fn config(options: &Options) -> Result<Config, KubeError> {
    let chosen = KubeConfigOptions {
        context: options.context.clone(),
        ..KubeConfigOptions::default()
    };
    if let Some(file) = &options.kubeconfig {
        let wrong = |error| KubeError::Kubeconfig {
            file: file.clone(),
            why: error::kubeconfig(&error),
        };
        let read = Kubeconfig::read_from(file).map_err(wrong)?;
        Config::from_custom_kubeconfig(read, &chosen)
            .await
            .map_err(wrong)
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && options.context.is_none() {
        Ok(Config::incluster()?)
    } else {
        Config::from_kubeconfig(&chosen)
            .await
            .map_err(|error| KubeError::NoCluster(error::kubeconfig(&error)))
    }
}
