//! Failures in words that a person can read: a thousand long names tell no more than a few.

use std::collections::BTreeSet;

use super::truth::Heard;
use crate::support::watch::{Event, lines};

/// What to read first in a failure: a line for each name that was told of in another way.
pub fn difference(found: &Heard, expected: &Heard) -> String {
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let lines = keys
        .into_iter()
        .map(|key| (key, found.get(key), expected.get(key)))
        .filter(|(_, found, expected)| found != expected)
        .map(|((label, name), found, expected)| {
            format!("{label:?} of {name:?}: {found:?} instead of {expected:?}")
        });
    some_of(lines)
}

pub fn told(events: &[Event]) -> String {
    some_of(lines(events).into_iter())
}

/// The first lines, shortened.
fn some_of(lines: impl Iterator<Item = String>) -> String {
    let short = |line: String| line.chars().take(160).collect::<String>();
    let mut lines = lines.map(short);
    let first: Vec<_> = lines.by_ref().take(40).collect();
    format!("\n  {}\n  and {} more", first.join("\n  "), lines.count())
}
