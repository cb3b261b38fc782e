//! deploy/, examples/, the Dockerfile and docs/OPERATIONS.md, held against each other and against the
//! program: what they promise together is said in several files, and no compiler reads them.
//!
//! That a real API server and a kubelet take these very files is tested in a cluster.

mod manifest;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Probe, Volume};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::CSIDriver;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use manifest::{documents, files, files_of, judge, kustomized, only, root, text};
use serde_json::Value;

const GUIDE: &str = "docs/OPERATIONS.md";

/// The DaemonSet's pod.
fn pod() -> PodSpec {
    let daemon: DaemonSet = only("deploy/base", "DaemonSet");
    let spec = daemon.spec.expect("has a spec");
    spec.template.spec.expect("its pod has a spec")
}

/// Its one container.
fn container() -> Container {
    let mut containers = pod().containers;
    assert_eq!(
        containers.len(),
        1,
        "shareProcessNamespace shares with none"
    );
    containers.remove(0)
}

/// The container's options.
fn options() -> BTreeMap<String, String> {
    let args = container().args.expect("has arguments");
    assert_eq!(args.first().map(String::as_str), Some("node"));
    args.iter()
        .skip(1)
        .map(|arg| arg.split_once('=').expect("is written --option=value"))
        .map(|(option, value)| (option.to_owned(), value.to_owned()))
        .collect()
}

fn volumes() -> BTreeMap<String, Volume> {
    let volumes = pod().volumes.expect("has volumes");
    volumes.into_iter().map(|v| (v.name.clone(), v)).collect()
}

/// Where the node's folder is that lies at this place in the container, and how it propagates.
fn host(place: &str) -> (String, Option<String>) {
    let mounts = container().volume_mounts.expect("has mounts");
    let mount = mounts.iter().find(|mount| mount.mount_path == place);
    let mount = mount.unwrap_or_else(|| panic!("nothing is mounted at {place}"));
    let path = volumes()[&mount.name].host_path.clone();
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

    let pods = format!("{kubelet}/pods");
    assert_eq!(host(&pods), (pods.clone(), Some("Bidirectional".into())));

    let socket = Path::new(&options["--csi-socket"]);
    let folder = socket.parent().and_then(Path::to_str).expect("is a path");
    let name = socket.file_name().and_then(|name| name.to_str());
    let (plugin, propagation) = host(folder);
    assert_eq!(propagation, None, "mounts go to the pods alone");
    assert_eq!(plugin, format!("{kubelet}/plugins/{driver}"));
    assert_eq!(
        options["--csi-socket-on-host"],
        format!("{plugin}/{}", name.expect("has a name"))
    );

    let (registration, propagation) = host(&options["--registration-dir"]);
    assert_eq!(propagation, None);
    assert_eq!(registration, format!("{kubelet}/plugins_registry"));

    for volume in volumes().values() {
        let Some(host) = &volume.host_path else {
            continue;
        };
        assert!(
            host.path.starts_with(kubelet.as_str()),
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
    assert!(
        patience(&liveness) >= 120,
        "a restart costs the pods their files"
    );
    assert!(liveness.timeout_seconds.unwrap_or(1) >= 5);

    let daemon: DaemonSet = only("deploy/base", "DaemonSet");
    let annotations = daemon.spec.and_then(|spec| spec.template.metadata);
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
fn nothing_takes_the_plugin_from_running_pods_by_itself() {
    let daemon: DaemonSet = only("deploy/base", "DaemonSet");
    let spec = daemon.spec.expect("has a spec");
    let strategy = spec.update_strategy.and_then(|strategy| strategy.type_);
    assert_eq!(strategy.as_deref(), Some("OnDelete"));
    let pod = spec.template.spec.expect("has a spec");
    assert_eq!(
        pod.priority_class_name.as_deref(),
        Some("system-node-critical")
    );
    assert_eq!(pod.share_process_namespace, Some(true));
    assert_eq!(pod.host_network.or(pod.host_pid).or(pod.host_ipc), None);
    let everywhere = pod
        .tolerations
        .expect("tolerates")
        .iter()
        .any(|toleration| {
            toleration.operator.as_deref() == Some("Exists") && toleration.key.is_none()
        });
    assert!(everywhere);
    let container = container();
    let resources = container.resources.expect("has resources");
    assert_eq!(resources.limits, None, "a content could hit it");
    assert!(
        resources
            .requests
            .is_some_and(|some| some.contains_key("memory"))
    );
    let context = container.security_context.expect("has one");
    assert_eq!(context.read_only_root_filesystem, Some(true));
    // Demanded by Bidirectional, which another test demands.
    assert_eq!(context.privileged, Some(true));
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
    assert_eq!(spec.requires_republish, Some(false));
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
