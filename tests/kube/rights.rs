//! Who the source is to the server, and what it may do.

use livemount::source::Source as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use livemount::source::kube::{Cluster, KubeError, Options};
use livemount_cluster::{Account, ControlPlane, Relay, folder, until};
use tokio::time::timeout;

use crate::scene::{Room, Scene, options, plane, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("rights_are_taken_and_given_back", rights),
        trial("a_rotated_token_is_read", rotated),
        trial("a_wrong_kubeconfig_is_told_without_its_secrets", kubeconfig),
    ]
}

async fn rights() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "rights").await;
    let account = Account::new(&plane.client(), "rights", "reader").await;
    account.may(&["list", "watch"], &["configmaps"]).await;
    let token = account.token().await;
    let relay = Relay::to(plane.api.port()).await;
    let mut scene = Scene::with(options(plane.api.kubeconfig_by(&relay.url(), &token))).await;
    let app = room.key("app");
    room.put("app", "one").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("one")).await;

    account.may(&[], &[]).await;
    forbidden(plane, &token, true).await;
    // A watch that runs is let run; the next request is refused.
    relay.cut();
    let why = scene.ear.failing(&app).await;
    assert_eq!(
        why,
        "the API server says: configmaps \"app\" is forbidden: User \
         \"system:serviceaccount:rights:reader\" cannot watch resource \"configmaps\" in API group \
         \"\" in the namespace \"rights\""
    );
    room.put("app", "two").await;
    scene.source.watch(&app);
    scene.ear.failing(&app).await;
    assert_eq!(&*scene.ear.now(&app).data()["k"], b"one");

    account.may(&["list", "watch"], &["configmaps"]).await;
    scene.ear.value(&app, Some("two")).await;
    scene.ear.working(&app).await;
    scene.ear.never_back(&app);
}

/// The server's authorizer has learned of it.
async fn forbidden(plane: &ControlPlane, token: &str, is: bool) {
    let client = plane.api.client_for(token).await;
    let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::namespaced(client, "rights");
    until("the server knows the new rights", async || {
        let listed = maps.list(&kube::api::ListParams::default()).await;
        if listed.is_err() == is {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;
}

/// The account is made anew, which no token of the former one survives.
async fn rotated() {
    let plane = plane().await;
    let room = Room::new(plane.client(), "rotated").await;
    let make = async || {
        let account = Account::new(&plane.client(), "rotated", "reader").await;
        account.may(&["list", "watch"], &["configmaps"]).await;
        account.token().await
    };
    let old = make().await;
    let relay = Relay::to(plane.api.port()).await;
    let file = folder().join("rotated-token");
    fs::write(&file, &old).expect("a file");
    let kubeconfig = token_file(plane, &relay, &file);
    let mut scene = Scene::with(options(kubeconfig)).await;
    let app = room.key("app");
    room.put("app", "one").await;
    scene.source.watch(&app);
    scene.ear.value(&app, Some("one")).await;

    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> =
        kube::Api::namespaced(plane.client(), "rotated");
    let removed = accounts
        .delete("reader", &kube::api::DeleteParams::default())
        .await;
    removed.expect("it is removed");
    let new = make().await;
    // The server remembers for ten seconds that the old one was good.
    let client = plane.api.client_for(&old).await;
    until("the old token is refused", async || {
        match client.apiserver_version().await {
            Err(kube::Error::Api(status)) if status.code == 401 => Ok(()),
            other => Err(format!("{:?}", other.map(drop))),
        }
    })
    .await;
    relay.cut();
    let why = scene.ear.failing(&app).await;
    assert_eq!(why, "the API server says: Unauthorized");
    room.put("app", "two").await;
    fs::write(&file, &new).expect("a file");
    // Not with the minute in which kube by itself reads the file again.
    let soon = timeout(Duration::from_secs(25), scene.ear.value(&app, Some("two"))).await;
    soon.expect("the new token is used");
    scene.ear.never_back(&app);
    assert!(scene.restarts("unauthorized") > 0);
}

fn token_file(plane: &ControlPlane, relay: &Relay, token: &Path) -> std::path::PathBuf {
    let path = folder().join("rotated-kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: '{}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: u, user: {{tokenFile: '{}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        relay.url(),
        plane.api.authority().display(),
        token.display(),
    );
    fs::write(&path, text).expect("a file");
    path
}

async fn kubeconfig() {
    let path = folder().join("wrong-kubeconfig");
    for (text, tells) in [
        (None, "cannot be read"),
        (Some("hunter2: [hunter2"), "it is not a kubeconfig"),
        (Some("users: {hunter2: hunter2}"), "it is not a kubeconfig"),
        (
            Some("apiVersion: v1\nkind: Config\n"),
            "it names no current context",
        ),
        (
            Some("apiVersion: v1\nkind: Config\ncurrent-context: c\n"),
            "it has no context \"c\"",
        ),
    ] {
        match text {
            Some(text) => fs::write(&path, text).expect("a file"),
            None => assert!(!path.exists()),
        }
        let options = Options {
            kubeconfig: Some(path.clone()),
            ..Options::default()
        };
        let Err(error) = Cluster::connect(&options).await else {
            panic!("{text:?} is taken");
        };
        assert!(matches!(error, KubeError::Kubeconfig { .. }));
        let sentence = error.to_string();
        assert!(sentence.contains(tells), "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
