//! Volume sources that mean harm, or are something else: bounded time whatever they hold, no panic,
//! and no error that quotes what nobody checked.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::MAX_BYTES;
use super::tests::read;

#[test]
fn hostile_texts_cost_bounded_time() {
    let started = Instant::now();
    let items = |n: usize, path: &dyn Fn(usize) -> String| {
        (0..n).fold(String::new(), |text, at| {
            text + &format!("  - {{key: k, path: {}}}\n", path(at))
        })
    };
    let many = items(20_000, &|at| format!("d{at}/f"));
    let shared = format!(
        "projected:\n  sources:\n  - configMap: &s\n      name: a\n      items: &i [{}]\n{}",
        "{key: k, path: p}, ".repeat(10_000),
        "  - configMap: {name: b, items: *i}\n".repeat(10_000)
    );
    let deep = format!(
        "configMap:\n  name: a\n  items:\n{}",
        items(600, &|at| { format!("{}{at}", "d/".repeat(2040)) })
    );
    let large = vec![b' '; MAX_BYTES + 1];
    assert_eq!(
        read(format!("configMap:\n  name: a\n  items:\n{many}"))
            .map(|spec| spec.sources[0].items.len()),
        Ok(20_000)
    );
    assert!(read(deep).is_ok());
    for (text, expected) in [
        (shared.as_bytes(), "conflicting duplicate paths"),
        (
            &shared.replace("projected", "secret").into_bytes(),
            "unknown",
        ),
        (&large, "the file has more than 3145728 bytes"),
        (b"configMap: {name: a, items: [[[[[[[[[", "not YAML"),
    ] {
        let error = read(text).expect_err(expected).to_string();
        assert!(error.contains(expected) && error.len() < 200, "{error}");
    }
    // Optional sources are not compared with one another, so these are many and legal: too many.
    let aliases = format!(
        "projected:\n  sources:\n{}",
        (0..400).fold(String::new(), |text, at| {
            let items = (0..200).fold(String::new(), |text, n| {
                text + &format!("{{key: k{n}, path: {}/{at}-{n}}}, ", "x".repeat(200))
            });
            text + &format!("  - configMap: {{name: a, items: [{items}]}}\n")
        })
    );
    assert!(read(aliases).is_err());
    assert!(
        started.elapsed() < Duration::from_mins(2),
        "{:?}",
        started.elapsed()
    );
}

/// Whatever is given for a volume by mistake, be it a Secret: nothing of it is quoted.
#[test]
fn no_error_quotes_a_value() {
    let marker = "Hunter2/Passw0rd";
    for text in [
        format!("kind: Secret\nstringData: {{k: {marker}}}\n"),
        format!("{marker}: {marker}\n"),
        format!("{marker}\n"),
        format!("configMap: {marker}\n"),
        format!("configMap: {{name: {marker}}}\n"),
        format!("configMap: {{{marker}: a}}\n"),
        format!("configMap: {{name: a, items: [{{key: {marker}, path: p}}]}}\n"),
        format!("configMap: {{name: a, items: [{{key: k, path: /{marker}}}]}}\n"),
        format!("configMap: {{name: a, items: [{{key: k, path: p, mode: {marker}}}]}}\n"),
        format!("configMap: {{name: a, defaultMode: !!int {marker}}}\n"),
        format!("configMap: {{name: a, items: [{{key: k, path: {marker}, x: y}}]}}\n"),
        format!("configMap: {{name: '{marker}\n"),
    ] {
        let error = read(&text).expect_err(&text);
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(
                !shown.contains("Hunter") && !shown.contains("Passw0rd"),
                "{shown}\n{text}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(bytes);
    }

    #[test]
    fn a_damaged_volume_is_taken_or_refused(
        at in any::<prop::sample::Index>(),
        cut in 0..8_usize,
        insert in "[ \n:{}\\[\\],\"'&*~0-9a/.-]{0,6}",
    ) {
        let text = "projected:\n  defaultMode: 0400\n  sources:\n  - configMap: {name: a, items: [{key: \
                    k, path: p/q, mode: 0644}]}\n  - secret: {name: b, optional: true}\n";
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        let _ = read(format!("{}{insert}{}", &text[..at], &text[end..]));
    }
}
