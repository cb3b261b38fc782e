//! Snapshots of few names, so that lives meet the same ones often.

use std::collections::BTreeMap;
use std::sync::Arc;

use livemount_engine::object::{Bytes, Kind, ObjectKey, Origin};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{Entry, File, HashKey, ObjectVersion, Snapshot};

pub const KEY: HashKey = HashKey([65; 16]);

/// The files that there may be. Some are folders of others, so that types change.
pub const PATHS: [&str; 7] = ["a", "a/q", "b", "d/x", "d/y", "d/e/z", "k"];

/// A snapshot of these files. What a file holds, and its mode, follow from the number beside it. Of
/// two that cannot be both, the first is there.
pub fn snapshot(files: &[(&str, u8)]) -> Arc<Snapshot> {
    let mut entries = BTreeMap::new();
    for (path, what) in files {
        let path = RelPath::new(path).expect("legal");
        let folders: Vec<RelPath> = path.ancestors().collect();
        let is_file = |at: &RelPath| matches!(entries.get(at), Some(Entry::File(_)));
        if entries.contains_key(&path) || folders.iter().any(is_file) {
            continue;
        }
        for folder in folders {
            entries.insert(folder, Entry::Dir { mode: 0o755 });
        }
        let text = vec![b'A' + what % 8; usize::from(what % 5) * 2];
        let file = File {
            digest: KEY.digest(&text),
            bytes: Bytes::from(text),
            mode: [0o644, 0o755, 0o600][usize::from(what / 8) % 3],
            object: 0,
        };
        entries.insert(path, Entry::File(file));
    }
    let what: u32 = files.iter().map(|(_, what)| u32::from(*what)).sum();
    Arc::new(Snapshot {
        entries,
        objects: vec![ObjectVersion {
            key: ObjectKey {
                kind: Kind::ConfigMap,
                namespace: "default".into(),
                name: "app".into(),
                origin: Origin::named("test"),
            },
            uid: None,
            immutable: false,
            resource_version: Some(what.to_string()),
            received: None,
        }],
        gid: what / 64,
        ..Snapshot::empty(&KEY)
    })
}
