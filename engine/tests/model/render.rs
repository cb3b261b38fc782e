//! Rendering against a map of path to contents.

use std::collections::{BTreeMap, BTreeSet};

use livemount_engine::object::Object;
use livemount_engine::render::{Refusal, Rendered, render};
use livemount_engine::snapshot::{Entry, Snapshot};
use livemount_engine::spec::Spec;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::any::{self, Files, KEY};

/// The files of a snapshot as the model has them.
pub fn files(snapshot: &Snapshot) -> Files {
    let of = |(path, file): (&_, &livemount_engine::snapshot::File)| {
        (format!("{path}"), (file.bytes.to_vec(), file.mode))
    };
    snapshot
        .files()
        .map(|(path, file)| of((path, file)))
        .collect()
}

/// The folders of a snapshot.
pub fn folders(snapshot: &Snapshot) -> BTreeSet<String> {
    let entries = snapshot.entries.iter();
    let folders = entries.filter(|(_, entry)| entry.is_dir());
    folders.map(|(path, _)| path.to_string()).collect()
}

fn rendered(
    spec: &Spec,
    objects: &[Object],
    previous: Option<&Snapshot>,
) -> (Result<Rendered, Refusal>, Option<Files>) {
    let objects: BTreeMap<_, _> = objects.iter().map(|o| (o.key.clone(), o.clone())).collect();
    let naive = any::naive(spec, &objects);
    (render(spec, |key| objects.get(key), &KEY, previous), naive)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_render_is_what_the_model_says(
        spec in any::spec(),
        objects in vec(any::object(), 0..5),
    ) {
        let (got, want) = rendered(&spec, &objects, None);
        let got = got.ok().map(|rendered| rendered.snapshot);
        prop_assert_eq!(got.as_ref().map(files), want);
        let Some(got) = got else { return Ok(()) };

        // Folders: exactly those that some file or mountpoint needs, and in the right mode.
        prop_assert_eq!(folders(&got), any::folders(&spec, &files(&got)));
        let grouped = if spec.fs_group.is_some() { 0o2000 } else { 0 };
        let right = |entry: &Entry| !entry.is_dir() || entry.mode() == 0o755 | grouped;
        prop_assert!(got.entries.values().all(right));
        prop_assert_eq!(got.root_mode, 0o777 | grouped);
        prop_assert_eq!(got.gid, spec.fs_group.unwrap_or(0));

        // Each file says truly which object it came from.
        for (_, file) in got.files() {
            let from = &got.objects[file.object].key;
            let object = objects.iter().rev().find(|object| object.key == *from);
            let data = object.expect("a rendered object exists").data();
            prop_assert!(data.values().any(|value| *value == file.bytes));
        }
    }

    #[test]
    fn the_snapshot_before_changes_no_result_and_is_shared(
        specs in [any::spec(), any::spec()],
        objects in [vec(any::object(), 0..5), vec(any::object(), 0..5)],
    ) {
        let (Ok(before), _) = rendered(&specs[0], &objects[0], None) else { return Ok(()) };
        let before = before.snapshot;
        let (Ok(alone), _) = rendered(&specs[1], &objects[1], None) else { return Ok(()) };
        let (after, _) = rendered(&specs[1], &objects[1], Some(&before));
        let after = after.expect("what renders alone renders after another").snapshot;
        prop_assert_eq!(&after, &alone.snapshot);
        for (path, file) in after.files() {
            if let Some(was) = before.file(path.as_str()) {
                prop_assert_eq!(was.bytes == file.bytes, was.bytes.shares(&file.bytes));
            }
        }
        // One digest, one look.
        let look = |of: &Snapshot| (files(of), folders(of), of.gid, of.root_mode);
        prop_assert_eq!(before.digest == after.digest, look(&before) == look(&after));
    }
}
