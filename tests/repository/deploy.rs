//! deploy/, examples/, the Dockerfile and docs/OPERATIONS.md, held against each other and against the
//! program: what they promise together is said in several files, and no compiler reads them.
//!
//! That a real API server and a kubelet take these very files is tested in a cluster.

mod manifest;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Probe, Volume};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::CSIDriver;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use manifest::{documents, files, files_of, judge, kustomized, only, root, text};
use serde_json::Value;

const GUIDE: &str = "docs/OPERATIONS.md";

/// The DaemonSets: the plugin's, and the keeper's.
const SETS: [&str; 2] = ["deploy/base/daemonset.yaml", "deploy/base/keeper.yaml"];

fn set(file: &str) -> DaemonSetSpec {
    let document = documents(file).pop().expect("holds a document");
    let set: DaemonSet = serde_json::from_value(document).expect("is a DaemonSet");
    set.spec.expect("has a spec")
}

fn pod_of(file: &str) -> PodSpec {
    set(file).template.spec.expect("its pod has a spec")
}

/// The plugin's pod.
fn pod() -> PodSpec {
    pod_of(SETS[0])
}

/// Its one container.
fn container() -> Container {
    let mut containers = pod().containers;
    assert_eq!(containers.len(), 1);
    containers.remove(0)
}

/// The hand, which is a sidecar, and the keeper.
fn hand_and_keeper() -> (Container, Container) {
    let pod = pod_of(SETS[1]);
    let mut hands = pod.init_containers.expect("has a sidecar");
    let mut keepers = pod.containers;
    assert_eq!((hands.len(), keepers.len()), (1, 1));
    (hands.remove(0), keepers.remove(0))
}

/// A container's command, and its options with their values; one without a value has an empty one.
fn command(container: &Container) -> (String, Vec<(String, String)>) {
    let args = container.args.clone().expect("has arguments");
    let options = args.iter().skip(1).map(|arg| {
        let (option, value) = arg.split_once('=').unwrap_or((arg, ""));
        (option.to_owned(), value.to_owned())
    });
    (args[0].clone(), options.collect())
}

/// The plugin's options.
fn options() -> BTreeMap<String, String> {
    let (name, options) = command(&container());
    assert_eq!(name, "node");
    options.into_iter().collect()
}

fn volumes(of: &PodSpec) -> BTreeMap<String, Volume> {
    let volumes = of.volumes.clone().expect("has volumes");
    volumes.into_iter().map(|v| (v.name.clone(), v)).collect()
}

/// Where the node's folder is that lies at this place in a container of a pod, and how it propagates.
fn host(of: &PodSpec, container: &Container, place: &str) -> (String, Option<String>) {
    let mounts = container.volume_mounts.clone().expect("has mounts");
    let mount = mounts.iter().find(|mount| mount.mount_path == place);
    let mount = mount.unwrap_or_else(|| panic!("nothing is mounted at {place}"));
    let path = volumes(of)[&mount.name].host_path.clone();
    let path = path.expect("is a folder of the node").path;
    (path, mount.mount_propagation.clone())
}

/// The inline volumes of all examples: the file, and the volume.
fn examples() -> Vec<(PathBuf, Volume)> {
    let mut found = Vec::new();
    for file in files("examples") {
        for document in documents(&file) {
            if document["kind"] != "Pod" {
                continue;
            }
            let pod: Pod = serde_json::from_value(document).expect("is a pod");
            for volume in pod.spec.and_then(|spec| spec.volumes).expect("has volumes") {
                found.push((file.clone(), volume));
            }
        }
    }
    assert!(found.len() >= 5, "examples have gone: {}", found.len());
    found
}

#[test]
fn every_document_fits_its_type_with_nothing_left_over() {
    for file in files("deploy").iter().chain(&files("examples")) {
        if !file.ends_with("kustomization.yaml") {
            let documents = documents(file);
            assert!(!documents.is_empty(), "{}: is empty", file.display());
            for document in documents {
                judge(file, &document);
            }
        }
    }
}

#[test]
fn every_file_belongs_to_an_installation() {
    let mut named = BTreeSet::new();
    for folder in ["deploy", "deploy/secrets", "deploy/openshift"] {
        let files = kustomized(folder);
        let once: BTreeSet<_> = files.iter().cloned().collect();
        assert_eq!(once.len(), files.len(), "{folder} names a file twice");
        for object in ["DaemonSet", "CSIDriver", "ClusterRole", "ServiceAccount"] {
            let there = files
                .iter()
                .flat_map(documents)
                .any(|document| document["kind"] == object);
            assert!(there, "{folder} installs no {object}");
        }
        named.extend(once);
    }
    let all: BTreeSet<_> = files("deploy").into_iter().collect();
    assert_eq!(named, all);
}

/// A right: group, resource, verbs.
type Right = (String, String, String);

/// What the ClusterRoles of an installation allow.
fn rights(folder: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for document in kustomized(folder).iter().flat_map(documents) {
        assert_ne!(document["kind"], "Role", "rights are told in ClusterRoles");
        if document["kind"] != "ClusterRole" {
            continue;
        }
        let role: ClusterRole = serde_json::from_value(document).expect("is a ClusterRole");
        for rule in role.rules.expect("has rules") {
            let groups = rule.api_groups.expect("names groups");
            let resources = rule.resources.expect("names resources");
            assert_eq!(
                (groups.len(), resources.len()),
                (1, 1),
                "one rule, one reason"
            );
            let verbs = rule.verbs.join(", ");
            rights.insert((groups[0].clone(), resources[0].clone(), verbs));
        }
    }
    rights
}

/// The guide's table of rights: its last column says which installation has it.
fn told_rights(of: &[&str]) -> BTreeSet<Right> {
    let guide = text(GUIDE);
    let (_, section) = guide
        .split_once("## What each permission is for")
        .expect("the guide has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .map(|line| line.split('|').map(|cell| cell.trim().replace('`', "")))
        .map(Iterator::collect::<Vec<_>>)
        .filter(|cells| cells.len() == 7 && of.contains(&cells[5].as_str()))
        .map(|cells| {
            let group = if cells[2] == "core" { "" } else { &cells[2] };
            (group.to_owned(), cells[1].clone(), cells[3].clone())
        })
        .collect()
}

#[test]
fn rights_are_those_that_the_guide_gives_reasons_for() {
    assert_eq!(rights("deploy"), told_rights(&["deploy/"]));
    assert_eq!(
        rights("deploy/secrets"),
        told_rights(&["deploy/", "deploy/secrets"])
    );
    assert_eq!(rights("deploy/openshift"), told_rights(&["deploy/"]));
}

#[test]
fn only_the_secrets_installation_reads_secrets_and_none_writes_contents() {
    for (folder, reads) in [
        ("deploy", false),
        ("deploy/openshift", false),
        ("deploy/secrets", true),
    ] {
        let rights = rights(folder);
        let any = |name: &str| rights.iter().any(|(_, resource, _)| resource == name);
        assert_eq!(any("secrets"), reads, "{folder}");
        for (group, resource, verbs) in &rights {
            let wild = format!("{group} {resource} {verbs}").contains('*');
            assert!(!wild, "{folder}: {resource} has a wildcard");
            let verbs: BTreeSet<_> = verbs.split(", ").collect();
            let fit = match resource.as_str() {
                "events" => BTreeSet::from(["create", "patch"]),
                // One, by its name, once.
                "nodes" => BTreeSet::from(["get"]),
                _ => BTreeSet::from(["list", "watch"]),
            };
            assert_eq!(verbs, fit, "{folder}: {resource}");
        }
    }
}

#[test]
fn every_role_is_bound_to_the_one_account() {
    for folder in ["deploy", "deploy/secrets", "deploy/openshift"] {
        let all: Vec<Value> = kustomized(folder).iter().flat_map(documents).collect();
        let of = |kind: &'static str| all.iter().filter(move |d| d["kind"] == kind);
        let account = of("ServiceAccount").next().expect("has an account");
        let account = &account["metadata"];
        assert_eq!(
            account["name"],
            pod().service_account_name.expect("is named").as_str()
        );
        for role in of("ClusterRole") {
            let bound = of("ClusterRoleBinding")
                .any(|binding| binding["roleRef"]["name"] == role["metadata"]["name"]);
            assert!(
                bound,
                "{folder}: {} is bound to nobody",
                role["metadata"]["name"]
            );
        }
        for binding in of("ClusterRoleBinding").chain(of("RoleBinding")) {
            let subjects = binding["subjects"].as_array().expect("has subjects");
            assert_eq!(subjects.len(), 1, "{folder}");
            assert_eq!(subjects[0]["name"], account["name"], "{folder}");
            assert_eq!(subjects[0]["namespace"], account["namespace"], "{folder}");
        }
        let namespace = of("Namespace").next().expect("makes its namespace");
        assert_eq!(namespace["metadata"]["name"], account["namespace"]);
        let daemon = of("DaemonSet").next().expect("has the plugin");
        assert_eq!(daemon["metadata"]["namespace"], account["namespace"]);
    }
}

#[test]
fn the_program_takes_the_daemon_sets_arguments() {
    let container = container();
    let run = |args: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livemount"));
        let output = command.args(args).output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        let said = String::from_utf8(output.stdout).expect("is text");
        // Lines are broken where the terminal ends.
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // An argument that is wrong is told before the help is.
    let mut args = container.args.expect("has arguments");
    args.push("--help".into());
    let help = run(&args);
    for option in options().keys() {
        assert!(help.contains(option.as_str()), "{option} is no option");
    }
    let (hand, keeper) = hand_and_keeper();
    for container in [&hand, &keeper] {
        let mut args = container.args.clone().expect("has arguments");
        args.push("--help".into());
        let help = run(&args);
        for (option, _) in command(container).1 {
            assert!(help.contains(option.as_str()), "{option} is no option");
        }
    }
    let mut variables: BTreeSet<String> = container
        .env
        .unwrap_or_default()
        .into_iter()
        .map(|variable| variable.name)
        .collect();
    for line in text("deploy/openshift/kustomization.yaml").lines() {
        let named = line.split_once("name: LIVEMOUNT_").map(|(_, name)| name);
        variables.extend(named.map(|name| format!("LIVEMOUNT_{}", name.trim())));
    }
    variables.extend(words(&text(GUIDE), "LIVEMOUNT_"));
    assert!(variables.len() > 3, "{variables:?}");
    for variable in variables {
        let told = help.contains(&format!("[env: {variable}="));
        assert!(told, "{variable} is no option's variable");
    }
}

#[test]
fn the_folders_are_the_same_for_the_kubelet_and_for_the_plugin() {
    let options = options();
    let driver: CSIDriver = only("deploy/base", "CSIDriver");
    let driver = driver.metadata.name.expect("has a name");
    let kubelet = &options["--kubelet-dir"];

    // Mounts are the hand's alone, at the same paths as the plugin and the kubelet have them.
    let (keeping, own) = (pod_of(SETS[1]), pod());
    let (hand, keeper) = hand_and_keeper();
    let pods = format!("{kubelet}/pods");
    let propagates = |way: &str| (pods.clone(), Some(way.to_owned()));
    assert_eq!(host(&keeping, &hand, &pods), propagates("Bidirectional"));
    assert_eq!(
        host(&own, &container(), &pods),
        propagates("HostToContainer")
    );
    let roots: BTreeSet<String> = command(&hand)
        .1
        .into_iter()
        .filter_map(|(option, value)| (option == "--root").then_some(value))
        .collect();
    let socket = Path::new(&options["--csi-socket"]);
    let folder = socket.parent().and_then(Path::to_str).expect("is a path");
    assert_eq!(roots, BTreeSet::from([pods.clone(), folder.to_owned()]));
    assert_eq!(
        host(&keeping, &hand, folder),
        host(&own, &container(), folder)
    );

    // All three meet in one folder, which nobody makes for others to see.
    let meeting = Path::new(&options["--keeper"]);
    let place = meeting.parent().and_then(Path::to_str).expect("is a path");
    for (pod, container) in [(&keeping, &hand), (&keeping, &keeper), (&own, &container())] {
        assert_eq!(
            host(pod, container, place),
            ("/run/livemount".to_owned(), None)
        );
    }
    for container in [&hand, &keeper] {
        let dir = ("--dir".to_owned(), options["--keeper"].clone());
        assert!(command(container).1.contains(&dir), "{container:?}");
    }
    assert!(meeting.ends_with(&driver), "two drivers meet apart");

    let name = socket.file_name().and_then(|name| name.to_str());
    let (plugin, propagation) = host(&own, &container(), folder);
    assert_eq!(propagation, None, "mounts go to the pods alone");
    assert_eq!(plugin, format!("{kubelet}/plugins/{driver}"));
    assert_eq!(
        options["--csi-socket-on-host"],
        format!("{plugin}/{}", name.expect("has a name"))
    );

    let (registration, propagation) = host(&own, &container(), &options["--registration-dir"]);
    assert_eq!(propagation, None);
    assert_eq!(registration, format!("{kubelet}/plugins_registry"));

    for volume in volumes(&own).values().chain(volumes(&keeping).values()) {
        let Some(host) = &volume.host_path else {
            continue;
        };
        assert!(
            host.path.starts_with(kubelet.as_str()) || host.path == "/run/livemount",
            "{} is outside",
            host.path
        );
    }
}

/// How long a probe fails before it counts.
fn patience(probe: &Probe) -> i32 {
    probe.period_seconds.unwrap_or(10) * probe.failure_threshold.unwrap_or(3)
}

#[test]
fn probes_ask_what_is_served_and_the_last_resort_is_slow() {
    let container = container();
    let ports = container.ports.expect("has a port");
    let [port] = ports.as_slice() else {
        panic!("one port: {ports:?}")
    };
    let address = &options()["--http"];
    assert!(
        address.ends_with(&format!("]:{}", port.container_port)),
        "{address}"
    );
    let path = |probe: &Option<Probe>| {
        let http = probe.as_ref().and_then(|probe| probe.http_get.clone());
        let http = http.expect("asks by HTTP");
        assert_eq!(
            http.port,
            IntOrString::String(port.name.clone().expect("is named"))
        );
        http.path.expect("asks for a path")
    };
    // Never readiness: a pod is not helped by a restart while an API server is away.
    assert_eq!(path(&container.liveness_probe), "/healthz");
    assert_eq!(path(&container.startup_probe), "/healthz");
    assert_eq!(path(&container.readiness_probe), "/readyz");
    let served = text("src/observe/http.rs");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(
            served.contains(&format!("\"{path}\"")),
            "{path} is not served"
        );
    }
    let liveness = container.liveness_probe.expect("is there");
    assert!(patience(&liveness) >= 120, "the watchdog comes first");
    assert!(liveness.timeout_seconds.unwrap_or(1) >= 5);

    let annotations = set(SETS[0]).template.metadata;
    let annotations = annotations
        .and_then(|meta| meta.annotations)
        .expect("are there");
    assert_eq!(
        annotations["prometheus.io/port"],
        port.container_port.to_string()
    );
    assert_eq!(annotations["prometheus.io/path"], "/metrics");
}

#[test]
fn both_are_rolled_and_what_is_held_is_held_all_the_time() {
    let rolling = |file: &str| {
        let strategy = set(file).update_strategy.expect("has a strategy");
        assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"), "{file}");
        let rolling = strategy.rolling_update.expect("says how");
        (rolling.max_surge, rolling.max_unavailable)
    };
    let number = |number| Some(IntOrString::Int(number));
    assert_eq!(rolling(SETS[0]), (None, number(1)));
    // The new keeper first; the old one must not take everything back because it is started again.
    assert_eq!(rolling(SETS[1]), (number(1), number(0)));
    let (hand, keeper) = hand_and_keeper();
    let has = |container: &Container, option: &str| {
        let options = command(container).1;
        options.iter().any(|(name, _)| name == option)
    };
    assert!(has(&keeper, "--stand-by") && has(&keeper, "--no-hand"));
    // A sidecar ends after the keeper, which may have to wait for a daemon that needs a hand.
    assert_eq!(hand.restart_policy.as_deref(), Some("Always"));
    assert!(has(&hand, "--leave-dead"));
    let grace = |file| pod_of(file).termination_grace_period_seconds;
    assert!(
        grace(SETS[1]).is_some_and(|seconds| seconds >= 1800),
        "somebody has to notice"
    );
    assert!(
        grace(SETS[0]).is_some_and(|seconds| seconds >= 300),
        "a keeper has to be pulled"
    );
}

#[test]
fn both_are_on_every_node_and_are_let_live() {
    for file in SETS {
        let pod = pod_of(file);
        assert_eq!(
            pod.priority_class_name.as_deref(),
            Some("system-node-critical"),
            "{file}"
        );
        let everywhere = pod
            .tolerations
            .expect("tolerates")
            .iter()
            .any(|toleration| {
                toleration.operator.as_deref() == Some("Exists") && toleration.key.is_none()
            });
        assert!(everywhere, "{file}");
        let inits = pod.init_containers.unwrap_or_default();
        for container in inits.iter().chain(&pod.containers) {
            let resources = container.resources.as_ref().expect("has resources");
            assert_eq!(resources.limits, None, "a content could hit it");
            let requests = resources.requests.as_ref().expect("requests");
            assert!(requests.contains_key("memory"), "{file}");
        }
    }
}

#[test]
fn the_hand_alone_is_privileged() {
    let (hand, keeper) = hand_and_keeper();
    let context = hand.security_context.expect("has one");
    assert_eq!(context.read_only_root_filesystem, Some(true));
    // Demanded by Bidirectional, which another test demands.
    assert_eq!(context.privileged, Some(true));
    for container in [keeper, container()] {
        let name = &container.name;
        let context = container.security_context.expect("has one");
        assert_eq!(context.privileged, None, "{name}");
        assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
        assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
        let capabilities = context.capabilities.expect("says so");
        assert_eq!(capabilities.add, None, "{name}");
        assert_eq!(capabilities.drop, Some(vec!["ALL".into()]), "{name}");
        let seccomp = context.seccomp_profile.expect("has one");
        assert_eq!(seccomp.type_, "RuntimeDefault", "{name}");
        let mounts = container.volume_mounts.expect("has mounts");
        let both = |way: &Option<String>| way.as_deref() == Some("Bidirectional");
        assert!(
            !mounts.iter().any(|mount| both(&mount.mount_propagation)),
            "{name}"
        );
        // The keeper hears its own user alone.
        assert_eq!(context.run_as_user, Some(0), "{name}");
    }
    for file in SETS {
        let pod = pod_of(file);
        assert_eq!(pod.host_network.or(pod.host_ipc), None, "{file}");
        assert_eq!(pod.share_process_namespace, None, "{file}");
    }
    assert_eq!(pod().host_pid, None);
    let keeping = pod_of(SETS[1]);
    assert_eq!(keeping.host_pid, Some(true), "it sees to daemons' ends");
    assert_eq!(keeping.automount_service_account_token, Some(false));
}

#[test]
fn the_driver_is_what_the_kubelet_needs_for_inline_volumes() {
    let driver: CSIDriver = only("deploy/base", "CSIDriver");
    let spec = driver.spec;
    assert_eq!(spec.attach_required, Some(false));
    assert_eq!(
        spec.pod_info_on_mount,
        Some(true),
        "promised: own namespace only"
    );
    assert_eq!(spec.volume_lifecycle_modes, Some(vec!["Ephemeral".into()]));
    assert_eq!(spec.fs_group_policy.as_deref(), Some("None"));
    assert_eq!(spec.requires_republish, Some(true), "the second net");
    let name = driver.metadata.name.expect("has a name");
    for (file, volume) in examples() {
        if let Some(csi) = volume.csi {
            assert_eq!(csi.driver, name, "{}", file.display());
        }
    }
    assert!(text(GUIDE).contains(&name));
}

#[test]
fn versions_and_names_of_the_image_agree() {
    let version = env!("CARGO_PKG_VERSION");
    let base = &documents("deploy/base/kustomization.yaml")[0];
    let image = &base["images"][0];
    assert_eq!(image["newTag"], version);
    assert_eq!(
        image["name"],
        container().image.expect("has an image").as_str()
    );

    let docker = text("Dockerfile");
    assert!(docker.contains(&format!("image.version=\"{version}\"")));
    assert!(docker.contains(&format!("docker build -t livemount:{version} .")));
    let command = container().command.expect("has a command");
    assert!(
        docker.contains(&format!("ENTRYPOINT {command:?}")),
        "{command:?}"
    );
    let copied = format!("COPY --from=build /out/livemount {}\n", command[0]);
    assert!(docker.contains(&copied));

    let needed = env!("CARGO_PKG_RUST_VERSION");
    let builder = docker
        .lines()
        .find_map(|line| line.strip_prefix("FROM rust:"))
        .and_then(|rest| rest.split(' ').next())
        .expect("has a builder");
    assert!(
        order(builder) >= order(needed),
        "{builder} is older than {needed}"
    );
}

/// A version as numbers, to be compared.
fn order(version: &str) -> Vec<u32> {
    let parts = version.split(['.', '-']);
    parts.map_while(|part| part.parse().ok()).collect()
}

#[test]
fn the_image_is_built_from_every_member_and_from_no_secret_place() {
    let cargo = text("Cargo.toml");
    let members = cargo
        .lines()
        .find_map(|line| line.strip_prefix("members = ["))
        .and_then(|rest| rest.strip_suffix(']'))
        .expect("Cargo.toml lists members in one line");
    let members = members.split(", ").map(|member| member.trim_matches('"'));
    let needed = members.chain(["src", "benches", "Cargo.toml", "Cargo.lock"]);
    let ignored = text(".dockerignore");
    let ignored: Vec<&str> = ignored
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    for path in needed {
        let folder = path.split('/').next().unwrap_or(path);
        assert!(root().join(path).exists(), "{path} has moved");
        let lost = ignored.iter().any(|line| [path, folder].contains(line));
        assert!(!lost, "{path} is ignored, and cargo wants it");
    }
    for heavy in [".git", "**/target"] {
        assert!(
            ignored.contains(&heavy),
            "{heavy} would be sent to the builder"
        );
    }
}

#[test]
fn no_image_names_a_registry() {
    let mut images: Vec<String> = Vec::new();
    for file in files("deploy").iter().chain(&files("examples")) {
        let text = text(file);
        let named = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("image: "));
        images.extend(named.map(str::to_owned));
        images.extend(
            text.lines()
                .filter_map(|l| l.trim().strip_prefix("newName: "))
                .map(str::to_owned),
        );
    }
    let docker = text("Dockerfile");
    let from = docker.lines().filter_map(|line| line.strip_prefix("FROM "));
    images.extend(from.map(|rest| rest.split(' ').next().unwrap_or(rest).to_owned()));
    assert!(images.len() > 7, "{images:?}");
    for image in images {
        let host = image.split_once('/').map(|(host, _)| host);
        let named = host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost");
        assert!(!named, "{image} names a registry");
    }
}

#[test]
fn the_parser_takes_every_examples_attributes() {
    use livemount::source::kube::ORIGIN;
    use livemount::volume_source::{Scope, VolumeSourceType, parse_volume_source};
    let scope = Scope {
        origin: &ORIGIN,
        namespace: "default",
        pod: Some("pod"),
    };
    let mut parsed = 0;
    for (file, volume) in examples() {
        let attributes = volume.csi.and_then(|csi| csi.volume_attributes);
        let attributes = attributes.unwrap_or_else(|| panic!("{}: has none", file.display()));
        for (name, value) in attributes {
            let source_type = match name.as_str() {
                "configMap" => VolumeSourceType::ConfigMap,
                "secret" => VolumeSourceType::Secret,
                "projected" => VolumeSourceType::Projected,
                _ => panic!("{}: {name}", file.display()),
            };
            if value.contains(':') {
                parse_volume_source(&file, source_type, value.as_bytes(), scope)
                    .unwrap_or_else(|error| panic!("{error}"));
            }
            parsed += 1;
        }
    }
    assert!(parsed >= 5, "{parsed}");
}

#[test]
fn an_example_mounts_what_it_makes() {
    for (file, volume) in examples() {
        let names: Vec<String> = documents(&file)
            .iter()
            .filter(|document| document["kind"] == "ConfigMap" || document["kind"] == "Secret")
            .filter_map(|document| document["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        let csi = volume.csi.expect("is inline");
        let attributes = csi.volume_attributes.expect("has attributes");
        for name in names {
            let used = attributes.values().any(|value| value.contains(&name));
            assert!(used, "{}: {name} is not mounted", file.display());
        }
        // Who follows its comment must find what it names.
        let path = file.to_str().expect("is text");
        let comment = text(&file);
        assert!(
            comment.contains(&format!("kubectl apply -f {path}\n")),
            "{path}"
        );
        assert!(
            comment.contains("\n# Expect"),
            "{path} does not say what to expect"
        );
    }
}

/// The guide's words that begin like this, up to the first sign that no name has.
fn words(text: &str, begin: &str) -> BTreeSet<String> {
    text.match_indices(begin)
        .map(|(at, _)| &text[at..])
        .map(|rest| {
            let name = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            rest.split(name).next().unwrap_or(rest).to_owned()
        })
        .collect()
}

#[test]
fn the_guide_speaks_of_metrics_and_events_that_there_are() {
    let guide = text(GUIDE);
    let metrics = words(&text("docs/METRICS.md"), "livemount_");
    let spoken = words(&guide, "livemount_");
    assert!(spoken.len() > 7, "{spoken:?}");
    let unknown: Vec<_> = spoken.difference(&metrics).collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");

    // What is told is what the plugin makes an event of, whatever other events there could be.
    let rooms = ["src/node", "src/volumes"];
    let plugin = rooms.into_iter().flat_map(|room| files_of(room, "rs"));
    let plugin: String = plugin.map(text).collect();
    let mut told = 0;
    for (event, reason) in headings() {
        let tells = plugin.contains(&format!("PodEvent::{event} {{"));
        told += usize::from(tells);
        let helps = guide.contains(&format!("`{reason}`"));
        assert_eq!(
            tells, helps,
            "{reason}: is it told, and what is to be done?"
        );
    }
    assert!(told > 3, "the plugin tells {told} events");
}

/// Each event that could be told, and the reason that its Event has.
fn headings() -> Vec<(String, String)> {
    let events = text("src/observe/events/pod_event.rs");
    let headings: Vec<_> = events
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => ("))
        .filter_map(|(event, heading)| {
            let event = event.split(' ').next()?;
            let reason = heading.split('"').nth(1)?;
            Some((event.to_owned(), reason.to_owned()))
        })
        .collect();
    assert!(headings.len() > 4, "{headings:?}");
    headings
}

#[test]
fn the_guide_and_the_files_name_the_socket_in_which_the_kubelet_finds_the_plugin() {
    let driver: CSIDriver = only("deploy/base", "CSIDriver");
    let driver = driver.metadata.name.expect("has a name");
    let format = text("src/node/listen.rs");
    let (_, format) = format
        .split_once("fn registration_name")
        .expect("the socket has a name");
    let format = format.split('"').nth(1).expect("is a format");
    let name = format.replace("{driver}", &driver);
    for file in [GUIDE, "deploy/base/daemonset.yaml"] {
        assert!(text(file).contains(&name), "{file} does not name {name}");
    }
}

#[test]
fn times_that_the_files_tell_are_those_of_the_program() {
    let node = text("src/node/plugin.rs");
    let grace = text("src/node/listen.rs");
    assert!(node.contains("TURN: Duration = Duration::from_secs(30);"));
    assert!(text(GUIDE).contains("come round in the last 30 s"));
    assert!(grace.contains("GRACE: Duration = Duration::from_secs(5);"));
    assert!(text(GUIDE).contains("calls that are under way have 5 s"));
    // The kubelet kills later than the plugin ends by itself.
    assert!(pod().termination_grace_period_seconds.unwrap_or(30) >= 15);
}

#[test]
fn the_guide_names_files_that_are_there() {
    let guide = text(GUIDE);
    let words = guide.split(|c: char| c.is_whitespace() || "`()|,;:".contains(c));
    let mut found = 0;
    for word in words {
        let word = word.trim_end_matches('.');
        let ours = ["deploy/", "examples/", "docs/", "tests/"];
        if ours.iter().any(|folder| word.starts_with(folder)) {
            assert!(root().join(word).exists(), "the guide names {word}");
            found += 1;
        }
    }
    assert!(found > 5, "the guide names no files any more");
}

/// The units of deploy/systemd: what they run, without what systemd puts in.
#[test]
fn the_program_takes_the_units_arguments() {
    let mut commands = BTreeSet::new();
    for file in files_of("deploy/systemd", "service") {
        let unit = text(&file);
        let start = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/livemount "))
            .expect("starts the program");
        let mut words = start.split(' ');
        let command = words.next().expect("has a command");
        let output = Command::new(env!("CARGO_BIN_EXE_livemount"))
            .args([command, "--help"])
            .output()
            .expect("runs");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let kept = unit.lines().filter_map(|line| line.split_once("KEPT="));
        let options = words.chain(kept.map(|(_, option)| option));
        for option in options.filter(|word| word.starts_with("--")) {
            let option = option.split('=').next().unwrap_or(option);
            // Of the keeper's own unit this is the other one's.
            let of_mount = file.ends_with("livemount-keep@.service") && option == "--keeper";
            assert!(
                of_mount || help.contains(option),
                "{}: {option}",
                file.display()
            );
        }
        commands.insert(command.to_owned());
        let name = file.file_stem().and_then(|name| name.to_str());
        assert!(
            text(GUIDE).contains(name.expect("is text")),
            "the guide names it"
        );
        // A second mount namespace would keep its mounts from everybody.
        for setting in ["PrivateTmp=", "ProtectSystem=", "PrivateMounts="] {
            let set = unit.lines().any(|line| line.starts_with(setting));
            assert!(!set, "{}: {setting}", file.display());
        }
    }
    assert_eq!(commands.len(), 3);
    let served = text("deploy/systemd/livemount@.service");
    for needed in [
        "Type=notify\n",
        "FileDescriptorStoreMax=",
        "FileDescriptorStorePreserve=yes\n",
        "KillMode=mixed\n",
        "WatchdogSec=",
        "CapabilityBoundingSet=\n",
    ] {
        assert!(served.contains(needed), "{needed}");
    }
}
