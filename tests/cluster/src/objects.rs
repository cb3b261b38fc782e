//! Objects of any kind, from manifests, as `kubectl apply` would make them.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;

use crate::wait::until;

/// Applies every document of a manifest, and returns the objects as the server has them. What a
/// document has no namespace for is in `default`.
pub async fn apply_yaml(client: &Client, manifest: &str) -> Vec<DynamicObject> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).expect("a manifest is YAML");
    let mut objects = Vec::new();
    // A document of comments alone says nothing.
    for document in documents.iter().filter(|document| !document.is_null()) {
        objects.push(apply(client, document).await);
    }
    objects
}

/// Applies one object, creating it or changing what it says, and returns it as the server has it.
pub async fn apply(client: &Client, object: &Value) -> DynamicObject {
    let name = object["metadata"]["name"]
        .as_str()
        .expect("an object has a name");
    let api = api(client, object).await;
    let params = PatchParams::apply("livemount-cluster").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .unwrap_or_else(|error| panic!("{} {name}: {error}", object["kind"]))
}

/// The API of an object's kind, in its namespace.
async fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let text = |field: &str| {
        object[field]
            .as_str()
            .expect("an object has a kind")
            .to_owned()
    };
    let types = TypeMeta {
        api_version: text("apiVersion"),
        kind: text("kind"),
    };
    let kind = GroupVersionKind::try_from(&types).expect("an API version");
    let (resource, scope): (ApiResource, Scope) =
        until(&format!("the server knows {kind:?}"), async || {
            // A kind that a definition before it brings is known a moment later.
            pinned_kind(client, &kind)
                .await
                .map(|(resource, capabilities)| (resource, capabilities.scope))
                .map_err(|error| error.to_string())
        })
        .await;
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object["metadata"]["namespace"].as_str();
            Api::namespaced_with(client.clone(), namespace.unwrap_or("default"), &resource)
        }
    }
}
