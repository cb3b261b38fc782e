//! Paths within a volume, as messages carry them: relative, in one spelling, without a way up. The
//! daemon's end judges them before anything is done, the hand judges again: it believes nobody.

use rustix::io::Errno;

use crate::protocol::MAX_PATH;

/// Parent (empty for none) and last name of a relative path in its one spelling; `EINVAL` for
/// everything else.
pub(crate) fn split(path: &str) -> Result<(&str, &str), Errno> {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    if path.len() > MAX_PATH || path.contains('\0') || !path.split('/').all(plain) {
        return Err(Errno::INVAL);
    }
    Ok(path.rsplit_once('/').unwrap_or(("", path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_spelling() {
        assert_eq!(split("a"), Ok(("", "a")));
        assert_eq!(split("..data"), Ok(("", "..data")));
        assert_eq!(split("a/b/c"), Ok(("a/b", "c")));
        for path in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "../a", "a\0b",
        ] {
            assert_eq!(split(path), Err(Errno::INVAL), "{path:?}");
        }
        assert_eq!(split(&"a".repeat(MAX_PATH + 1)), Err(Errno::INVAL));
    }
}
