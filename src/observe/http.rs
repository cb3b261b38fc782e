//! What the kubelet and Prometheus ask over HTTP: /healthz, /readyz and /metrics, on one address.
//!
//! It tells no secret and takes no input but a path, so it asks nobody who they are. One request a
//! connection, and a time limit on each connection as a whole: who opens many and says nothing keeps
//! nobody else out for longer than that. A scrape is put together on a thread of its own.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::Metrics;

/// How long a client may take to say what it wants.
const HEADERS: Duration = Duration::from_secs(5);
/// How long a connection lasts at the most.
const CONNECTION: Duration = Duration::from_secs(20);
/// The most connections at once.
const CONNECTIONS: usize = 64;
/// The largest head of a request, in bytes; hyper takes no less.
const HEAD: usize = 8192;
/// How long to wait where no connection can be taken, such as for want of descriptors.
const AGAIN: Duration = Duration::from_millis(100);

/// What Prometheus takes for this format (OpenMetrics 1.0, section "Content type").
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Answers until the future is dropped. `alive` is asked for /healthz ([`Heartbeat::check`]), `ready` for
/// /readyz: whether something is as it should be, and if not, why not in one sentence. Neither may wait.
///
/// # Errors
///
/// The listener itself is at fault. What goes wrong with a connection ends that one alone.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    alive: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> io::Result<()> {
    let router = router(metrics, Arc::new(alive), Arc::new(ready));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // The listener itself is at fault.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Err(error),
            Err(error) => {
                warn!(%error, "a connection for /metrics could not be taken");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        // One too many is turned away: waiting here would keep the kubelet's probes waiting too.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            debug!("too many connections for /metrics at once");
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let answered = tokio::time::timeout(CONNECTION, answer(stream, router)).await;
            if !matches!(answered, Ok(Ok(()))) {
                debug!("a connection for /metrics ended early");
            }
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, router: Router) -> hyper::Result<()> {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let answer = router.clone().oneshot(request.map(axum::body::Body::new));
        async move { Ok::<_, Infallible>(answer.await.into_response()) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn router(metrics: Arc<Metrics>, alive: Check, ready: Check) -> Router {
    Router::new()
        .route("/healthz", get(async move || told(&alive)))
        .route("/readyz", get(async move || told(&ready)))
        .route("/metrics", get(async move || scraped(metrics).await))
        .fallback(async |_: Request| (StatusCode::NOT_FOUND, "404\n"))
}

/// 200, or 503 with the sentence.
fn told(check: &Check) -> Response {
    let fresh = [(CACHE_CONTROL, "no-store")];
    match check() {
        Ok(()) => (fresh, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, fresh, format!("{why}\n")).into_response(),
    }
}

async fn scraped(metrics: Arc<Metrics>) -> Response {
    match tokio::task::spawn_blocking(move || metrics.encode()).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The beat of an event loop, for /healthz: a loop that waits for what does not come answers nobody,
/// while the process looks well.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    began: Instant,
    /// Milliseconds after `began`.
    last: Arc<AtomicU64>,
    within: Duration,
}

impl Heartbeat {
    /// Of a loop that beats now, and again within this time or is taken for stuck.
    pub fn new(within: Duration) -> Self {
        Self {
            began: Instant::now(),
            last: Arc::default(),
            within,
        }
    }

    /// The loop comes round.
    pub fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Whether it has beaten in time.
    ///
    /// # Errors
    ///
    /// For how long it has not, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let silent = self.began.elapsed().saturating_sub(last);
        if silent <= self.within {
            return Ok(());
        }
        let silent = silent.as_secs();
        Err(format!("the event loop has not come round for {silent} s"))
    }
}
