//! The control plane: etcd, one API server or several, and who may do what.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use kube::Client;

use crate::etcd::{Etcd, Snapshot};
use crate::folder;
use crate::pki::{self, Pki};
use crate::server::ApiServer;

/// The token of somebody who may do everything.
pub const ADMIN: &str = "token-of-admin";

/// The tokens of the cluster's own components.
pub(crate) const NODE: &str = "token-of-node";
pub(crate) const SCHEDULER: &str = "token-of-scheduler";
pub(crate) const CONTROLLERS: &str = "token-of-controllers";

/// Who a token is, besides service accounts: name, groups.
const TOKENS: [(&str, &str, &str); 4] = [
    (ADMIN, "admin", "system:masters"),
    (NODE, "system:node:n1", "system:nodes"),
    (SCHEDULER, "system:kube-scheduler", ""),
    (CONTROLLERS, "system:kube-controller-manager", ""),
];

/// Ports are below those that the kernel gives to clients, so none is taken while its owner is down.
static PORT: AtomicU16 = AtomicU16::new(20_000);

/// etcd and a kube-apiserver on it. The first one of a run has port 443 and so is also where pods
/// find `kubernetes.default`; there can be others beside it, each with an etcd of its own.
pub struct ControlPlane {
    /// The API server.
    pub api: ApiServer,
    /// What it stores in.
    pub etcd: Etcd,
    pki: Arc<Pki>,
    state: PathBuf,
    suffix: String,
}

impl ControlPlane {
    /// Starts one, and waits until it is ready.
    pub async fn start() -> ControlPlane {
        ControlPlane::with(&[]).await
    }

    /// The same with more flags for its API server, such as `--feature-gates=WatchList=false`.
    pub async fn with(flags: &[&str]) -> ControlPlane {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let suffix = if number == 0 {
            String::new()
        } else {
            format!("-{number}")
        };
        let state = folder().join(format!("state/plane{suffix}"));
        fs::create_dir_all(&state).expect("the run's folder can be written to");
        let pki = Arc::new(Pki::new(&state));
        let tokens =
            TOKENS.map(|(token, user, groups)| format!("{token},{user},{user},{groups}\n"));
        pki::write(&state, "tokens", &tokens.concat());
        let etcd = Etcd::start(format!("etcd{suffix}"), &state, [port(), port()]).await;
        let port = if number == 0 { 443 } else { port() };
        let name = format!("kube-apiserver{suffix}");
        let api = ApiServer::start(name, port, &pki, &state, &etcd.url(), flags).await;
        ControlPlane {
            api,
            etcd,
            pki,
            state,
            suffix,
        }
    }

    /// One more API server on the same etcd, as a cluster with several has them.
    pub async fn another_api(&self, flags: &[&str]) -> ApiServer {
        let port = port();
        let name = format!("kube-apiserver{}-{port}", self.suffix);
        ApiServer::start(name, port, &self.pki, &self.state, &self.etcd.url(), flags).await
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        self.api.client()
    }

    /// Takes the cluster back to a snapshot as its operator would: with the API server down. Other
    /// API servers on this etcd have to be restarted by their owner.
    pub async fn restore(&mut self, snapshot: &Snapshot) {
        self.api.process().kill();
        self.etcd.restore(snapshot).await;
        self.api.run().await;
    }

    /// The key that signs the tokens of service accounts.
    pub(crate) fn accounts_key(&self) -> &PathBuf {
        &self.pki.accounts
    }

    /// A kubeconfig file for a component of the cluster, by its token.
    pub(crate) fn component(&self, token: &str) -> PathBuf {
        debug_assert!(TOKENS.iter().any(|known| known.0 == token));
        self.api.kubeconfig(token)
    }
}

fn port() -> u16 {
    PORT.fetch_add(1, Ordering::Relaxed)
}
