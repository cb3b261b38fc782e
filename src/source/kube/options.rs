//! What a user may choose: which API server, as whom, and at what timing.

use std::path::PathBuf;
use std::time::Duration;

/// How an API server is reached and how it is treated. `Default` is right in a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kubeconfig to read. Without one: the pod's service account in a cluster, else
    /// `$KUBECONFIG` or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context; without one, its current context.
    pub context: Option<String>,
    /// What requests call themselves.
    pub user_agent: String,
    /// How long things may take.
    pub timing: Timing,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            user_agent: concat!("livemount/", env!("CARGO_PKG_VERSION")).to_owned(),
            timing: Timing::default(),
        }
    }
}

/// How long things may take, and how often they are tried.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Until a connection is there, TLS and HTTP/2 included.
    pub connect: Duration,
    /// How long a connection may be silent before it is pinged.
    pub ping: Duration,
    /// Until a ping is answered, or the connection is given up.
    pub pong: Duration,
    /// Until a request is answered, and until a watch has told the whole state.
    pub answer: Duration,
    /// How long a watch may tell nothing. A server sends a bookmark about each minute.
    pub quiet: Duration,
    /// How long the server may keep one watch, at least; twice that at most. Each renewal is a
    /// consistent read. The kubelet's is the same (`minWatchTimeout` of its watch-based manager).
    pub renewal: Duration,
    /// How long an object is followed after the last one who wanted it.
    pub linger: Duration,
    /// The first pause after a failure; each further one is twice as long, up to `most`.
    pub first: Duration,
    /// The longest pause between two attempts, half as much again by chance.
    pub most: Duration,
    /// How long nothing is learned of an object before that is said. What the server refuses is said
    /// at once.
    pub patience: Duration,
    /// How often credentials are read anew, at most, when the server does not accept them.
    pub credentials: Duration,
    /// How long a server that has no streaming lists is not asked for one.
    pub unsupported: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            ping: Duration::from_secs(15),
            pong: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            quiet: Duration::from_secs(180),
            renewal: Duration::from_secs(30 * 60),
            linger: Duration::from_secs(60),
            first: Duration::from_millis(200),
            most: Duration::from_secs(15),
            patience: Duration::from_secs(5),
            credentials: Duration::from_secs(5),
            unsupported: Duration::from_secs(30 * 60),
        }
    }
}
