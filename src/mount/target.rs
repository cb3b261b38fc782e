//! Where a mountpoint really is.
//!
//! Only the way to it is looked at, never what may be mounted there: a stuck mount would hold whoever
//! looks. The hand deals with the folder itself.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a mountpoint cannot be used.
#[derive(Debug, Error)]
pub enum TargetError {
    /// The path names no folder that could be mounted on.
    #[error("{} cannot be a mountpoint", .0.display())]
    NoName(PathBuf),
    /// The folder that would hold it cannot be reached.
    #[error("{}: the folder that holds it cannot be used: {source}", .path.display())]
    Parent {
        /// The mountpoint as it was given.
        path: PathBuf,
        /// The machine's answer.
        source: io::Error,
    },
    /// The source would be hidden by what is served from it.
    #[error("{} would hide {}, from which it is to be served", .path.display(), .hidden.display())]
    Hides {
        /// The mountpoint as it was given.
        path: PathBuf,
        /// The source as it was given.
        hidden: PathBuf,
    },
}

/// The most symlinks that are followed (`MAXSYMLINKS`, `include/linux/namei.h`).
const MAX_LINKS: usize = 40;

/// The mountpoint without symlinks on the way.
pub(super) fn resolve(mountpoint: &Path) -> Result<PathBuf, TargetError> {
    let unusable = || TargetError::NoName(mountpoint.to_owned());
    let mut path = mountpoint.to_owned();
    for _ in 0..MAX_LINKS {
        // readlink does not enter a mount, where stat would.
        if let Ok(link) = std::fs::read_link(&path) {
            path.pop();
            path.push(link);
            continue;
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(unusable());
        };
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        return match parent.canonicalize() {
            Ok(parent) => Ok(parent.join(name)),
            Err(source) => Err(TargetError::Parent {
                path: mountpoint.to_owned(),
                source,
            }),
        };
    }
    Err(unusable())
}

/// Refuses a target at or above the source: who read the source there would wait for himself.
pub(super) fn hides_not(
    target: &Path,
    mountpoint: &Path,
    source: &Path,
) -> Result<(), TargetError> {
    let ways = [source.canonicalize(), std::path::absolute(source)];
    if ways.iter().flatten().any(|way| way.starts_with(target)) {
        return Err(TargetError::Hides {
            path: mountpoint.to_owned(),
            hidden: source.to_owned(),
        });
    }
    Ok(())
}

/// The folder beneath which the hand may mount.
pub(super) fn root(target: &Path) -> PathBuf {
    target.parent().unwrap_or_else(|| Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_on_the_way_are_followed_and_a_missing_name_is_fine() {
        let home = tempfile::tempdir().expect("a folder");
        let real = home.path().canonicalize().expect("its path");
        std::os::unix::fs::symlink(&real, real.join("link")).expect("a symlink");
        let resolved = resolve(&home.path().join("link/new")).expect("resolves");
        assert_eq!(resolved, real.join("new"));
        assert_eq!(root(&resolved), real);
        assert!(matches!(
            resolve(&home.path().join("missing/new")),
            Err(TargetError::Parent { .. })
        ));
        std::os::unix::fs::symlink(real.join("new/in"), real.join("way")).expect("a symlink");
        std::fs::create_dir_all(real.join("new/in")).expect("a folder");
        let hides = |source: &str| {
            hides_not(&resolved, Path::new("new"), &real.join(source)).map_err(|e| e.to_string())
        };
        for source in ["new", "new/in/x.yaml", "way", "link/new/in"] {
            let error = hides(source).expect_err(source);
            assert!(error.starts_with("new would hide /"), "{error}");
        }
        assert_eq!(hides("newer"), Ok(()));
        assert_eq!(hides("."), Ok(()));
        assert!(matches!(
            resolve(Path::new("/")),
            Err(TargetError::NoName(_))
        ));
    }
}
