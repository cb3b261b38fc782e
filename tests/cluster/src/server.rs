//! kube-apiserver: how it is started, killed, and asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

use crate::component::Component;
use crate::pki::Pki;
use crate::plane::ADMIN;
use crate::programs::program;
use crate::wait::until;
use crate::{folder, kubeconfig, machine};

/// One kube-apiserver.
pub struct ApiServer {
    process: Component,
    port: u16,
    pki: Arc<Pki>,
    client: Client,
}

impl ApiServer {
    pub(crate) async fn start(
        name: String,
        port: u16,
        pki: &Arc<Pki>,
        state: &std::path::Path,
        etcd: &str,
        flags: &[&str],
    ) -> ApiServer {
        let mut process = Component::new(&name, program("kube-apiserver"));
        let show = |path: &PathBuf| path.display().to_string();
        process.args(
            [
                ("etcd-servers", etcd.to_owned()),
                ("secure-port", port.to_string()),
                ("advertise-address", machine::NODE.to_owned()),
                ("tls-cert-file", show(&pki.server.certificate)),
                ("tls-private-key-file", show(&pki.server.key)),
                (
                    "kubelet-client-certificate",
                    show(&pki.kubelet_client.certificate),
                ),
                ("kubelet-client-key", show(&pki.kubelet_client.key)),
                ("kubelet-preferred-address-types", "InternalIP".to_owned()),
                ("token-auth-file", show(&state.join("tokens"))),
                ("authorization-mode", "Node,RBAC".to_owned()),
                (
                    "service-account-issuer",
                    "https://kubernetes.default.svc".to_owned(),
                ),
                ("service-account-key-file", show(&pki.accounts_public)),
                ("service-account-signing-key-file", show(&pki.accounts)),
                ("service-cluster-ip-range", machine::SERVICES.to_owned()),
                ("allow-privileged", "true".to_owned()),
                ("cert-dir", show(&state.join(&name))),
            ]
            .map(|(flag, value)| format!("--{flag}={value}")),
        );
        process.args(flags.iter().copied());
        let path = state.join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, &url(port), &pki.authority, ADMIN);
        let mut server = ApiServer {
            process,
            port,
            pki: Arc::clone(pki),
            client: kubeconfig::client(&path).await,
        };
        server.run().await;
        server
    }

    /// The process, to pause, kill or terminate it. Terminated it serves for a while still, and
    /// ends when its requests have.
    pub fn process(&mut self) -> &mut Component {
        &mut self.process
    }

    /// Starts it, if it does not run, and waits until it is ready.
    pub async fn run(&mut self) {
        if !self.process.is_running() {
            self.process.start();
        }
        until("the API server is ready", async || {
            self.process.check();
            self.get("/readyz").await.map(drop)?;
            // Readiness does not wait for the namespaces that the server makes itself.
            Api::<Namespace>::all(self.client.clone())
                .get("default")
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await;
    }

    /// Kills it as a crash does, and starts it again. It has forgotten what its watches could still
    /// have told, so a watch from an older resourceVersion is answered with 410.
    pub async fn restart(&mut self) {
        self.process.kill();
        self.run().await;
    }

    /// Where it serves.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Its port on every address of the node.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that it is trusted by, PEM.
    pub fn authority(&self) -> PathBuf {
        self.pki.authority.clone()
    }

    /// A client that may do everything. Clones of one client share a connection.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client of its own with this token.
    pub async fn client_for(&self, token: &str) -> Client {
        kubeconfig::client(&self.kubeconfig(token)).await
    }

    /// A kubeconfig file with this token.
    pub fn kubeconfig(&self, token: &str) -> PathBuf {
        self.kubeconfig_by(&self.url(), token)
    }

    /// The same by way of another address, such as a [`crate::Relay`]'s.
    pub fn kubeconfig_by(&self, url: &str, token: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder().join(format!("kubeconfig-{number}"));
        kubeconfig::write(&path, url, &self.pki.authority, token)
    }

    /// Its metrics, as Prometheus would read them.
    pub async fn metrics(&self) -> String {
        self.get("/metrics").await.expect("it tells its metrics")
    }

    /// The sum of all series of one metric whose labels hold all of these, such as
    /// `resource="configmaps"`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.metrics()
            .await
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter(|rest| labels.iter().all(|label| rest.contains(label)))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    async fn get(&self, path: &str) -> Result<String, String> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .expect("a path is enough of a request");
        self.client
            .request_text(request)
            .await
            .map_err(|error| error.to_string())
    }
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}
