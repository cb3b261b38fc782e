//! What can be done to a control plane, and that it has the effect that tests will rely on.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use livemount_cluster::{
    ADMIN, Account, ControlPlane, Relay, apply, apply_yaml, folder, until, way_in,
};
use serde_json::json;

pub async fn body() {
    println!("{}", folder().display());
    assert!(way_in().starts_with("nsenter"), "{}", way_in());
    let mut plane = ControlPlane::start().await;
    revisions(&mut plane).await;
    rights(&plane).await;
    network(&plane).await;
    servers(&plane).await;
    manifests(&plane).await;
}

/// The answer to a GET as its text, or the error's code.
async fn get(client: &Client, path: &str) -> Result<String, u16> {
    let request = http::Request::get(path).body(Vec::new()).expect("a path");
    match client.request_text(request).await {
        Ok(text) => Ok(text),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn write(client: &Client, value: &str) -> u64 {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "colours"},
        "data": {"sky": value},
    });
    let written = apply(client, &object).await.metadata.resource_version;
    written
        .and_then(|version| version.parse().ok())
        .expect("it has a version")
}

async fn read(client: &Client) -> Result<Option<String>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let map = api.get("colours").await?;
    Ok(map.data.and_then(|mut data| data.remove("sky")))
}

/// Compaction, a crash of the server, and going back to a snapshot.
async fn revisions(plane: &mut ControlPlane) {
    let client = plane.client();
    let first = write(&client, "blue").await;
    let snapshot = plane.etcd.snapshot().await;
    assert!(snapshot.revision >= first);
    let second = write(&client, "grey").await;
    let maps = "/api/v1/namespaces/default/configmaps?timeoutSeconds=1";
    let list = format!("{maps}&resourceVersion={first}&resourceVersionMatch=Exact");
    let watch = format!("{maps}&watch=1&resourceVersion={first}");
    // Without its memory the server finds in etcd what was, and tells no watch what came since.
    plane.api.restart().await;
    let old = get(&client, &list).await.expect("etcd has it still");
    assert!(old.contains("blue"), "{old}");
    assert!(plane.etcd.compact().await >= second);
    plane.api.restart().await;
    assert_eq!(get(&client, &list).await.err(), Some(410));
    let events = get(&client, &watch).await;
    let old = match &events {
        Ok(events) => events.contains(r#""code":410"#),
        Err(code) => *code == 410,
    };
    assert!(old, "{events:?}");
    assert_eq!(
        read(&client).await.expect("it answers").as_deref(),
        Some("grey")
    );
    plane.restore(&snapshot).await;
    assert_eq!(
        read(&client).await.expect("it answers").as_deref(),
        Some("blue")
    );
    assert!(
        write(&client, "red").await <= second + 10,
        "revisions go back"
    );
}

/// An account may do what it was given, and no more.
async fn rights(plane: &ControlPlane) {
    let account = Account::new(&plane.client(), "default", "reader").await;
    let client = plane.api.client_for(&account.token().await).await;
    let code = async || match read(&client).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    };
    let becomes = async |wanted: u16| {
        until(&format!("the answer is {wanted}"), async || {
            let code = code().await;
            (code == wanted)
                .then_some(())
                .ok_or_else(|| code.to_string())
        })
        .await;
    };
    assert_eq!(code().await, 403);
    account.may(&["get"], &["configmaps"]).await;
    becomes(200).await;
    let secrets = get(&client, "/api/v1/namespaces/default/secrets/x").await;
    assert_eq!(secrets.err(), Some(403));
    account.may(&[], &[]).await;
    becomes(403).await;
    let stranger = plane.api.client_for("nobody's").await;
    let refused = get(&stranger, "/api/v1/namespaces").await;
    assert_eq!(refused.err(), Some(401));
}

/// A relay that is cut, closed, stalled and turned.
async fn network(plane: &ControlPlane) {
    let relay = Relay::to(plane.api.port()).await;
    let file = plane.api.kubeconfig_by(&relay.url(), ADMIN);
    let client = livemount_cluster::client(&file).await;
    assert!(get(&client, "/readyz").await.is_ok());
    assert_eq!(relay.connections(), 1);

    relay.cut();
    until("a new connection serves", async || {
        read(&client)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(relay.connections(), 2);

    relay.close();
    until("no connection serves", async || match read(&client).await {
        Err(_) => Ok(()),
        Ok(_) => Err("it was served".to_owned()),
    })
    .await;
    relay.open();

    read(&client).await.expect("it is open");
    relay.stall();
    let mut held = Box::pin(read(&client));
    // Asked later and around the relay, a row of reads is answered before the one that it holds.
    let around = async {
        for _ in 0..20 {
            read(&plane.client())
                .await
                .expect("the server itself serves");
        }
    };
    tokio::select! {
        biased;
        _ = &mut held => panic!("a stalled relay passed an answer on"),
        () = around => {}
    }
    relay.open();
    held.await.expect("what was held is passed on");

    let other = plane.another_api(&["--v=1"]).await;
    let before = asked(&other).await;
    relay.turn_to(other.port());
    until("the other server is asked", async || {
        read(&client).await.map_err(|error| error.to_string())?;
        let after = asked(&other).await;
        (after > before)
            .then_some(())
            .ok_or_else(|| after.to_string())
    })
    .await;
}

async fn asked(server: &livemount_cluster::ApiServer) -> f64 {
    let labels = [
        r#"resource="configmaps""#,
        r#"scope="resource""#,
        r#"verb="GET""#,
    ];
    server.metric("apiserver_request_total", &labels).await
}

/// Flags reach a server, and a second plane does not meet the first.
async fn servers(plane: &ControlPlane) {
    let streaming = "/api/v1/namespaces/default/configmaps?watch=1&sendInitialEvents=true\
         &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let listed = get(&plane.client(), streaming).await;
    assert!(listed.is_ok_and(|events| events.contains("initial-events-end")));
    let other = ControlPlane::with(&["--feature-gates=WatchList=false"]).await;
    assert_eq!(get(&other.client(), streaming).await.err(), Some(422));
    assert!(
        read(&other.client()).await.is_err(),
        "the planes share an etcd"
    );
}

/// Several documents, a new kind, and objects of no namespace.
async fn manifests(plane: &ControlPlane) {
    let manifest = "\
# Nothing is in the first document.
---
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: csi.example.com}
spec: {podInfoOnMount: true}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: other}
data: {a: b}
";
    let objects = apply_yaml(&plane.client(), manifest).await;
    assert_eq!(objects.len(), 3);
    assert_eq!(objects[2].metadata.namespace.as_deref(), Some("other"));
}
