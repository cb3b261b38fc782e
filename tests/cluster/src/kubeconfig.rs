//! How clients come to an API server: as a `kube` client, or as a kubeconfig file for a program.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

use crate::pki;

/// Writes a kubeconfig for one server and one token. JSON is YAML as well.
pub(crate) fn write(path: &Path, url: &str, authority: &Path, token: &str) -> PathBuf {
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "cluster",
        "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "user"}}],
        "clusters": [{
            "name": "cluster",
            "cluster": {"server": url, "certificate-authority": authority},
        }],
        "users": [{"name": "user", "user": {"token": token}}],
    });
    let folder = path.parent().expect("a file is in a folder");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    pki::write(folder, &name, &format!("{content:#}\n"))
}

/// A client by a kubeconfig file, as any program would have it. It lives on the runtime that it is
/// made on.
pub async fn client(path: &Path) -> Client {
    // Another crate of the test program may bring a second provider, and then rustls chooses none.
    // If one is installed already, it serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(path).expect("it was just written");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("its one context is the current one");
    Client::try_from(config).expect("a client needs no server")
}
