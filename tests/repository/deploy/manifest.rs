//! What lies in deploy/ and examples/: files, documents, and the Kubernetes types that they must fit.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use k8s_openapi::api::storage::v1::CSIDriver;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::yaml;

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file's text, by its path in the project.
pub fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file's documents, by its path in the project.
pub fn documents(path: impl AsRef<Path>) -> Vec<Value> {
    yaml::documents(&text(path))
}

/// Every YAML file beneath a folder of the project, as paths in the project.
pub fn files(folder: &str) -> Vec<PathBuf> {
    files_of(folder, "yaml")
}

/// Every file with this ending beneath a folder of the project.
pub fn files_of(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                let within = path.strip_prefix(root()).expect("is beneath");
                files.push(within.to_owned());
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

/// What a kustomization's folder comes to, patches left out: its resources and theirs.
pub fn kustomized(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let folder = folder.as_ref();
    let file = folder.join("kustomization.yaml");
    let own = documents(&file).pop().expect("holds a document");
    let mut all = vec![file];
    for resource in own["resources"].as_array().expect("has resources") {
        let path = folder.join(resource.as_str().expect("is a path"));
        let path = fs::canonicalize(root().join(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(fs::canonicalize(root()).expect("is there"));
        let path = path.expect("stays in the project").to_owned();
        if root().join(&path).is_dir() {
            all.extend(kustomized(path));
        } else {
            all.push(path);
        }
    }
    all
}

/// The only document of a kind beneath a folder.
pub fn only<T: DeserializeOwned>(folder: &str, kind: &str) -> T {
    let mut found: Vec<Value> = files(folder)
        .iter()
        .flat_map(documents)
        .filter(|document| document["kind"] == kind)
        .collect();
    assert_eq!(found.len(), 1, "{kind} in {folder}");
    serde_json::from_value(found.remove(0)).expect("fits its type")
}

/// Panics where a document is not what the API would take: an unknown or misspelt field, a wrong
/// type, a kind that is not expected here.
pub fn judge(file: &Path, document: &Value) {
    let kind = (
        document["apiVersion"].as_str().unwrap_or_default(),
        document["kind"].as_str().unwrap_or_default(),
    );
    let back = match kind {
        ("v1", "ConfigMap") => back::<ConfigMap>(document),
        ("v1", "Namespace") => back::<Namespace>(document),
        ("v1", "Pod") => back::<Pod>(document),
        ("v1", "Secret") => back::<Secret>(document),
        ("v1", "ServiceAccount") => back::<ServiceAccount>(document),
        ("apps/v1", "DaemonSet") => back::<DaemonSet>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => back::<ClusterRole>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            back::<ClusterRoleBinding>(document)
        }
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => back::<RoleBinding>(document),
        ("storage.k8s.io/v1", "CSIDriver") => back::<CSIDriver>(document),
        _ => panic!("{}: {kind:?} is not expected here", file.display()),
    };
    let back = back.unwrap_or_else(|error| panic!("{}: {kind:?}: {error}", file.display()));
    // What a type does not know it does not write again.
    assert_eq!(&back, document, "{}: {kind:?}", file.display());
}

/// Through a type and back.
fn back<T: DeserializeOwned + Serialize>(document: &Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(document.clone())?)
}
