//! The network between a client and an API server: a relay that can cut, stall, and change sides.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a relay does at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    /// The port of the server.
    to: u16,
    /// Connections of an earlier number are closed.
    generation: u64,
    /// Whether new connections are closed at once.
    closed: bool,
    /// Whether nothing is passed on, while connections stay open.
    stalled: bool,
}

/// A relay on loopback to one API server at a time. What passes is not looked at, so TLS is between
/// client and server.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    state: watch::Sender<State>,
    accepted: Arc<AtomicU64>,
    listener: JoinHandle<()>,
}

impl Relay {
    /// Listens, and relays to this port of loopback.
    pub async fn to(port: u16) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback has a free port");
        let (state, watched) = watch::channel(State {
            to: port,
            generation: 0,
            closed: false,
            stalled: false,
        });
        let accepted = Arc::new(AtomicU64::new(0));
        let port = listener.local_addr().map(|address| address.port());
        Relay {
            port: port.expect("a listener has a port"),
            state,
            accepted: Arc::clone(&accepted),
            listener: tokio::spawn(accept(listener, watched, accepted)),
        }
    }

    /// What to connect to instead of the server.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Closes all connections; new ones are served.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Closes all connections and every new one, until [`Relay::open`].
    pub fn close(&self) {
        self.state.send_modify(|state| {
            state.generation += 1;
            state.closed = true;
        });
    }

    /// Passes nothing on while connections stay open, as a network that has lost its way does,
    /// until [`Relay::open`].
    pub fn stall(&self) {
        self.state.send_modify(|state| state.stalled = true);
    }

    /// Serves again after [`Relay::close`], and passes on what was held since [`Relay::stall`].
    pub fn open(&self) {
        self.state.send_modify(|state| {
            state.closed = false;
            state.stalled = false;
        });
    }

    /// Closes all connections, and serves new ones from another server, as a load balancer whose
    /// server is gone does.
    pub fn turn_to(&self, port: u16) {
        self.state.send_modify(|state| {
            state.generation += 1;
            state.to = port;
        });
    }

    /// How many connections have been made to it.
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
        self.listener.abort();
    }
}

async fn accept(listener: TcpListener, state: watch::Receiver<State>, accepted: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        let now = *state.borrow();
        // Dropping the connection closes it.
        if !now.closed {
            tokio::spawn(serve(client, now, state.clone()));
        }
    }
}

/// One connection, until an end or the relay closes it.
async fn serve(client: TcpStream, then: State, state: watch::Receiver<State>) {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, then.to));
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut over = state.clone();
    let over = async {
        // An error is the relay's own end.
        let _ = over.wait_for(|now| now.generation != then.generation).await;
    };
    let up = pass(client_reads, server_writes, state.clone());
    let down = pass(server_reads, client_writes, state.clone());
    tokio::select! {
        () = over => {}
        () = up => {}
        () = down => {}
    }
}

/// Passes on one direction, except while the relay is stalled.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|now| !now.stalled).await.is_err()
            || to.write_all(&buffer[..count]).await.is_err()
        {
            return;
        }
    }
}
