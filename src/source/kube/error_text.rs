//! Errors of the transport and answers of the server as sentences for people.

use std::error::Error;

use livemount_engine::shorten::{Most, shorten};

/// The longest text of a server that is shown.
const MOST: Most = Most::Characters(300);

/// An error and what caused it, each cause told once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    cut(&text)
}

/// A text of the server's, in one line and of a length that a person reads.
pub(super) fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(&line, MOST).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_is_one_short_line() {
        assert_eq!(cut("a\nb\t c"), "a b c");
        assert_eq!(cut(&"é".repeat(301)).chars().count(), 301);
        assert!(cut(&"é".repeat(301)).ends_with('…'));
    }
}
