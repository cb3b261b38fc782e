//! Which files of a directory are manifests.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

/// The names that end as manifests do and do not start with a dot, as editors' own files and the
/// kubelet's do. Directories are passed over, whatever they are called.
pub(super) fn manifest_names(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_manifest(&name) {
            continue;
        }
        // Only a symlink is followed: a directory may be the very mountpoint that is served from here.
        let kind = entry.file_type()?;
        let is_directory = kind.is_dir() || (kind.is_symlink() && entry.path().is_dir());
        if !is_directory {
            names.insert(name);
        }
    }
    Ok(names)
}

fn is_manifest(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let ends = |ending: &str| bytes.ends_with(ending.as_bytes());
    !bytes.starts_with(b".") && [".yaml", ".yml", ".json"].into_iter().any(ends)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn manifests_are_known_by_their_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in [
            "a.yaml",
            "b.yml",
            "c.json",
            ".d.yaml",
            ".yaml",
            "e.yaml~",
            "f.YAML",
            "g.txt",
            "4913",
            "#h.yaml#",
            "i.yaml.swp",
        ] {
            fs::write(at(name), "").expect("written");
        }
        fs::create_dir(at("j.yaml")).expect("made");
        symlink("j.yaml", at("k.yaml")).expect("linked");
        symlink("nowhere", at("l.yaml")).expect("linked");
        let found: Vec<_> = manifest_names(folder.path())
            .expect("listed")
            .into_iter()
            .collect();
        assert_eq!(found, ["a.yaml", "b.yml", "c.json", "l.yaml"]);
        assert!(manifest_names(&at("a.yaml")).is_err());
    }
}
