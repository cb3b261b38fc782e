//! Why an API server cannot be reached as the options say: one sentence, without a credential.
//!
//! The errors of `kube` are not shown where they may quote what they read: a kubeconfig holds tokens
//! and keys, and a plugin's output is one.

use std::path::PathBuf;

use kube::client::{AuthError, RustlsTlsError};
use kube::config::{InClusterError, KubeconfigError};
use thiserror::Error;

/// Why there is no way to an API server.
#[derive(Debug, Error)]
pub enum KubeError {
    /// The kubeconfig that the options name is no good.
    #[error("{}: {why}", .file.display())]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Neither a pod nor a kubeconfig.
    #[error("no API server is known: this is no pod, and {0}")]
    NoCluster(String),
    /// A pod whose service account cannot be used.
    #[error("the pod's service account cannot be used: {0}")]
    InCluster(#[from] InClusterError),
    /// Credentials that cannot be used.
    #[error("the credentials for the API server cannot be used: {0}")]
    Credentials(String),
    /// A name of the options that no HTTP header could hold.
    #[error("{0:?} cannot be a user agent")]
    UserAgent(String),
}

impl KubeError {
    pub(super) fn credentials(error: &kube::Error) -> Self {
        Self::Credentials(match error {
            kube::Error::Auth(error) => auth(error),
            kube::Error::RustlsTls(error) => tls(error),
            kube::Error::InferKubeconfig(error) => kubeconfig(error),
            _ => "they are not understood".to_owned(),
        })
    }
}

/// What is wrong with a kubeconfig.
pub(super) fn kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::CurrentContextNotSet => "it names no current context".to_owned(),
        KubeconfigError::LoadContext(name) => format!("it has no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("it has no cluster {name:?}, which the context names")
        }
        KubeconfigError::FindPath => {
            "there is neither $KUBECONFIG nor a home folder with .kube/config".to_owned()
        }
        KubeconfigError::ReadConfig(error, file) => {
            format!("the kubeconfig {} cannot be read: {error}", file.display())
        }
        // The parser quotes the lines that it did not like.
        KubeconfigError::Parse(_) => "it is not a kubeconfig".to_owned(),
        KubeconfigError::LoadClientKey(_) => "the client's key cannot be read".to_owned(),
        error => error.to_string(),
    }
}

/// What is wrong with credentials, or with the plugin for them.
pub(super) fn auth(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { cmd, out } => format!("{cmd} failed: {}", out.status),
        AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => {
            "the plugin's answer is not understood".to_owned()
        }
        AuthError::InvalidBearerToken(_) | AuthError::InvalidBasicAuth(_) => {
            "the token or password has characters that no header can hold".to_owned()
        }
        AuthError::ReadTokenFile(error, file) => {
            format!("{} cannot be read: {error}", file.display())
        }
        error => error.to_string(),
    }
}

fn tls(error: &RustlsTlsError) -> String {
    match error {
        RustlsTlsError::InvalidIdentityPem(_) => {
            "the client's certificate or key is not PEM".to_owned()
        }
        error => error.to_string(),
    }
}
