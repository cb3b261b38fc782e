//! The HTTP server over real TCP on loopback.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use livemount::observe::Metrics;
use livemount::observe::http::{self, Heartbeat};

use super::exposition::Exposition;
use crate::support::{PATIENCE, wait_until};

/// The server, on a thread and a port of its own until the end of this process.
struct Server {
    at: SocketAddr,
    ready: Arc<AtomicBool>,
}

impl Server {
    fn start(heartbeat: Heartbeat) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("it can be told");
        let at = listener.local_addr().expect("an address");
        let ready = Arc::new(AtomicBool::new(false));
        let is_ready = Arc::clone(&ready);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let alive = move || heartbeat.check();
                let ready = move || {
                    if is_ready.load(Ordering::Relaxed) {
                        Ok(())
                    } else {
                        Err("the first mount has not worked yet".to_owned())
                    }
                };
                http::serve(listener, Arc::new(Metrics::new()), alive, ready).await
            })
        });
        Self { at, ready }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).expect("the server is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Status, head and body of an answer; none where the server hangs up without one.
    fn asked(&self, request: &str) -> Option<(u16, String, String)> {
        let mut stream = self.connect();
        // It may hang up before it has heard all.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, head.to_lowercase(), body.to_owned()))
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        let answer = self.asked(&format!("GET {path} HTTP/1.1\r\nHost: livemount\r\n\r\n"));
        answer.expect("an answer")
    }
}

fn well() -> Heartbeat {
    Heartbeat::new(Duration::from_secs(3600))
}

#[test]
fn health_readiness_and_metrics_are_served_and_nothing_else() {
    let server = Server::start(well());
    let (status, _, body) = server.get("/healthz");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    let (status, _, body) = server.get("/readyz");
    assert_eq!(status, 503);
    assert_eq!(body, "the first mount has not worked yet\n");
    server.ready.store(true, Ordering::Relaxed);
    let (status, _, body) = server.get("/readyz");
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    let (status, head, body) = server.get("/metrics");
    assert_eq!(status, 200);
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(kind), "{head}");
    Exposition::read(&body);
    for path in ["/", "/metrics/", "/healthz/x", "/debug/pprof"] {
        assert_eq!(server.get(path).0, 404, "{path}");
    }
    let post = "POST /metrics HTTP/1.1\r\nHost: l\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(server.asked(post).map(|answer| answer.0), Some(405));
}

#[test]
fn a_loop_that_does_not_come_round_is_not_alive() {
    let heartbeat = Heartbeat::new(Duration::from_millis(1));
    let server = Server::start(heartbeat);
    wait_until("the silence is noticed", PATIENCE, || {
        let (status, _, body) = server.get("/healthz");
        status == 503 && body.starts_with("the event loop has not come round")
    });
    let heartbeat = Heartbeat::new(Duration::from_secs(3600));
    heartbeat.beat();
    assert_eq!(heartbeat.check(), Ok(()));
}

#[test]
fn who_says_nothing_or_too_much_is_let_go() {
    let server = Server::start(well());
    let mut silent = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: ")
        .expect("it is heard");
    let endless = format!("GET /{} HTTP/1.1\r\nHost: l\r\n\r\n", "x".repeat(1 << 20));
    let refused = server.asked(&endless).map(|answer| answer.0);
    assert!(matches!(refused, None | Some(400..=499)), "{refused:?}");
    for stream in [&mut silent, &mut slow] {
        // The end, or a 408 before it; a timeout of our own is neither.
        let mut answer = Vec::new();
        let heard = stream.read_to_end(&mut answer);
        assert!(
            heard.as_ref().map_err(std::io::Error::kind) != Err(std::io::ErrorKind::WouldBlock),
            "{heard:?}"
        );
    }
    assert_eq!(server.get("/healthz").0, 200);
}

#[test]
fn a_crowd_is_turned_away_and_leaves_room_when_it_goes() {
    let server = Server::start(well());
    let request = "GET /healthz HTTP/1.1\r\nHost: l\r\n\r\n";
    let mut crowd: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
    wait_until("no more are taken", PATIENCE, || {
        if server.asked(request).is_none() {
            return true;
        }
        // Some of them had not been taken yet, or not any more.
        crowd.push(server.connect());
        false
    });
    drop(crowd);
    wait_until("there is room again", PATIENCE, || {
        server.asked(request).is_some_and(|answer| answer.0 == 200)
    });
}
