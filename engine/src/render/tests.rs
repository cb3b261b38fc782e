//! What the kubelet does (`MakePayload`, `pkg/volume/configmap/configmap.go`), case by case on plain data.

use super::*;
use crate::downward::Divisor;
use crate::object::Kind;
use crate::sample::{KEY, config_map, object, optional, path, pod, snapshot, source, spec, tree};
use crate::spec::Mode;

/// Renders from these objects; what is not among them does not exist.
fn rendered(spec: &Spec, objects: &[Object]) -> Result<Rendered, Refusal> {
    let find = |key: &ObjectKey| objects.iter().find(|object| object.key == *key);
    render(spec, find, &KEY, None)
}

/// Every name with its contents; a folder's are `/`.
fn names(spec: &Spec, objects: &[Object]) -> Vec<(String, String)> {
    let snapshot = rendered(spec, objects).expect("renders").snapshot;
    let shown = |entry: &Entry| match entry {
        Entry::Dir { .. } => "/".to_owned(),
        Entry::File(file) => String::from_utf8_lossy(&file.bytes).into_owned(),
    };
    let names = snapshot.entries.iter();
    names
        .map(|(path, entry)| (path.to_string(), shown(entry)))
        .collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn without_items_every_key_shows_under_its_own_name() {
    let a = object("a", &[("k", "1"), (".env", "2")]);
    let spec = Spec::of_object(config_map("a"));
    assert_eq!(names(&spec, &[a]), pairs(&[(".env", "2"), ("k", "1")]));
}

#[test]
fn with_items_the_listed_keys_alone_show_at_their_paths() {
    let a = object("a", &[("k", "1"), ("other", "2")]);
    let spec = spec(vec![source("a", &[("k", "x/y/z"), ("k", "k2")])]);
    let want = pairs(&[("k2", "1"), ("x", "/"), ("x/y", "/"), ("x/y/z", "1")]);
    assert_eq!(names(&spec, &[a]), want);
}

#[test]
fn a_missing_key_refuses_unless_optional() {
    let a = object("a", &[("k", "1")]);
    let asked = source("a", &[("k", "k"), ("nope", "d/nope")]);
    let refusal = rendered(&spec(vec![asked.clone()]), std::slice::from_ref(&a));
    let refusal = refusal.expect_err("a key is missing");
    assert_eq!(
        refusal.to_string(),
        r#"ConfigMap default/a has no key "nope""#
    );
    // The folder of a key that is not there is not there either.
    assert_eq!(
        names(&spec(vec![optional(asked)]), &[a]),
        pairs(&[("k", "1")])
    );
}

#[test]
fn a_missing_object_refuses_unless_optional() {
    let b = object("b", &[("k", "1")]);
    let with = |a| spec(vec![a, source("b", &[])]);
    let refusal = rendered(&with(source("a", &[])), std::slice::from_ref(&b));
    let refusal = refusal.expect_err("an object is missing");
    assert_eq!(
        refusal,
        Refusal::Missing {
            object: config_map("a")
        }
    );
    assert_eq!(refusal.to_string(), "ConfigMap default/a does not exist");
    let spec = with(optional(source("a", &[("k", "k")])));
    assert_eq!(names(&spec, std::slice::from_ref(&b)), pairs(&[("k", "1")]));
    let objects = rendered(&spec, &[b]).expect("renders").snapshot.objects;
    assert_eq!(objects.len(), 1);
}

#[test]
fn kinds_do_not_stand_in_for_each_other() {
    let secret = ObjectKey {
        kind: Kind::Secret,
        ..config_map("a")
    };
    let spec = Spec::of_object(secret);
    assert!(rendered(&spec, &[object("a", &[])]).is_err());
}

#[test]
fn the_later_source_and_the_last_item_win_with_a_warning() {
    let a = object("a", &[("k", "a"), ("j", "j")]);
    let b = object("b", &[("k", "b")]);
    let spec = spec(vec![
        source("a", &[("k", "k"), ("k", "x"), ("j", "x")]),
        source("b", &[]),
    ]);
    let objects = [a, b];
    assert_eq!(names(&spec, &objects), pairs(&[("k", "b"), ("x", "j")]));
    let rendered = rendered(&spec, &objects).expect("renders");
    let told: Vec<_> = rendered.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            r#"path "x": key "j" of ConfigMap default/a replaces key "k" of ConfigMap default/a"#,
            r#"path "k": key "k" of ConfigMap default/b replaces key "k" of ConfigMap default/a"#,
        ]
    );
    let file = rendered.snapshot.file("k").expect("there");
    assert_eq!(rendered.snapshot.objects[file.object].key, config_map("b"));
}

#[test]
fn a_path_that_is_a_file_and_a_folder_refuses() {
    let a = object("a", &[("k", "1")]);
    for items in [[("k", "d"), ("k", "d/e/f")], [("k", "d/e/f"), ("k", "d")]] {
        let refusal = rendered(&spec(vec![source("a", &items)]), std::slice::from_ref(&a));
        let refusal = refusal.expect_err("d is both");
        assert_eq!(
            refusal,
            Refusal::FileAndFolder {
                file: path("d"),
                below: path("d/e/f")
            }
        );
        assert_eq!(
            refusal.to_string(),
            r#"path "d" is a file and cannot hold "d/e/f""#
        );
    }
    // A name that only begins alike is another name.
    let spec = spec(vec![source("a", &[("k", "d"), ("k", "d-e/f")])]);
    assert_eq!(names(&spec, &[a]).len(), 3);
}

#[test]
fn modes_are_the_kubelets() {
    let (mut spec, object) = tree(&[("d/x", "1", 0o500), ("y", "2", 0o200)]);
    spec.sources[0].items[1].mode = None;
    spec.default_mode = Mode::new(0o604).expect("legal");
    let modes = |spec: &Spec| {
        let snapshot = rendered(spec, std::slice::from_ref(&object))
            .expect("renders")
            .snapshot;
        let mode = |path| snapshot.get(path).expect("there").mode();
        (
            snapshot.root_mode,
            mode("d"),
            mode("d/x"),
            mode("y"),
            snapshot.gid,
        )
    };
    assert_eq!(modes(&spec), (0o777, 0o755, 0o500, 0o604, 0));
    spec.fs_group = Some(2000);
    assert_eq!(modes(&spec), (0o2777, 0o2755, 0o540, 0o644, 2000));
    // An fsGroup of 0 is an fsGroup.
    spec.fs_group = Some(0);
    assert_eq!(modes(&spec), (0o2777, 0o2755, 0o540, 0o644, 0));
}

#[test]
fn the_objects_version_shows_but_is_no_change() {
    let spec = Spec::of_object(config_map("a"));
    let mut a = object("a", &[("k", "1")]);
    let before = rendered(&spec, std::slice::from_ref(&a))
        .expect("renders")
        .snapshot;
    a.resource_version = Some("8".into());
    a.uid = Some("u".into());
    let after = rendered(&spec, &[a]).expect("renders").snapshot;
    assert_eq!(before.digest, after.digest);
    assert_eq!(after.objects[0].resource_version.as_deref(), Some("8"));
    assert_eq!(after.objects[0].uid.as_deref(), Some("u"));
}

#[test]
fn unchanged_files_share_their_bytes_with_the_snapshot_before() {
    let before = snapshot(&[
        ("same", "1", 0o644),
        ("d/mode", "2", 0o644),
        ("new", "3", 0o644),
    ]);
    let (spec, object) = tree(&[
        ("same", "1", 0o644),
        ("d/mode", "2", 0o600),
        ("new", "4", 0o644),
    ]);
    let after = render(&spec, |_| Some(&object), &KEY, Some(&before))
        .expect("renders")
        .snapshot;
    let shares = |path| {
        let file = |snapshot: &Snapshot| snapshot.file(path).expect("there").bytes.clone();
        file(&before).shares(&file(&after))
    };
    assert!(shares("same") && shares("d/mode"));
    assert!(!shares("new"));
    assert_eq!(&*after.file("new").expect("there").bytes, b"4");
}

#[test]
fn nothing_asked_for_renders_to_an_empty_root() {
    let rendered = rendered(&spec(Vec::new()), &[]).expect("renders");
    assert_eq!(rendered.snapshot, Snapshot::empty(&KEY));
}

/// Fields of `Pod default/p` at these paths; with a divisor a resource.
fn of_pod(items: &[(&str, &str, Option<Divisor>)]) -> Source {
    let mut of_pod = source("p", &[]);
    of_pod.object.kind = Kind::Pod;
    of_pod.items = items
        .iter()
        .map(|(key, at, divisor)| Item {
            key: (*key).to_owned(),
            path: path(at),
            mode: None,
            divisor: *divisor,
        })
        .collect();
    of_pod
}

#[test]
fn a_pods_fields_are_files_beside_others() {
    let pod = pod(&[
        ("metadata.name", "p"),
        ("metadata.labels['app']", "web"),
        ("c/limits.cpu", "1.5"),
    ]);
    let a = object("a", &[("k", "1")]);
    let mut spec = spec(vec![
        source("a", &[]),
        of_pod(&[
            ("metadata.name", "d/name", None),
            ("metadata.labels['app']", "d/app", None),
            ("metadata.labels['none']", "d/none", None),
            ("c/limits.cpu", "cpu", Some(Divisor::ONE)),
        ]),
    ]);
    let objects = [a, pod];
    let want = [
        ("cpu", "2"),
        ("d", "/"),
        ("d/app", "web"),
        ("d/name", "p"),
        ("d/none", ""),
        ("k", "1"),
    ];
    assert_eq!(names(&spec, &objects), pairs(&want));
    // Its fields are no names of files: nothing is shown that no item asks for.
    spec.sources[1].items.clear();
    assert_eq!(names(&spec, &objects), pairs(&[("k", "1")]));
}

#[test]
fn what_a_pod_does_not_tell_refuses() {
    let spec = spec(vec![of_pod(&[(
        "c/limits.memory",
        "memory",
        Some(Divisor::ONE),
    )])]);
    let refusal = rendered(&spec, &[]).expect_err("no pod");
    assert_eq!(refusal.to_string(), "Pod default/p does not exist");
    let refusal = rendered(&spec, &[pod(&[])]).expect_err("no limit");
    assert_eq!(
        refusal.to_string(),
        "Pod default/p does not tell \"c/limits.memory\": it has no such container, or what its \
         node can allocate is not known"
    );
}

#[test]
fn mountpoints_are_folders_whatever_the_objects_hold() {
    let a = object("a", &[("k", "1")]);
    let mut spec = spec(vec![source("a", &[("k", "d/k")])]);
    spec.mountpoints = ["m/n/o", "m", "d", "m-n", "m/n/o"].map(path).to_vec();
    let want = [
        ("d", "/"),
        ("d/k", "1"),
        ("m", "/"),
        ("m-n", "/"),
        ("m/n", "/"),
        ("m/n/o", "/"),
    ];
    assert_eq!(names(&spec, std::slice::from_ref(&a)), pairs(&want));
    spec.fs_group = Some(7);
    let snapshot = rendered(&spec, std::slice::from_ref(&a))
        .expect("renders")
        .snapshot;
    let mode = |at| snapshot.get(at).expect("there").mode();
    assert_eq!(
        (mode("m"), mode("m/n/o"), mode("d")),
        (0o2755, 0o2755, 0o2755)
    );
    let empty = Spec {
        mountpoints: vec![path("m")],
        ..self::spec(Vec::new())
    };
    assert_eq!(names(&empty, &[]), pairs(&[("m", "/")]));
}

#[test]
fn a_mountpoint_that_is_a_file_or_below_one_refuses() {
    let a = object("a", &[("k", "1")]);
    let mut spec = spec(vec![source("a", &[("k", "d/k")])]);
    for (mountpoint, told) in [
        (
            "d/k",
            r#"mountpoint "d/k" cannot be a folder: path "d/k" is a file"#,
        ),
        (
            "d/k/x/y",
            r#"mountpoint "d/k/x/y" cannot be a folder: path "d/k" is a file"#,
        ),
    ] {
        spec.mountpoints = vec![path("m"), path(mountpoint)];
        let refusal = rendered(&spec, std::slice::from_ref(&a)).expect_err(mountpoint);
        assert_eq!(refusal.to_string(), told);
    }
    // A name that only begins alike is another name.
    spec.mountpoints = vec![path("d/k-"), path("d/kk/x")];
    assert!(rendered(&spec, &[a]).is_ok());
}
