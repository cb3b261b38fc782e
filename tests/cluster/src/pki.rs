//! Keys and certificates of one control plane: an authority of its own, and what it signs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::machine;

/// The files of one control plane's keys, all PEM.
#[derive(Debug)]
pub(crate) struct Pki {
    /// Signs all certificates here; what a client has to trust.
    pub(crate) authority: PathBuf,
    /// What API servers show.
    pub(crate) server: Pair,
    /// What API servers show to the kubelet.
    pub(crate) kubelet_client: Pair,
    /// Signs the tokens of service accounts.
    pub(crate) accounts: PathBuf,
    /// Checks them.
    pub(crate) accounts_public: PathBuf,
}

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pki {
    /// Makes all of it below a folder.
    pub(crate) fn new(folder: &Path) -> Pki {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = named("livemount-cluster", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = params.self_signed(&key).expect("it signs itself");
        let issuer = Issuer::new(params, key);
        // A pod and the node know the API server by the service, everybody else by these two.
        let names = [
            "localhost",
            "127.0.0.1",
            machine::NODE,
            machine::API,
            "kubernetes.default.svc",
        ];
        let mut server = named("kube-apiserver", &names);
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // The kubelet asks the API server what its clients may do, and this group may do all.
        let mut client = named("kube-apiserver-kubelet-client", &[]);
        client
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let accounts = KeyPair::generate().expect("a key can be made");
        Pki {
            authority: write(folder, "ca.crt", &authority.pem()),
            server: signed(folder, "server", &server, &issuer),
            kubelet_client: signed(folder, "kubelet-client", &client, &issuer),
            accounts: write(folder, "accounts.key", &accounts.serialize_pem()),
            accounts_public: write(folder, "accounts.pub", &accounts.public_key_pem()),
        }
    }
}

fn named(name: &str, subjects: &[&str]) -> CertificateParams {
    let subjects: Vec<String> = subjects.iter().map(|&subject| subject.into()).collect();
    let mut params = CertificateParams::new(subjects).expect("names and addresses");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn signed(
    folder: &Path,
    name: &str,
    params: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> Pair {
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params.signed_by(&key, issuer).expect("the authority signs");
    Pair {
        certificate: write(folder, &format!("{name}.crt"), &certificate.pem()),
        key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
    }
}

/// Writes a file that only root reads, for its content is a key or a token as often as not.
pub(crate) fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it was just made");
    path
}
