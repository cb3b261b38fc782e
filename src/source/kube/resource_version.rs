//! Resource versions: which of two is the later one.
//!
//! Within one kind they are decimal numbers of any length (KEP-5504, stable since Kubernetes 1.35);
//! before that they were so in fact. Nothing is computed with them, so that no length is too long.

use std::cmp::Ordering;
use std::fmt;

/// A resourceVersion that can be compared. Shown as the server wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResourceVersion(String);

impl ResourceVersion {
    /// None for what is not a decimal number above zero: `""` and `"0"` mean something else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        (digits && !text.starts_with('0')).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for ResourceVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        // No leading zeros: the longer number is the larger one.
        let length = self.0.len().cmp(&other.0.len());
        length.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for ResourceVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ResourceVersion {
        ResourceVersion::parse(text).expect("a version")
    }

    #[test]
    fn versions_are_numbers_not_texts() {
        assert!(version("9") < version("10"));
        assert!(version("99") < version("100"));
        assert!(version("101") > version("100"));
        assert_eq!(version("7").cmp(&version("7")), Ordering::Equal);
    }

    #[test]
    fn no_length_is_too_long() {
        let long = format!("1{}", "0".repeat(60));
        assert!(version(&long) > version(&u128::MAX.to_string()));
        assert!(version(&format!("2{}", "0".repeat(60))) > version(&long));
    }

    #[test]
    fn what_is_no_number_is_no_version() {
        for bad in ["", "0", "007", "-1", "1.0", "abc", " 1"] {
            assert_eq!(ResourceVersion::parse(bad), None, "{bad:?}");
        }
    }
}
