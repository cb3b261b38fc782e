//! One HTTP/2 connection to the API server, opened when first needed and opened anew when lost.
//!
//! `kube`'s own transport speaks HTTP/1.1, which takes a connection for each watch. Here many share
//! one; how many is for `pool` to decide. The connection pings a silent server, so that one that
//! was stopped or cut off is noticed although no byte of it is due.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt, RustlsTlsError};
use kube::config::Config;
use thiserror::Error as ThisError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tower::{BoxError, Service, ServiceExt as _};

use super::error_text;
use super::options::Timing;

/// How many watches one connection holds at most: servers allow 100 streams (`--http2-max-streams-per-connection`).
pub(super) const MOST_WATCHES: usize = 90;

/// How a connection is made.
#[derive(Clone)]
pub(super) struct Dial {
    connector: HttpsConnector<HttpConnector>,
    builder: Builder<TokioExecutor>,
    within: Duration,
}

impl Dial {
    pub fn new(config: &Config, timing: &Timing) -> kube::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let mut tls = HttpsConnectorBuilder::new()
            .with_tls_config(config.rustls_client_config()?)
            .https_or_http();
        if let Some(name) = &config.tls_server_name {
            let name = name.clone().try_into().map_err(|error| {
                kube::Error::RustlsTls(RustlsTlsError::InvalidServerName(error))
            })?;
            tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(timing.ping)
            .keep_alive_timeout(timing.pong)
            .keep_alive_while_idle(true);
        Ok(Self {
            connector: tls.enable_http2().wrap_connector(tcp),
            builder,
            within: timing.connect,
        })
    }

    async fn open(
        &self,
        server: &Uri,
        capacity: &Arc<AtomicUsize>,
    ) -> Result<SendRequest<Body>, ConnectError> {
        let opening = async {
            let stream = self.connector.clone().oneshot(server.clone()).await;
            let stream = stream.map_err(|error| ConnectError::new(&*error))?;
            let plain = server.scheme_str() == Some("http");
            if !plain && !stream.connected().is_negotiated_h2() {
                return Err(ConnectError::NoHttp2);
            }
            let opened = self.builder.handshake(stream).await;
            opened.map_err(|error| ConnectError::new(&error))
        };
        let (sender, connection) = timeout(self.within, opening)
            .await
            .map_err(|_| ConnectError::Slow(self.within))??;
        let capacity = capacity.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            // Its end is told to each request that it carries.
            poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                capacity.store(connection.current_max_send_streams(), Ordering::Relaxed);
                ended
            })
            .await
        });
        Ok(sender)
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, ThisError)]
pub(super) enum ConnectError {
    #[error("{0}")]
    Failed(String),
    #[error("no connection within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the server does not speak HTTP/2")]
    NoHttp2,
}

impl ConnectError {
    fn new(error: &(dyn Error + 'static)) -> Self {
        Self::Failed(error_text::chain(error))
    }
}

/// A connection, as a service. A clone is the same connection.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    dial: Dial,
    server: Uri,
    open: Mutex<Open>,
    /// How many streams the server allows; kept by the connection's own task.
    capacity: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Open {
    sender: Option<SendRequest<Body>>,
    /// The last attempt that failed: those who waited for it do not make one of their own.
    failed: Option<(Instant, ConnectError)>,
}

impl Connection {
    pub fn new(dial: Dial, server: Uri) -> Self {
        Self(Arc::new(Inner {
            dial,
            server,
            open: Mutex::default(),
            capacity: Arc::new(AtomicUsize::new(MOST_WATCHES)),
        }))
    }

    /// Whether both are one connection.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many watches it should carry at most.
    pub fn capacity(&self) -> usize {
        let allowed = self.0.capacity.load(Ordering::Relaxed);
        MOST_WATCHES
            .min(allowed.saturating_sub(allowed / 10))
            .max(1)
    }

    /// Whether there is a connection now. While one is being made there is none.
    pub fn is_open(&self) -> bool {
        let open = self.0.open.try_lock();
        open.is_ok_and(|open| open.sender.as_ref().is_some_and(|it| !it.is_closed()))
    }

    async fn sender(&self) -> Result<SendRequest<Body>, ConnectError> {
        let began = Instant::now();
        let mut open = self.0.open.lock().await;
        if let Some(sender) = open.sender.as_ref().filter(|it| !it.is_closed()) {
            return Ok(sender.clone());
        }
        if let Some((_, error)) = open.failed.as_ref().filter(|(when, _)| *when >= began) {
            return Err(error.clone());
        }
        open.sender = None;
        match self.0.dial.open(&self.0.server, &self.0.capacity).await {
            Ok(sender) => {
                open.sender = Some(sender.clone());
                Ok(sender)
            }
            Err(error) => {
                open.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let connection = self.clone();
        Box::pin(async move {
            let mut sender = connection.sender().await?;
            Ok(sender.send_request(request).await?)
        })
    }
}
