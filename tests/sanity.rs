//! csi-sanity, the CSI's own check of drivers, against `livemount node` with a real API server.
//!
//! It runs twice. First it speaks to the plugin itself, with a controller beside it that makes
//! volumes up (an inline driver has none). "should work" and "should be idempotent" run only where
//! the *node's* endpoint says that it has a controller, so the second time it speaks to a front that
//! says so and hands every Node call on to the plugin. What is skipped, and why, is in
//! `sanity/verdict.rs` and is printed; a check that is neither passed nor in that list fails.

#[path = "sanity/front.rs"]
mod front;
#[path = "sanity/plugin.rs"]
mod plugin;
#[path = "sanity/verdict.rs"]
mod verdict;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use livemount_cluster::{
    Account, CONTROL_PLANE, ControlPlane, SANITY, enter, folder, program, until,
};
use serde_json::json;

use front::Front;
use plugin::{KUBELET, Plugin};
use verdict::Verdict;

/// A pod's uid, as an API server makes them.
const POD: &str = "6d2c1e8f-3b07-4c55-9a0e-2f1b7c9d4e60";
/// What the volume shows, and what the front looks for in it.
const FILE: &str = "app.properties";
const CONTENT: &str = "colour=green\n";

fn main() -> ExitCode {
    enter(&[CONTROL_PLANE, SANITY].concat(), || {
        let arguments = libtest_mimic::Arguments::from_args();
        let trial = libtest_mimic::Trial::test("csi_sanity", || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            runtime.block_on(csi_sanity());
            Ok(())
        });
        libtest_mimic::run(&arguments, vec![trial]).exit_code()
    })
}

async fn csi_sanity() {
    let plane = ControlPlane::start().await;
    let client = plane.client();
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "default", "name": "app"},
        "data": {FILE: CONTENT},
    });
    livemount_cluster::apply(&client, &map).await;
    let account = Account::new(&client, "default", "livemount").await;
    account
        .may(&["get", "list", "watch"], &["configmaps"])
        .await;
    let token = account.token().await;
    // The authorizer learns of a role a little later; a plugin that waits for that tests nothing.
    let as_plugin = plane.api.client_for(&token).await;
    until("the account may read", async || {
        let maps: Api<ConfigMap> = Api::namespaced(as_plugin.clone(), "default");
        let read = maps.get("app").await;
        read.map(drop).map_err(|error| error.to_string())
    })
    .await;

    let mut plugin = Plugin::start(&plane.api.kubeconfig(&token)).await;
    plugin.register().await;
    // As a kubelet makes it; csi-sanity makes and removes the last folder.
    let mounts = Path::new(KUBELET).join(format!("pods/{POD}/volumes/kubernetes.io~csi"));
    fs::create_dir_all(&mounts).expect("the kubelet's folder can be written to");
    let mounts = mounts.join("config");
    let front = Front::serve(plugin.socket(), attributes()).await;

    let mut verdict = Verdict::default();
    let mut sanity = |name: &str, endpoint: &Path, focus: &str| {
        let report = folder().join(format!("{name}.xml"));
        let unix = |path: &Path| format!("unix://{}", path.display());
        let output = Command::new(program("csi-sanity"))
            .arg(format!("--csi.endpoint={}", unix(endpoint)))
            .arg(format!("--csi.controllerendpoint={}", unix(front.socket())))
            .arg(format!("--csi.mountdir={}", mounts.display()))
            .arg(format!(
                "--csi.stagingdir={}",
                folder().join("staging").display()
            ))
            .arg(format!("--ginkgo.focus={focus}"))
            .arg(format!("--ginkgo.junit-report={}", report.display()))
            .args(["--ginkgo.no-color", "--ginkgo.timeout=10m"])
            .output()
            .expect("csi-sanity can be started");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in said.lines().filter(|line| verdict::is_summary(line)) {
            println!("csi-sanity, {name}: {line}");
        }
        assert!(output.status.success(), "{said}{}", plugin.log());
        verdict.read(&fs::read_to_string(&report).expect("csi-sanity writes its report"));
    };
    tokio::task::block_in_place(|| {
        sanity("the plugin", plugin.socket(), "(Identity|Node) Service");
        sanity(
            "the plugin behind a front with a controller",
            front.socket(),
            "Node Service should (work|be idempotent)",
        );
    });
    assert!(front.looked() > 0, "the front has seen no mount at all");
    println!("{}", verdict.judge().unwrap_or_else(|why| panic!("{why}")));

    plugin.end();
    assert!(!mounts.exists(), "csi-sanity could not remove its folder");
}

/// What a pod's author and the kubelet say together, for a volume of that pod.
fn attributes() -> impl Iterator<Item = (String, String)> {
    [
        ("configMap", "app"),
        ("csi.storage.k8s.io/ephemeral", "true"),
        ("csi.storage.k8s.io/pod.name", "app-0"),
        ("csi.storage.k8s.io/pod.namespace", "default"),
        ("csi.storage.k8s.io/pod.uid", POD),
        ("csi.storage.k8s.io/serviceAccount.name", "default"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}
