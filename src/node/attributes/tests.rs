//! Good and bad calls, each a line; and that no sentence shows what stands under a key.

use std::time::Duration;

use livemount_csi::v1::VolumeCapability;
use livemount_csi::v1::volume_capability::{AccessMode, BlockVolume};
use livemount_engine::object::{Kind, ObjectKey};
use livemount_engine::spec::Spec;

use super::*;
use crate::node::grpc;
use crate::publish::Compat;

const UID: &str = "0c3b8a5e-7f0f-4f3e-9d62-5a4f6f9b8f10";

fn rules() -> Rules {
    Rules::new("/var/lib/kubelet/pods".into(), Settings::default())
}

fn target(uid: &str) -> String {
    format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/config/mount")
}

/// As the kubelet makes it for `csi: {driver: …, volumeAttributes: attributes}`.
fn request(attributes: &[(&str, &str)]) -> NodePublishVolumeRequest {
    let podinfo = [
        ("csi.storage.k8s.io/pod.name", "app-1"),
        ("csi.storage.k8s.io/pod.namespace", "shop"),
        ("csi.storage.k8s.io/pod.uid", UID),
        ("csi.storage.k8s.io/serviceAccount.name", "default"),
        ("csi.storage.k8s.io/ephemeral", "true"),
    ];
    NodePublishVolumeRequest {
        volume_id: "csi-1".into(),
        target_path: target(UID),
        volume_capability: Some(VolumeCapability {
            access_type: Some(AccessType::Mount(MountVolume::default())),
            access_mode: Some(AccessMode { mode: 1 }),
        }),
        volume_context: attributes
            .iter()
            .chain(&podinfo)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..NodePublishVolumeRequest::default()
    }
}

fn requested(attributes: &[(&str, &str)]) -> PublishRequest {
    rules()
        .publish_request(request(attributes))
        .unwrap_or_else(|error| panic!("{attributes:?}: {error}"))
}

/// The sentence against a call; every refusal here is INVALID_ARGUMENT.
fn refused(request: NodePublishVolumeRequest) -> String {
    let error = rules()
        .publish_request(request)
        .expect_err("it must be refused");
    assert_eq!(grpc::status(&error).code(), tonic::Code::InvalidArgument);
    error.to_string()
}

fn source(request: &PublishRequest) -> String {
    let sources = request.spec.sources.iter();
    let words: Vec<String> = sources.map(|source| source.object.to_string()).collect();
    words.join(", ")
}

#[test]
fn a_name_is_the_whole_object_of_the_pods_namespace() {
    let told = requested(&[("configMap", "app-config")]);
    assert_eq!(told.id, "csi-1");
    assert_eq!(told.target, Path::new(&target(UID)));
    assert_eq!(told.name, "config");
    assert_eq!(
        (&*told.pod.namespace, &*told.pod.name, &*told.pod.uid),
        ("shop", "app-1", UID)
    );
    let whole = |kind| {
        Spec::of_object(ObjectKey {
            kind,
            namespace: "shop".into(),
            name: "app-config".into(),
            origin: crate::source::kube::ORIGIN,
        })
    };
    assert_eq!(told.spec, whole(Kind::ConfigMap));
    assert_eq!(
        requested(&[("secret", "app-config")]).spec,
        whole(Kind::Secret)
    );
    // As a block scalar leaves it.
    assert_eq!(
        requested(&[("configMap", "app-config\n")]).spec,
        whole(Kind::ConfigMap)
    );
    // Names that YAML reads as something else.
    for name in ["12", "true", "null", "1e3", "0x1f"] {
        assert_eq!(
            source(&requested(&[("configMap", name)])),
            format!("ConfigMap shop/{name}")
        );
    }
}

#[test]
fn a_mapping_is_the_volume_source_of_a_pod_spec() {
    let told = requested(&[(
        "configMap",
        "name: app\ndefaultMode: 0400\noptional: true\nitems: [{key: a, path: x/a, mode: 0444}]",
    )]);
    let [only] = &told.spec.sources[..] else {
        panic!("one object");
    };
    assert!(only.optional);
    assert_eq!(only.items[0].path.as_str(), "x/a");
    assert_eq!(told.spec.default_mode.bits(), 0o400);
    // JSON is YAML.
    let told = requested(&[("secret", r#"{"secretName": "db"}"#)]);
    assert_eq!(source(&told), "Secret shop/db");
    let told = requested(&[(
        "projected",
        "sources:\n- configMap: {name: a}\n- secret: {name: b}\n",
    )]);
    assert_eq!(source(&told), "ConfigMap shop/a, Secret shop/b");
}

#[test]
fn the_namespace_is_the_pods_whatever_else_is_said() {
    for attributes in [
        &[
            ("configMap", "a"),
            ("csi.storage.k8s.io/namespace", "kube-system"),
        ][..],
        &[
            ("configMap", "a"),
            ("csi.storage.k8s.io/pod.namespace ", "kube-system"),
        ],
    ] {
        assert_eq!(source(&requested(attributes)), "ConfigMap shop/a");
    }
    for attribute in ["name: a\nnamespace: kube-system", "kube-system/a"] {
        refused(request(&[("configMap", attribute)]));
    }
}

#[test]
fn settings_change_by_what_is_said() {
    let plain = Settings::default();
    let told = requested(&[("configMap", "a")]).settings;
    assert_eq!((told.drain, told.compat), (plain.drain, Compat::None));
    let told = requested(&[("configMap", "a"), ("compat", "dotdata")]).settings;
    assert_eq!((told.drain, told.compat), (plain.drain, Compat::Dotdata));
    for (text, drain) in [
        ("0", 0),
        ("40", 40),
        ("250ms", 250),
        ("1s", 1000),
        ("10s", 10_000),
        ("10000", 10_000),
    ] {
        let told = requested(&[("configMap", "a"), ("drain", text)]).settings;
        assert_eq!(told.drain, Duration::from_millis(drain), "{text}");
    }
    for text in [
        "",
        "-1",
        "+1",
        "s",
        "ms",
        "1 s",
        "1.5s",
        "1m",
        "10001",
        "11s",
        "99999999999999999999",
        "4294967296s",
        "4294967297ms",
    ] {
        let error = refused(request(&[("configMap", "a"), ("drain", text)]));
        assert!(
            error.starts_with("volumeAttributes: drain: "),
            "{text}: {error}"
        );
    }
}

#[test]
fn mountpoints_are_paths_in_the_volume() {
    let paths = |text| {
        let told = requested(&[("configMap", "a"), ("mountpoints", text)]);
        let paths = told.spec.mountpoints.iter();
        paths.map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(paths("a,b/c"), "a b/c");
    assert_eq!(paths(" b/c/ , a , b//c\n"), "a b/c");
    let long = format!("{}a", "a,".repeat(9000));
    for (text, why) in [
        ("a,,b", "mountpoint 2: "),
        ("/a", "mountpoint 1: "),
        ("a/../b", "mountpoint 1: "),
        (&long, "mountpoints: it has more than 16384 bytes"),
    ] {
        let error = refused(request(&[("configMap", "a"), ("mountpoints", text)]));
        let begin = format!("volumeAttributes: {why}");
        assert!(error.starts_with(&begin), "{error}");
    }
}

#[test]
fn what_a_group_means_and_what_cannot_be_had() {
    let with = |mount: MountVolume| {
        let mut request = request(&[("configMap", "a")]);
        request.volume_capability = Some(VolumeCapability {
            access_type: Some(AccessType::Mount(mount)),
            access_mode: None,
        });
        request
    };
    let group = |text: &str| MountVolume {
        volume_mount_group: text.into(),
        ..MountVolume::default()
    };
    for (text, gid) in [
        ("", None),
        ("0", Some(0)),
        ("2147483647", Some(2_147_483_647)),
    ] {
        let told = rules().publish_request(with(group(text))).expect("a group");
        assert_eq!(told.spec.fs_group, gid);
    }
    for text in ["2147483648", "-1", "staff", " 1"] {
        let error = refused(with(group(text)));
        assert_eq!(error, "volume_mount_group is not the number of a group");
    }
    let error = refused(with(MountVolume {
        fs_type: "ext4".into(),
        ..MountVolume::default()
    }));
    assert!(error.starts_with("fsType cannot be chosen"), "{error}");
    let error = refused(with(MountVolume {
        mount_flags: vec!["noexec".into()],
        ..MountVolume::default()
    }));
    assert_eq!(error, "mount options are not taken");
    for (access_type, why) in [
        (
            Some(AccessType::Block(BlockVolume {})),
            "a volume of files is no block device",
        ),
        (None, "volume_capability.mount is missing"),
    ] {
        let mut request = request(&[("configMap", "a")]);
        request.volume_capability = Some(VolumeCapability {
            access_type,
            access_mode: None,
        });
        assert_eq!(refused(request), why);
    }
}

#[test]
fn read_only_or_not_is_all_the_same() {
    let both = [true, false].map(|readonly| {
        let mut request = request(&[("configMap", "a")]);
        request.readonly = readonly;
        rules()
            .publish_request(request)
            .expect("both are taken")
            .spec
    });
    assert_eq!(both[0], both[1]);
}

#[test]
fn what_is_missing_is_told_in_csi_sanitys_order() {
    let mut request = NodePublishVolumeRequest::default();
    assert_eq!(refused(request.clone()), "volume_id is missing");
    request.volume_id = "fake-vol-id-1".into();
    assert_eq!(refused(request.clone()), "target_path is missing");
    request.target_path = "/elsewhere".into();
    assert_eq!(refused(request), "volume_capability is missing");

    let unpublish = |id: &str, path: &str| {
        unpublish_request(NodeUnpublishVolumeRequest {
            volume_id: id.into(),
            target_path: path.into(),
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(unpublish("", "/t"), Err("volume_id is missing".into()));
    assert_eq!(unpublish("v", ""), Err("target_path is missing".into()));
    assert_eq!(unpublish("v", "/t"), Ok(("v".into(), "/t".into())));

    let stats = |id: &str, path: &str| {
        stats_request(NodeGetVolumeStatsRequest {
            volume_id: id.into(),
            volume_path: path.into(),
            staging_target_path: String::new(),
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(stats("", "/t"), Err("volume_id is missing".into()));
    assert_eq!(stats("v", ""), Err("volume_path is missing".into()));
    assert_eq!(
        stats("v", "some/path"),
        Ok(("v".into(), "some/path".into()))
    );
}

#[test]
fn only_a_kubelet_that_tells_about_the_pod_is_believed() {
    let with = |change: &dyn Fn(&mut BTreeMap<String, String>)| {
        let mut request = request(&[("configMap", "a")]);
        change(&mut request.volume_context);
        refused(request)
    };
    for key in ["pod.name", "pod.namespace", "pod.uid", "ephemeral"] {
        let error = with(&|context| {
            context.remove(&format!("{KUBELETS}{key}"));
        });
        assert!(error.contains("podInfoOnMount: true"), "{error}");
    }
    for (key, value) in [
        ("ephemeral", "false"),
        ("ephemeral", "True"),
        // A forged context looks whole, but nobody knows the uid in advance.
        ("pod.uid", "11111111-7f0f-4f3e-9d62-5a4f6f9b8f10"),
        ("pod.uid", ""),
        ("pod.namespace", "kube-system/../shop"),
        ("pod.namespace", ""),
        ("pod.name", ""),
        ("pod.name", "../x"),
    ] {
        let error = with(&|context| {
            context.insert(format!("{KUBELETS}{key}"), value.into());
        });
        assert!(error.contains("podInfoOnMount: true"), "{error}");
    }
}

#[test]
fn a_target_is_that_of_a_pods_csi_volume() {
    for path in [
        "/tmp/target".to_owned(),
        "relative".into(),
        format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/config"),
        format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/config/mount/deeper"),
        format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/config/mount/.."),
        format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/../mount"),
        format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~secret/config/mount"),
        format!("/var/lib/kubelet/pods/{UID}/elsewhere/kubernetes.io~csi/config/mount"),
        format!("/var/lib/kubelet/pods/../pods/{UID}/volumes/kubernetes.io~csi/config/mount"),
        format!("/var/lib/kubelet/{UID}/volumes/kubernetes.io~csi/config/mount"),
        format!("/var/lib/kubelet2/pods/{UID}/volumes/kubernetes.io~csi/config/mount"),
    ] {
        let mut request = request(&[("configMap", "a")]);
        request.target_path.clone_from(&path);
        let error = refused(request);
        assert!(error.starts_with("target_path is not"), "{path}: {error}");
    }
    // Another pod's folder.
    let mut request = request(&[("configMap", "a")]);
    request.target_path = target("11111111-7f0f-4f3e-9d62-5a4f6f9b8f10");
    assert!(refused(request).contains("pod.uid is not the pod"));
}

#[test]
fn a_wrong_attribute_is_named_and_its_value_is_not() {
    let long = "k".repeat(500);
    let cut = format!("{:?} is unknown", format!("{}…", "k".repeat(64)));
    let both = "not several";
    let needed = "one of configMap, secret and projected is needed";
    for (attributes, why) in [
        (&[][..], needed),
        (&[("drain", "1s")], needed),
        (&[("configMap", "s3cr3t"), ("secret", "s3cr3t")], both),
        (
            &[("configMap", "s3cr3t"), ("projected", "sources: []")],
            both,
        ),
        (
            &[("configMap", "a"), ("reeds", "s3cr3t")],
            "\"reeds\" is unknown",
        ),
        (
            &[("configMap", "a"), ("configmap", "s3cr3t")],
            "\"configmap\" is unknown",
        ),
        (&[("configMap", "a"), (&long, "s3cr3t")], &cut),
        (
            &[("configMap", "a"), ("a\nb", "s3cr3t")],
            "\"a\\nb\" is unknown",
        ),
        (
            &[("configMap", "a"), ("compat", "s3cr3t")],
            "compat: unknown; there is dotdata",
        ),
        (&[("configMap", "a"), ("drain", "s3cr3t")], "drain: "),
        (
            &[("configMap", "a"), ("mountpoints", "/s3cr3t")],
            "mountpoint 1: ",
        ),
        (
            &[("configMap", "S3cr3t_s3cr3t")],
            "configMap: neither a volume source",
        ),
        (&[("configMap", "")], "configMap: neither a volume source"),
        (&[("secret", "[s3cr3t]")], "secret: neither a volume source"),
        (&[("configMap", "s3cr3t: [")], "configMap:"),
        (&[("configMap", "s3cr3t: a")], "configMap:1: "),
        (
            &[("configMap", "name: a\nitems: s3cr3t")],
            "configMap:2: configMap.items must",
        ),
        (
            &[("projected", "s3cr3t")],
            "projected: it takes a volume source",
        ),
        (&[("projected", "sources: s3cr3t")], "projected:1: "),
    ] {
        let error = refused(request(attributes));
        let said = error.strip_prefix("volumeAttributes: ");
        let said = said.unwrap_or_else(|| panic!("{error}"));
        assert!(said.contains(why), "{attributes:?}: {error}");
        assert!(!error.contains("s3cr3t"), "{error}");
        assert!(error.len() < 500, "{error}");
    }
}
