//! An API server as everybody here sees it: its connections under the credentials of today.
//!
//! Credentials that the server does not accept are read anew, and with them the connections begin
//! anew; watches that run on the former ones go on until they end, for the server asks for
//! credentials at the start of a request alone.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Client;
use kube::client::Body;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::connection::Connection;
use super::credentials::Credentials;
use super::error::KubeError;
use super::options::{Options, Timing};
use super::pool::Pool;
use super::source::KubeSource;
use super::status::{Counters, SourceStatus};
use crate::source::Mailbox;

/// A way to an API server. A clone is the same way.
#[derive(Clone)]
pub struct Cluster {
    server: Arc<ApiServer>,
    client: Client,
}

/// The API server, as the parts of a source share it.
pub(super) struct ApiServer {
    options: Options,
    pub counters: Counters,
    connections: RwLock<Connections>,
    /// When the credentials were last read because the server did not accept them.
    renewed: AsyncMutex<Option<Instant>>,
    /// Until when the server is not asked for a streaming list.
    no_streams: Mutex<Option<Instant>>,
    /// What the node can allocate, where it was told.
    allocatable: RwLock<Option<Arc<Quantities>>>,
}

/// Resources by name, as the API writes them.
type Quantities = BTreeMap<String, Quantity>;

/// The connections of one reading of the credentials.
#[derive(Clone)]
pub(super) struct Connections {
    pub pool: Arc<Pool>,
    apart: Connection,
    apart_client: Client,
}

impl Connections {
    fn new(credentials: Credentials) -> Self {
        let pool = Arc::new(Pool::new(credentials));
        let (apart, apart_client) = pool.apart();
        Self {
            pool,
            apart,
            apart_client,
        }
    }
}

impl Cluster {
    /// Finds out where the API server is and as whom to speak to it. Asks it nothing: a server that
    /// is away now is no error. Reads files, and may wait for a credential plugin.
    ///
    /// # Errors
    ///
    /// No configuration names a server, or its certificates or credentials cannot be used.
    pub async fn connect(options: &Options) -> Result<Self, KubeError> {
        // kube takes the process's provider; somebody else may have chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials = Credentials::load(options).await?;
        let server = Arc::new(ApiServer {
            options: options.clone(),
            counters: Counters::default(),
            connections: RwLock::new(Connections::new(credentials)),
            renewed: AsyncMutex::default(),
            no_streams: Mutex::default(),
            allocatable: RwLock::default(),
        });
        let client = Client::new(Apart(server.clone()), "default");
        Ok(Self { server, client })
    }

    /// For lists, GETs and Events: over a connection apart from the watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// What the node can allocate: what pods tell from now on of limits that they do not set.
    pub fn set_allocatable(&self, allocatable: BTreeMap<String, Quantity>) {
        *self.server.allocatable.write() = Some(Arc::new(allocatable));
    }

    /// A source of objects, which says what it reads into the mailbox. Must be called within a tokio
    /// runtime.
    pub fn source(&self, mailbox: Arc<Mailbox>) -> KubeSource {
        KubeSource::new(self.server.clone(), mailbox)
    }
}

impl ApiServer {
    pub fn timing(&self) -> &Timing {
        &self.options.timing
    }

    pub fn allocatable(&self) -> Option<Arc<Quantities>> {
        self.allocatable.read().clone()
    }

    pub fn connections(&self) -> Connections {
        self.connections.read().clone()
    }

    /// Reads the credentials anew because the server refused those of `old`. Many ask at once after
    /// a rotation: one reads, not more often than the options allow.
    pub async fn renew(&self, old: &Arc<Pool>) {
        let mut renewed = self.renewed.lock().await;
        let again = self.timing().credentials;
        let soon = renewed.is_some_and(|when| when.elapsed() < again);
        if soon || !Arc::ptr_eq(old, &self.connections().pool) {
            return;
        }
        *renewed = Some(Instant::now());
        match Credentials::load(&self.options).await {
            Ok(credentials) => *self.connections.write() = Connections::new(credentials),
            Err(error) => self.counters.error(error.to_string()),
        }
    }

    /// Whether the server may be asked for a streaming list.
    pub fn streams(&self) -> bool {
        self.no_streams
            .lock()
            .is_none_or(|until| Instant::now() >= until)
    }

    /// The server has said that it has no streaming lists.
    pub fn no_streams(&self) {
        *self.no_streams.lock() = Some(Instant::now() + self.timing().unsupported);
    }

    /// A request over the connection that no watch shares.
    pub async fn apart(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        let connections = self.connections();
        let answer = connections.apart_client.send(request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.renew(&connections.pool).await;
        }
        Ok(answer)
    }

    pub fn fill(&self, status: &mut SourceStatus) {
        let connections = self.connections();
        status.watches = connections.pool.leases();
        status.connections = connections.pool.open() + usize::from(connections.apart.is_open());
        self.counters.fill(status);
    }
}

/// The connection for lists, whichever it is today.
struct Apart(Arc<ApiServer>);

impl Service<Request<Body>> for Apart {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move { Ok(server.apart(request).await?) })
    }
}
