//! The one way in which a text is cut to a length: names in a sentence, answers of a server, notes that
//! the API bounds.
//!
//! Cut between characters, and marked, so that nobody takes the rest for the whole. It decides neither
//! which text may be shown at all nor how it is quoted.

use std::borrow::Cow;

/// What stands where the rest of a text was.
const MARK: &str = "…";

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    /// So many characters and then the mark: for people, who mind no single one.
    Characters(usize),
    /// So many bytes, the mark among them: for a bound that somebody checks. Below three there is no
    /// room for the mark, and nothing is left.
    Bytes(usize),
}

/// A name, a key or a path within a sentence.
pub const IN_A_SENTENCE: Most = Most::Characters(64);

/// The text, or as much of it as may be and the mark.
pub fn shorten(text: &str, most: Most) -> Cow<'_, str> {
    let end = match most {
        Most::Characters(most) => text.char_indices().nth(most).map(|(at, _)| at),
        Most::Bytes(most) if text.len() <= most => None,
        Most::Bytes(most) => match most.checked_sub(MARK.len()) {
            Some(room) => Some(text.floor_char_boundary(room)),
            None => return Cow::Borrowed(""),
        },
    };
    match end {
        Some(end) => Cow::Owned(format!("{}{MARK}", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        for (text, most) in [
            ("", Most::Characters(0)),
            ("", Most::Bytes(0)),
            ("éé", Most::Characters(2)),
            ("éé", Most::Bytes(4)),
            ("a…", Most::Bytes(4)),
        ] {
            assert_eq!(shorten(text, most), text, "{most:?}");
        }
    }

    #[test]
    fn characters_are_counted_without_the_mark() {
        for (text, most, cut) in [
            ("abc", 2, "ab…"),
            ("éüö", 2, "éü…"),
            ("é", 0, "…"),
            ("a😀b", 2, "a😀…"),
        ] {
            assert_eq!(shorten(text, Most::Characters(most)), cut);
        }
    }

    #[test]
    fn bytes_are_counted_with_the_mark_and_no_character_is_halved() {
        for (text, most, cut) in [
            ("abcdef", 5, "ab…"),
            ("ééé", 5, "é…"),
            ("ééé", 4, "…"),
            ("😀😀", 7, "😀…"),
            ("😀😀", 6, "…"),
            ("abcd", 3, "…"),
            ("abcd", 2, ""),
        ] {
            let shortened = shorten(text, Most::Bytes(most));
            assert_eq!(shortened, cut, "{text} in {most}");
            assert!(shortened.len() <= most);
        }
    }
}
