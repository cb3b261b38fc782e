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

use super::access::Access;
use super::error::KubeError;
use super::line::Line;
use super::lines::Lines;
use super::options::{Options, Pace};
use super::source::KubeSource;
use super::status::{SourceStatus, Tally};
use crate::source::Mailbox;

/// A way to an API server. A clone is the same way.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    client: Client,
}

/// What the parts of a source share.
pub(super) struct Shared {
    options: Options,
    pub tally: Tally,
    reach: RwLock<Reach>,
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
pub(super) struct Reach {
    pub lines: Arc<Lines>,
    line: Line,
    apart: Client,
}

impl Reach {
    fn new(access: Access) -> Self {
        let lines = Arc::new(Lines::new(access));
        let (line, apart) = lines.apart();
        Self { lines, line, apart }
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
        let access = Access::load(options).await?;
        let shared = Arc::new(Shared {
            options: options.clone(),
            tally: Tally::default(),
            reach: RwLock::new(Reach::new(access)),
            renewed: AsyncMutex::default(),
            no_streams: Mutex::default(),
            allocatable: RwLock::default(),
        });
        let client = Client::new(Apart(shared.clone()), "default");
        Ok(Self { shared, client })
    }

    /// For lists, GETs and Events: over a connection apart from the watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// What the node can allocate: what pods tell from now on of limits that they do not set.
    pub fn set_allocatable(&self, allocatable: BTreeMap<String, Quantity>) {
        *self.shared.allocatable.write() = Some(Arc::new(allocatable));
    }

    /// A source of objects, which says what it reads into the mailbox. Must be called within a tokio
    /// runtime.
    pub fn source(&self, mailbox: Arc<Mailbox>) -> KubeSource {
        KubeSource::new(self.shared.clone(), mailbox)
    }
}

impl Shared {
    pub fn pace(&self) -> &Pace {
        &self.options.pace
    }

    pub fn allocatable(&self) -> Option<Arc<Quantities>> {
        self.allocatable.read().clone()
    }

    pub fn reach(&self) -> Reach {
        self.reach.read().clone()
    }

    /// Reads the credentials anew because the server refused those of `old`. Many ask at once after
    /// a rotation: one reads, not more often than the pace allows.
    pub async fn renew(&self, old: &Arc<Lines>) {
        let mut renewed = self.renewed.lock().await;
        let again = self.pace().credentials;
        let soon = renewed.is_some_and(|when| when.elapsed() < again);
        if soon || !Arc::ptr_eq(old, &self.reach().lines) {
            return;
        }
        *renewed = Some(Instant::now());
        match Access::load(&self.options).await {
            Ok(access) => *self.reach.write() = Reach::new(access),
            Err(error) => self.tally.error(error.to_string()),
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
        *self.no_streams.lock() = Some(Instant::now() + self.pace().unsupported);
    }

    /// A request over the connection that no watch shares.
    pub async fn apart(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        let reach = self.reach();
        let answer = reach.apart.send(request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.renew(&reach.lines).await;
        }
        Ok(answer)
    }

    pub fn fill(&self, status: &mut SourceStatus) {
        let reach = self.reach();
        status.watches = reach.lines.places();
        status.connections = reach.lines.open() + usize::from(reach.line.is_open());
        self.tally.fill(status);
    }
}

/// The connection for lists, whichever it is today.
struct Apart(Arc<Shared>);

impl Service<Request<Body>> for Apart {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { Ok(shared.apart(request).await?) })
    }
}
