//! What may be heard of a burst, whose offers may become one commit or several.

use std::collections::{BTreeMap, BTreeSet};

use super::truth::{Kind, folder, names, split};
use crate::support::served::Tree;
use crate::support::watch::Event;

/// Of several offers some may be passed over, so a file is told of at least once where it ends up
/// changed, and at most once for each offer.
pub fn check(trees: &[Tree], events: &[Event]) -> Result<(), String> {
    let offers = trees.len() - 1;
    let (first, last) = (&trees[0], &trees[offers]);
    let all_names: Vec<_> = trees.iter().map(names).collect();
    let count = |path: &str, kind: &str| {
        let (parent, name) = split(path);
        let on = folder(parent);
        let is = |event: &&Event| event.label == on && event.name == name && event.kind == kind;
        events.iter().filter(is).count()
    };
    // A name whose folder comes or goes is told of only as long as somebody could listen there.
    let steady_folder = |path: &str| {
        all_names
            .iter()
            .all(|names| names.get(split(path).0) == Some(&Kind::Folder))
    };
    let paths: BTreeSet<&String> = all_names.iter().flat_map(BTreeMap::keys).collect();
    for path in paths.into_iter().filter(|path| !path.is_empty()) {
        let kinds: Vec<_> = all_names.iter().map(|names| names.get(path)).collect();
        let rings = count(path, "MODIFY");
        let changes = trees
            .windows(2)
            .filter(|pair| pair[0].get(path) != pair[1].get(path))
            .count();
        if rings > changes.min(offers) {
            return Err(format!("{path}: {rings} MODIFY for {changes} changes"));
        }
        for round in ["OPEN", "CLOSE_WRITE"] {
            let plain = trees
                .iter()
                .all(|tree| tree.get(path).is_none_or(|(_, mode)| mode & 0o111 == 0));
            if plain && count(path, round) != rings {
                return Err(format!(
                    "{path}: {rings} MODIFY, {} {round}",
                    count(path, round)
                ));
            }
        }
        if !steady_folder(path) {
            continue;
        }
        let bytes = |tree: &Tree| tree.get(path).map(|(bytes, _)| bytes.clone());
        let stays = kinds.iter().all(|kind| *kind == Some(&Kind::File));
        if stays && bytes(first) != bytes(last) && rings == 0 {
            return Err(format!("{path} changed, and nobody was told"));
        }
        let (parent, name) = split(path);
        let on = folder(parent);
        let came_or_went = events.iter().rfind(|event| {
            event.label == on
                && event.name == *name
                && (event.kind.starts_with("MOVED_TO") || event.kind.starts_with("DELETE"))
        });
        let told = came_or_went.map(|event| event.kind.as_str());
        let expected: &[Option<&str>] = match (kinds[0], kinds[offers]) {
            // It may have been away for a while, or another type.
            (Some(Kind::File), Some(Kind::File)) => &[None, Some("MOVED_TO")],
            (Some(Kind::Folder), Some(Kind::Folder)) => &[None, Some("MOVED_TO,ISDIR")],
            (_, Some(Kind::File)) => &[Some("MOVED_TO")],
            (_, Some(Kind::Folder)) => &[Some("MOVED_TO,ISDIR")],
            (Some(_), None) => &[Some("DELETE"), Some("DELETE,ISDIR")],
            (None, None) => &[None, Some("DELETE"), Some("DELETE,ISDIR")],
        };
        if !expected.contains(&told) {
            return Err(format!(
                "{path}: {told:?} was the last that was told of its name"
            ));
        }
    }
    Ok(())
}
