//! Plans: what leads from one snapshot to another, in the order that keeps the promises.
//!
//! A plan is made at commit time, between what the volume shows and the latest snapshot, so that a
//! burst of versions becomes one commit. It says what happens, not how: the publisher swaps bytes
//! and attributes, prepares what is staged, and looks at a file's mode before it rings.
//!
//! The order (promises 2 and 5): names that change their type, whole, one after the other; then every
//! added name; then one ring for each changed file, when all names are there; the removed names last.
//! No name is renamed over another, which would end the watches on that.

use std::ops::Bound::{Excluded, Unbounded};

use crate::path::RelPath;
use crate::snapshot::{Entry, Snapshot};

/// One operation on the names or for the events of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Rename the staged name, with all that it holds, into the volume. Nothing has this name then.
    Rename(RelPath),
    /// Make the kernel emit the changed file's events, once.
    Ring(RelPath),
    /// Remove a file's name.
    Unlink(RelPath),
    /// Remove a folder; it is empty then.
    Rmdir(RelPath),
}

impl Op {
    /// The path that it is about.
    pub fn path(&self) -> &RelPath {
        match self {
            Self::Rename(path) | Self::Ring(path) | Self::Unlink(path) | Self::Rmdir(path) => path,
        }
    }
}

/// What leads from one snapshot to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Files in both whose bytes differ, sorted; their attributes may differ too.
    pub changed: Vec<RelPath>,
    /// Files and folders in both where mode or group alone differ, sorted. Their attributes are
    /// swapped; no event tells of it.
    pub remoded: Vec<RelPath>,
    /// Whether mode or group of the root folder differ, which has no path.
    pub root_remoded: bool,
    /// The names that `ops` renames in, in that order: the topmost added ones and those that change
    /// their type. Each is prepared with all that it holds in the new snapshot.
    pub staged: Vec<RelPath>,
    /// What is done, in this order, after bytes and attributes were swapped.
    pub ops: Vec<Op>,
    /// How many files are new; one that was a folder counts.
    pub added: usize,
    /// How many files go; one that becomes a folder counts.
    pub removed: usize,
}

impl Plan {
    /// Whether the two snapshots look the same to everybody.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.remoded.is_empty() && !self.root_remoded
    }

    /// Takes the old entry away with all that it holds and renames the new one in.
    fn retype(&mut self, path: &RelPath, old: &Snapshot) {
        let after = old.entries.range::<RelPath, _>((Excluded(path), Unbounded));
        // Names that begin alike stand together; those below the path are among them.
        let alike = after.take_while(|(other, _)| other.as_str().starts_with(path.as_str()));
        let below: Vec<_> = alike.filter(|(other, _)| other.is_below(path)).collect();
        self.ops.extend(below.into_iter().rev().map(removal));
        self.ops
            .extend(old.entries.get_key_value(path).map(removal));
        self.stage(path.clone());
    }

    fn stage(&mut self, path: RelPath) {
        self.ops.push(Op::Rename(path.clone()));
        self.staged.push(path);
    }
}

/// What leads from `old` to `new`. Both must be of one `HashKey`, for contents are told apart by
/// their digests.
pub fn plan(old: &Snapshot, new: &Snapshot) -> Plan {
    let regrouped = old.gid != new.gid;
    let mut plan = Plan {
        root_remoded: regrouped || old.root_mode != new.root_mode,
        ..Plan::default()
    };
    let mut fresh = Vec::new();
    for (path, is) in &new.entries {
        let was = old.get(path.as_str());
        plan.added += usize::from(is.as_file().is_some() && was.is_none_or(Entry::is_dir));
        match (was, is) {
            (None, _) if is_topmost(path, old) => fresh.push(path.clone()),
            (Some(was), is) if was.is_dir() != is.is_dir() => plan.retype(path, old),
            (Some(Entry::File(was)), Entry::File(is)) if was.digest != is.digest => {
                plan.changed.push(path.clone());
            }
            (Some(was), is) if regrouped || was.mode() != is.mode() => {
                plan.remoded.push(path.clone());
            }
            (None | Some(_), _) => {}
        }
    }
    for path in fresh {
        plan.stage(path);
    }
    plan.ops.extend(plan.changed.iter().cloned().map(Op::Ring));
    // A path sorts after the folder that holds it: backwards, a folder is empty when its turn comes.
    for (path, was) in old.entries.iter().rev() {
        let is = new.get(path.as_str());
        plan.removed += usize::from(was.as_file().is_some() && is.is_none_or(Entry::is_dir));
        // What lay below a folder that became a file went with it.
        if is.is_none()
            && !path
                .ancestors()
                .any(|folder| new.file(folder.as_str()).is_some())
        {
            plan.ops.push(removal((path, was)));
        }
    }
    plan
}

/// Whether an added name's folder was there before: else it comes in with its folder.
fn is_topmost(path: &RelPath, old: &Snapshot) -> bool {
    path.parent()
        .is_none_or(|folder| old.get(folder.as_str()).is_some_and(Entry::is_dir))
}

fn removal((path, was): (&RelPath, &Entry)) -> Op {
    match was {
        Entry::Dir { .. } => Op::Rmdir(path.clone()),
        Entry::File(_) => Op::Unlink(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::render;
    use crate::sample::{KEY, path, snapshot, tree};
    use crate::spec::Spec;

    fn rename(at: &str) -> Op {
        Op::Rename(path(at))
    }
    fn ring(at: &str) -> Op {
        Op::Ring(path(at))
    }
    fn unlink(at: &str) -> Op {
        Op::Unlink(path(at))
    }
    fn rmdir(at: &str) -> Op {
        Op::Rmdir(path(at))
    }

    /// The plan between files given as path and contents.
    fn between(old: &[(&str, &str)], new: &[(&str, &str)]) -> Plan {
        let snapshot = |files: &[(&str, &str)]| {
            let files: Vec<_> = files.iter().map(|(at, of)| (*at, *of, 0o644)).collect();
            snapshot(&files)
        };
        plan(&snapshot(old), &snapshot(new))
    }

    #[test]
    fn equal_snapshots_need_nothing() {
        let plan = between(&[("a", "1"), ("d/b", "2")], &[("a", "1"), ("d/b", "2")]);
        assert_eq!(plan, Plan::default());
        assert!(plan.is_empty());
    }

    #[test]
    fn added_names_come_before_rings_and_removed_ones_last() {
        let plan = between(
            &[("b", "1"), ("gone", ""), ("m", "1"), ("same", "")],
            &[("a", ""), ("b", "2"), ("m", "2"), ("same", ""), ("z", "")],
        );
        assert_eq!(
            plan.ops,
            [
                rename("a"),
                rename("z"),
                ring("b"),
                ring("m"),
                unlink("gone")
            ]
        );
        assert_eq!(plan.changed, [path("b"), path("m")]);
        assert_eq!(plan.staged, [path("a"), path("z")]);
        assert_eq!((plan.added, plan.removed), (2, 1));
    }

    #[test]
    fn an_added_folder_comes_in_whole() {
        let plan = between(
            &[("d/a", "")],
            &[("d/a", ""), ("d/e/b", ""), ("d/e/f/c", "")],
        );
        assert_eq!(plan.ops, [rename("d/e")]);
        assert_eq!((plan.added, plan.removed), (2, 0));
    }

    #[test]
    fn a_removed_folder_goes_after_what_it_holds() {
        let plan = between(
            &[("d/a", ""), ("d/e/b", ""), ("d-x", ""), ("k", "")],
            &[("k", "")],
        );
        assert_eq!(
            plan.ops,
            [
                unlink("d/e/b"),
                rmdir("d/e"),
                unlink("d/a"),
                unlink("d-x"),
                rmdir("d")
            ]
        );
        assert_eq!((plan.added, plan.removed), (0, 3));
    }

    #[test]
    fn a_file_that_becomes_a_folder_goes_first_and_comes_whole() {
        let plan = between(
            &[("a", "1"), ("t", "1"), ("gone", "")],
            &[("a", "2"), ("t/x", ""), ("t/y/z", ""), ("b", "")],
        );
        assert_eq!(
            plan.ops,
            [
                unlink("t"),
                rename("t"),
                rename("b"),
                ring("a"),
                unlink("gone")
            ]
        );
        assert_eq!(plan.staged, [path("t"), path("b")]);
        assert_eq!((plan.added, plan.removed), (3, 2));
    }

    #[test]
    fn a_folder_that_becomes_a_file_is_emptied_first() {
        let plan = between(
            &[("t/x", ""), ("t/y/z", ""), ("t-1", ""), ("t0", "")],
            &[("t", ""), ("t-1", ""), ("t0", "")],
        );
        assert_eq!(
            plan.ops,
            [
                unlink("t/y/z"),
                rmdir("t/y"),
                unlink("t/x"),
                rmdir("t"),
                rename("t")
            ]
        );
        assert_eq!((plan.added, plan.removed), (1, 2));
    }

    #[test]
    fn a_mode_alone_makes_no_event() {
        let old = snapshot(&[("a", "1", 0o644), ("b", "1", 0o644), ("c", "1", 0o644)]);
        let new = snapshot(&[("a", "1", 0o600), ("b", "2", 0o600), ("c", "1", 0o644)]);
        let plan = plan(&old, &new);
        assert_eq!(plan.remoded, [path("a")]);
        assert_eq!(plan.ops, [ring("b")]);
        assert!(!plan.root_remoded);
    }

    #[test]
    fn another_group_touches_every_name_and_the_root() {
        let (mut spec, object) = tree(&[("d/a", "1", 0o644)]);
        let render = |spec: &Spec| {
            render(spec, |_| Some(&object), &KEY, None)
                .expect("renders")
                .snapshot
        };
        let none = render(&spec);
        spec.fs_group = Some(1);
        let one = render(&spec);
        spec.fs_group = Some(2);
        let two = render(&spec);
        for (old, new) in [(&none, &one), (&one, &two)] {
            let plan = plan(old, new);
            assert_eq!(plan.remoded, [path("d"), path("d/a")]);
            assert!(plan.root_remoded && plan.ops.is_empty() && !plan.is_empty());
        }
    }
}
