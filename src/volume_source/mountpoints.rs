//! The list of folders that other volumes are mounted on: `cache,data/tmp`.
//!
//! The kubelet makes such folders in its own volumes (`MakeNestedMountpoints`, kubernetes
//! `volume/util/nested_volumes.go`) and cannot in others, so a pod has to name them. A name with a
//! comma cannot be told.

use std::collections::BTreeSet;

use livemount_engine::path::{PathError, RelPath};
use thiserror::Error;

/// An entry of the list that is no path inside a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("mountpoint {number}: {why}")]
pub struct MountpointError {
    /// Which entry, counted from 1.
    pub number: usize,
    /// The rule that it breaks.
    pub why: PathError,
}

/// Reads a list with commas. Blanks around an entry are left out, and a path that is told twice is
/// told once; a list of nothing but blanks has no entry.
///
/// # Errors
///
/// The first entry that is no path inside a volume.
pub fn mountpoints(text: &str) -> Result<Vec<RelPath>, MountpointError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let read = |(at, path): (usize, &str)| {
        let number = at + 1;
        RelPath::new(path.trim()).map_err(|why| MountpointError { number, why })
    };
    let paths = text.split(',').enumerate().map(read);
    let told: BTreeSet<_> = paths.collect::<Result<_, _>>()?;
    Ok(told.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_folders() {
        for (text, told) in [
            ("", &[][..]),
            (" \n", &[]),
            ("a", &["a"]),
            ("b/c,a", &["a", "b/c"]),
            (" a , b//c/ ,\n./a\n", &["a", "b/c"]),
            ("with blank,ü", &["with blank", "ü"]),
        ] {
            let read = mountpoints(text).expect(text);
            let read: Vec<_> = read.iter().map(RelPath::as_str).collect();
            assert_eq!(read, told, "{text:?}");
        }
    }

    #[test]
    fn an_entry_that_is_no_folder_of_a_volume_is_refused() {
        for (text, number, why) in [
            (",", 1, PathError::Empty),
            ("a,", 2, PathError::Empty),
            ("a,,b", 2, PathError::Empty),
            ("a, .", 2, PathError::Empty),
            ("a,b,/c", 3, PathError::Absolute),
            ("../a", 1, PathError::Dots),
            ("a,..data", 2, PathError::Dots),
            ("a\0", 1, PathError::Nul),
        ] {
            assert_eq!(
                mountpoints(text),
                Err(MountpointError { number, why }),
                "{text:?}"
            );
        }
        assert_eq!(
            mountpoints("a,/Hunter2").expect_err("absolute").to_string(),
            "mountpoint 2: a path must be relative"
        );
    }
}
