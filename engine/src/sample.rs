//! Small objects, specs and snapshots for this crate's own tests, so that a test shows only what it
//! is about. The tests in `tests/` generate theirs and use nothing of this.

use std::collections::BTreeMap;

use crate::object::{Bytes, Kind, Object, ObjectKey, Origin};
use crate::path::RelPath;
use crate::render::render;
use crate::snapshot::{HashKey, Snapshot};
use crate::spec::{Item, Mode, Source, Spec};

/// The hash key of every test.
pub(crate) const KEY: HashKey = HashKey([7; 16]);

/// `ConfigMap default/<name>`.
pub(crate) fn config_map(name: &str) -> ObjectKey {
    ObjectKey {
        kind: Kind::ConfigMap,
        namespace: "default".into(),
        name: name.into(),
        origin: Origin::named("test"),
    }
}

/// A `ConfigMap` with these values.
pub(crate) fn object(name: &str, data: &[(&str, &str)]) -> Object {
    let data = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Bytes::from(*value)))
        .collect();
    Object::new(config_map(name), data).expect("a legal object")
}

/// `Pod default/p` with these fields.
pub(crate) fn pod(fields: &[(&str, &str)]) -> Object {
    let key = ObjectKey {
        kind: Kind::Pod,
        namespace: "default".into(),
        name: "p".into(),
        origin: Origin::named("test"),
    };
    let fields = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Bytes::from(*value)));
    Object::of_pod(key, fields.collect())
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a legal path")
}

/// A `ConfigMap`'s keys at these paths, in the volume's default mode; none means all of its keys.
pub(crate) fn source(name: &str, items: &[(&str, &str)]) -> Source {
    Source {
        object: config_map(name),
        items: items
            .iter()
            .map(|(key, at)| Item {
                key: (*key).to_owned(),
                path: path(at),
                mode: None,
                divisor: None,
            })
            .collect(),
        optional: false,
    }
}

pub(crate) fn optional(source: Source) -> Source {
    Source {
        optional: true,
        ..source
    }
}

pub(crate) fn spec(sources: Vec<Source>) -> Spec {
    Spec {
        sources,
        default_mode: Mode::DEFAULT,
        fs_group: None,
        mountpoints: Vec::new(),
    }
}

/// A spec and objects that render to these files: path, contents, mode.
pub(crate) fn tree(files: &[(&str, &str, u32)]) -> (Spec, Object) {
    let mut data = BTreeMap::new();
    let mut items = Vec::new();
    for (n, (at, contents, mode)) in files.iter().enumerate() {
        data.insert(format!("k{n}"), Bytes::from(*contents));
        items.push(Item {
            key: format!("k{n}"),
            path: path(at),
            mode: Some(Mode::new(*mode).expect("a legal mode")),
            divisor: None,
        });
    }
    let object = Object::new(config_map("tree"), data).expect("a legal object");
    // Without items every key would show: a tree without files reads an object without keys.
    let mut source = source("tree", &[]);
    source.items = items;
    (spec(vec![source]), object)
}

/// The snapshot of these files: path, contents, mode.
pub(crate) fn snapshot(files: &[(&str, &str, u32)]) -> Snapshot {
    let (spec, object) = tree(files);
    render(&spec, |_| Some(&object), &KEY, None)
        .expect("a tree that renders")
        .snapshot
}
