//! Paths inside a volume: relative, clean, and never above its root.
//!
//! The rules are the API's and the kubelet's together (`ValidateLocalNonReservedPath`; `validatePath`
//! of `atomic_writer.go`): what one of them would refuse is refused here, once, so that nothing
//! below has to ask again.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest path, in bytes (`maxPathLength`, `atomic_writer.go`).
pub const MAX_PATH_LEN: usize = 4096;
/// The longest element of a path, in bytes (`maxFileNameLength`, `atomic_writer.go`).
pub const MAX_NAME_LEN: usize = 255;

/// A clean relative path: no empty, `.` or `..` element. Cheap to clone. Orders parents before their
/// children.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(Arc<str>);

impl TryFrom<String> for RelPath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        Self::new(&path)
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.as_str().to_owned()
    }
}

impl RelPath {
    /// Checks and cleans a path: `a//b/./c/` becomes `a/b/c`.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn new(path: &str) -> Result<Self, PathError> {
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        if path.len() > MAX_PATH_LEN {
            return Err(PathError::TooLong);
        }
        if path.starts_with('/') {
            return Err(PathError::Absolute);
        }
        if path.starts_with("..") || path.split('/').any(|name| name == "..") {
            return Err(PathError::Dots);
        }
        if path.contains('\0') {
            return Err(PathError::Nul);
        }
        let mut names = path
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".");
        if names.clone().any(|name| name.len() > MAX_NAME_LEN) {
            return Err(PathError::NameTooLong);
        }
        let Some(first) = names.next() else {
            return Err(PathError::Empty);
        };
        // Cleaning can bring a reserved name to the front: `./..data`.
        if first.starts_with("..") {
            return Err(PathError::Dots);
        }
        let mut clean = String::with_capacity(path.len());
        clean.push_str(first);
        for name in names {
            clean.push('/');
            clean.push_str(name);
        }
        Ok(Self(clean.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last element.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The folder that holds this path, or nothing where that is the volume's root.
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.into()))
    }

    /// Every folder above this path, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// Whether this path lies somewhere below the other.
    pub fn is_below(&self, other: &Self) -> bool {
        self.rest(other).is_some()
    }

    /// The way from the other path down to this one, where there is one.
    pub fn below(&self, other: &Self) -> Option<Self> {
        self.rest(other).map(|rest| Self(rest.into()))
    }

    fn rest(&self, other: &Self) -> Option<&str> {
        self.0.strip_prefix(&*other.0)?.strip_prefix('/')
    }
}

impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Why a path is not one inside a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Nothing is left of the path.
    #[error("a path must not be empty")]
    Empty,
    /// The path is too long.
    #[error("a path has at most {MAX_PATH_LEN} bytes")]
    TooLong,
    /// One element of the path is too long.
    #[error("an element of a path has at most {MAX_NAME_LEN} bytes")]
    NameTooLong,
    /// The path starts at the root of a filesystem.
    #[error("a path must be relative")]
    Absolute,
    /// The path has an element `..`, or starts with `..`.
    #[error("a path must not start with '..' or have '..' as an element")]
    Dots,
    /// The path has a NUL byte.
    #[error("a path must not hold a NUL")]
    Nul,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (given, clean) in [
            ("a", "a"),
            ("a//b/./c/", "a/b/c"),
            ("./a", "a"),
            ("a/..foo", "a/..foo"),
            ("ü n/\n", "ü n/\n"),
        ] {
            assert_eq!(RelPath::new(given).expect(given).as_str(), clean);
        }
    }

    #[test]
    fn paths_outside_the_volume_are_refused() {
        for (given, why) in [
            ("", PathError::Empty),
            (".", PathError::Empty),
            ("/a", PathError::Absolute),
            ("..", PathError::Dots),
            ("a/../b", PathError::Dots),
            ("..data", PathError::Dots),
            ("./..data", PathError::Dots),
            ("a\0", PathError::Nul),
        ] {
            assert_eq!(RelPath::new(given), Err(why), "{given:?}");
        }
        assert_eq!(RelPath::new(&"a/".repeat(2049)), Err(PathError::TooLong));
        assert_eq!(RelPath::new(&"a".repeat(256)), Err(PathError::NameTooLong));
        assert!(RelPath::new(&"a".repeat(255)).is_ok());
    }

    #[test]
    fn family() {
        let path = RelPath::new("a/b/c").expect("legal");
        let above: Vec<_> = path.ancestors().map(|p| p.to_string()).collect();
        assert_eq!(above, ["a/b", "a"]);
        assert_eq!(path.name(), "c");
        let above = RelPath::new("a").expect("legal");
        assert!(path.is_below(&above));
        assert_eq!(path.below(&above), RelPath::new("b/c").ok());
        assert_eq!(above.below(&above), None);
        assert!(
            !RelPath::new("ab")
                .expect("legal")
                .is_below(&RelPath::new("a").expect("legal"))
        );
    }
}
