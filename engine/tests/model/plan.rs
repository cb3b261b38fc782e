//! Plans carried out on a tree that refuses what a volume's filesystem refuses.

use std::collections::{BTreeMap, BTreeSet};

use livemount_engine::diff::{Op, Plan, plan};
use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use livemount_engine::path::RelPath;
use livemount_engine::render::render;
use livemount_engine::snapshot::Snapshot;
use livemount_engine::spec::{Item, Mode, Spec};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::any::{self, KEY};

/// A tree of few names; what would be below a file is left out.
fn snapshot() -> impl Strategy<Value = Snapshot> {
    let files = btree_map(any::path(), (0..3_u8, any::mode()), 0..8);
    let group = proptest::option::weighted(0.1, Just(5));
    let folders = prop_oneof![2 => Just(Vec::new()), 1 => vec(any::path(), 1..4)];
    (files, folders, group).prop_map(|(files, folders, group)| built(&files, folders, group))
}

fn built(
    files: &BTreeMap<RelPath, (u8, Mode)>,
    mut folders: Vec<RelPath>,
    fs_group: Option<u32>,
) -> Snapshot {
    let key = ObjectKey {
        kind: Kind::Secret,
        namespace: "n".into(),
        name: "o".into(),
        origin: livemount_engine::object::Origin::named("test"),
    };
    let mut items = Vec::new();
    for (path, (value, mode)) in files {
        if path.ancestors().all(|folder| !files.contains_key(&folder)) {
            let key = format!("k{value}");
            items.push(Item {
                key,
                path: path.clone(),
                mode: Some(*mode),
                divisor: None,
            });
        }
    }
    let all = items.is_empty();
    let values = (0..3_u8)
        .filter(|_| !all)
        .map(|n| (format!("k{n}"), Bytes::from(vec![n])));
    let object = Object::new(key.clone(), values.collect()).expect("legal");
    let is_file = |path: &RelPath| items.iter().any(|item| item.path == *path);
    folders.retain(|folder| !is_file(folder) && !folder.ancestors().any(|path| is_file(&path)));
    let mut spec = Spec {
        fs_group,
        mountpoints: folders,
        ..Spec::of_object(key)
    };
    spec.sources[0].items = items;
    render(&spec, |_| Some(&object), &KEY, None)
        .expect("no clash")
        .snapshot
}

/// A name of the model: a folder, or a file with its contents.
type Node = Option<Vec<u8>>;

fn nodes(snapshot: &Snapshot) -> BTreeMap<String, Node> {
    let node =
        |entry: &livemount_engine::snapshot::Entry| entry.as_file().map(|f| f.bytes.to_vec());
    let entries = snapshot.entries.iter();
    entries
        .map(|(path, entry)| (path.to_string(), node(entry)))
        .collect()
}

fn below(tree: &BTreeMap<String, Node>, path: &str) -> BTreeMap<String, Node> {
    let inside = format!("{path}/");
    let below = tree.iter().filter(|(name, _)| name.starts_with(&inside));
    below
        .map(|(name, node)| (name.clone(), node.clone()))
        .collect()
}

/// Carries the plan out; fails as a filesystem would. Checks at each ring what must be visible then.
fn carried_out(old: &Snapshot, new: &Snapshot, plan: &Plan) -> Result<(), TestCaseError> {
    let (before, after) = (nodes(old), nodes(new));
    let retyped = |name: &str| match (before.get(name), after.get(name)) {
        (Some(was), Some(is)) => was.is_none() != is.is_none(),
        _ => false,
    };
    let went_early: BTreeSet<String> = before
        .keys()
        .filter(|name| {
            let path = RelPath::new(name).expect("clean");
            retyped(name) || path.ancestors().any(|folder| retyped(folder.as_str()))
        })
        .cloned()
        .collect();

    // The swap: contents change under names that stay.
    let mut tree = before.clone();
    for path in &plan.changed {
        tree.insert(path.to_string(), after[path.as_str()].clone());
    }
    let mut staged = plan.staged.iter();
    let mut rung = Vec::new();
    for op in &plan.ops {
        match op {
            Op::Rename(path) => {
                let name = path.to_string();
                prop_assert_eq!(staged.next(), Some(path), "staged in the order of use");
                prop_assert!(!tree.contains_key(&name), "{} is there already", name);
                let folder = path.parent().map(|folder| folder.to_string());
                prop_assert!(folder.is_none_or(|folder| tree.get(&folder) == Some(&None)));
                tree.insert(name.clone(), after[&name].clone());
                tree.extend(below(&after, &name));
            }
            Op::Ring(path) => {
                prop_assert!(matches!(tree.get(path.as_str()), Some(Some(_))));
                for (name, node) in &after {
                    prop_assert_eq!(tree.get(name), Some(node), "{} is complete by now", name);
                }
                for name in before.keys().filter(|name| !went_early.contains(*name)) {
                    prop_assert!(tree.contains_key(name), "{} goes last", name);
                }
                rung.push(path.clone());
            }
            Op::Unlink(path) => {
                let was = tree.remove(path.as_str());
                prop_assert!(matches!(was, Some(Some(_))), "{} is no file", path);
            }
            Op::Rmdir(path) => {
                prop_assert!(
                    below(&tree, path.as_str()).is_empty(),
                    "{} is not empty",
                    path
                );
                prop_assert_eq!(
                    tree.remove(path.as_str()),
                    Some(None),
                    "{} is no folder",
                    path
                );
            }
        }
    }
    prop_assert_eq!(staged.next(), None, "nothing is staged in vain");
    prop_assert_eq!(tree, after.clone());

    let differs = |(name, node): &(&String, &Node)| match (before.get(*name), node) {
        (Some(Some(was)), Some(is)) => was != is,
        _ => false,
    };
    let differing: Vec<String> = after
        .iter()
        .filter(differs)
        .map(|(n, _)| n.clone())
        .collect();
    let rung: Vec<String> = rung.iter().map(ToString::to_string).collect();
    prop_assert_eq!(
        rung,
        differing,
        "each changed file once, an unchanged one never"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_plan_leads_from_the_old_names_to_the_new(old in snapshot(), new in snapshot()) {
        let plan = plan(&old, &new);
        carried_out(&old, &new, &plan)?;

        let files = |of: &Snapshot, other: &Snapshot| {
            of.files().filter(|(path, _)| other.file(path.as_str()).is_none()).count()
        };
        prop_assert_eq!((plan.added, plan.removed), (files(&new, &old), files(&old, &new)));
        for path in new.entries.keys() {
            let (was, is) = (old.get(path.as_str()), new.get(path.as_str()));
            let (Some(was), Some(is)) = (was, is) else { continue };
            let alike = was.is_dir() == is.is_dir() && !plan.changed.contains(path);
            let remoded = alike && (was.mode() != is.mode() || old.gid != new.gid);
            prop_assert_eq!(plan.remoded.contains(path), remoded, "{}", path);
        }
        prop_assert_eq!(plan.is_empty(), old.digest == new.digest);
    }
}
