//! Service accounts and what they may do, as an operator gives it and takes it away.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::objects;

/// A service account with a role of its own, which says what it may do.
#[derive(Clone)]
pub struct Account {
    client: Client,
    namespace: String,
    name: String,
}

impl Account {
    /// Makes the account, in a namespace that exists. It may do nothing yet.
    pub async fn new(client: &Client, namespace: &str, name: &str) -> Account {
        let account = Account {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let object = json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"namespace": namespace, "name": name},
        });
        objects::apply(client, &object).await;
        account
    }

    /// From now on it may do this, and nothing else, in all namespaces: `verbs` on core objects of
    /// these `resources`. Nothing at all takes everything away. The API server's authorizer learns
    /// of it by a watch, shortly after.
    pub async fn may(&self, verbs: &[&str], resources: &[&str]) {
        let name = format!("{}-{}", self.namespace, self.name);
        let group = "rbac.authorization.k8s.io";
        let rules = if verbs.is_empty() || resources.is_empty() {
            json!([])
        } else {
            json!([{"apiGroups": [""], "resources": resources, "verbs": verbs}])
        };
        let role = json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        });
        let binding = json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{
                "kind": "ServiceAccount",
                "namespace": self.namespace,
                "name": self.name,
            }],
        });
        objects::apply(&self.client, &role).await;
        objects::apply(&self.client, &binding).await;
    }

    /// A token that is valid for an hour, unless the account is deleted.
    pub async fn token(&self) -> String {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        Api::<ServiceAccount>::namespaced(self.client.clone(), &self.namespace)
            .create_token_request(&self.name, &PostParams::default(), &request)
            .await
            .expect("the account has tokens")
            .status
            .and_then(|status| status.token)
            .expect("the answer has the token")
    }
}
