//! Random objects and specs from few names, so that they meet.

use std::collections::{BTreeMap, BTreeSet};

use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::HashKey;
use livemount_engine::spec::{Item, Mode, Source, Spec};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

pub const KEY: HashKey = HashKey([3; 16]);

/// A model's tree: path to contents and mode, folders left out.
pub type Files = BTreeMap<String, (Vec<u8>, u16)>;

pub fn key() -> impl Strategy<Value = ObjectKey> {
    let kind = prop_oneof![Just(Kind::ConfigMap), Just(Kind::Secret)];
    (kind, prop_oneof!["a", "b"]).prop_map(|(kind, name)| ObjectKey {
        kind,
        namespace: "n".into(),
        name,
        origin: livemount_engine::object::Origin::named("test"),
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "a", 2 => "b", 1 => "a-", 1 => "a0"]
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    vec(0..2_u8, 0..2)
}

pub fn object() -> impl Strategy<Value = Object> {
    (key(), btree_map(name(), contents(), 0..4)).prop_map(|(key, data)| {
        let data = data
            .into_iter()
            .map(|(name, value)| (name, Bytes::from(value)));
        Object::new(key, data.collect()).expect("legal by construction")
    })
}

pub fn path() -> impl Strategy<Value = RelPath> {
    vec(name(), 1..4).prop_map(|names| RelPath::new(&names.join("/")).expect("clean"))
}

pub fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(0o644), Just(0o600), Just(0o755)]
        .prop_map(|bits| Mode::new(bits).expect("in range"))
}

fn item() -> impl Strategy<Value = Item> {
    (name(), path(), proptest::option::of(mode())).prop_map(|(key, path, mode)| Item {
        key,
        path,
        mode,
        divisor: None,
    })
}

fn source() -> impl Strategy<Value = Source> {
    (key(), vec(item(), 0..3), any::<bool>()).prop_map(|(object, items, optional)| Source {
        object,
        items,
        optional,
    })
}

pub fn spec() -> impl Strategy<Value = Spec> {
    let group = proptest::option::weighted(0.2, 0..2_u32);
    let mountpoints = prop_oneof![2 => Just(Vec::new()), 1 => vec(path(), 1..3)];
    (vec(source(), 0..4), mode(), group, mountpoints).prop_map(
        |(sources, default_mode, fs_group, mountpoints)| Spec {
            sources,
            default_mode,
            fs_group,
            mountpoints,
        },
    )
}

/// Every folder above a file, and every one for another volume with those above it.
pub fn folders(spec: &Spec, files: &Files) -> BTreeSet<String> {
    let mountpoints = spec.mountpoints.iter().map(|path| format!("{path}/"));
    let paths = files.keys().cloned().chain(mountpoints);
    let above = |path: String| {
        let slashes: Vec<_> = path.match_indices('/').map(|(at, _)| at).collect();
        slashes.into_iter().map(move |at| path[..at].to_owned())
    };
    paths.flat_map(above).collect()
}

/// What the kubelet would write, or nothing where it would refuse.
pub fn naive(spec: &Spec, objects: &BTreeMap<ObjectKey, Object>) -> Option<Files> {
    let group = if spec.fs_group.is_some() { 0o440 } else { 0 };
    let mut files = Files::new();
    for source in &spec.sources {
        let none = BTreeMap::new();
        let data = match objects.get(&source.object) {
            Some(object) => object.data(),
            None if source.optional => &none,
            None => return None,
        };
        let all: Vec<(&str, &str, Mode)> = if source.items.is_empty() {
            data.keys()
                .map(|k| (k.as_str(), k.as_str(), spec.default_mode))
                .collect()
        } else {
            let of = |i: &Item| i.mode.unwrap_or(spec.default_mode);
            source
                .items
                .iter()
                .map(|i| (i.key.as_str(), i.path.as_str(), of(i)))
                .collect()
        };
        for (key, path, mode) in all {
            match data.get(key) {
                Some(value) => {
                    files.insert(path.to_owned(), (value.to_vec(), mode.bits() | group));
                }
                None if source.optional => {}
                None => return None,
            }
        }
    }
    let below = |a: &String, b: &String| b.starts_with(&format!("{a}/"));
    let is_folder = |a: &String| {
        let mut folders = spec.mountpoints.iter().map(ToString::to_string);
        files.keys().any(|b| below(a, b)) || folders.any(|b| *a == b || below(a, &b))
    };
    let clash = files.keys().any(is_folder);
    (!clash).then_some(files)
}
