//! Manifests that mean harm or came to harm: bounded time whatever they hold, no panic, and no
//! error that quotes a value.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::MAX_FILE_BYTES;
use super::parse_tests::{map, read, refusal, secret};

#[test]
fn bombs_cost_bounded_time() {
    let started = Instant::now();
    let mut laughs = map("data:\n  a: &a [x,x,x,x,x,x,x,x,x]\n");
    let mut merges = map("data:\n").replace("data:\n", "x0: &x0 {a: b}\n");
    let mut tower = String::from("x0: &x0 [y]\n");
    for i in 1..2000 {
        let (prev, next) = (i - 1, i);
        let _ = writeln!(tower, "x{next}: &x{next} [*x{prev}]");
        let _ = writeln!(
            merges,
            "x{next}: &x{next} {{<<: [*x{prev}, {{k{i}: v}}, *x{prev}]}}"
        );
    }
    for (at, next) in ('b'..='z').enumerate() {
        let prev = char::from(b'a' + u8::try_from(at).expect("small"));
        let _ = writeln!(
            laughs,
            "  {next}: &{next} [{}]",
            format!("*{prev},").repeat(9)
        );
    }
    let shared = map(&format!(
        "x: &x {}\ndata:\n{}",
        "y".repeat(1 << 20),
        (0..50_000).fold(String::new(), |text, i| text + &format!("  k{i}: *x\n"))
    ));
    let newlines = secret(&format!(
        "data:\n  k: &x \"{}\"\n{}",
        "\\n".repeat(1 << 20),
        (0..50_000).fold(String::new(), |text, i| text + &format!("  k{i}: *x\n"))
    ));
    let items = format!(
        "apiVersion: v1\nkind: List\nitems:\n- &x {{{} apiVersion: v1, kind: Pod}}\n{}",
        (0..100_000).fold(String::new(), |text, i| text + &format!("k{i}: v, ")),
        "- *x\n".repeat(100_000)
    );
    assert_eq!(read(items).expect("other kinds"), []);
    let documents = "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}\n".repeat(100_000);
    assert_eq!(read(documents).expect("other kinds"), []);
    let mut seed = 1_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    let random: Vec<u8> = (0..10_000_000).map(|_| noise()).collect();
    let printable: Vec<u8> = random.iter().map(|b| 32 + b % 95).collect();
    let lines: Vec<u8> = random
        .iter()
        .map(|b| b"\n  -:?ab[]{},&*!|>'\"%#"[usize::from(b % 22)])
        .collect();
    for (bomb, text) in [
        ("laughs", laughs.into_bytes()),
        ("merges", merges.into_bytes()),
        ("tower", tower.into_bytes()),
        ("shared", shared.into_bytes()),
        ("newlines", newlines.into_bytes()),
        ("flow", "[".repeat(100_000).into()),
        ("flow map", "{a: ".repeat(100_000).into()),
        ("block", "- ".repeat(100_000).into()),
        ("keys", "? ".repeat(100_000).into()),
        ("commas", format!("[{}", "a,".repeat(1_000_000)).into()),
        (
            "entries",
            (0..1_000_000)
                .fold(String::new(), |t, i| t + &format!("{i}:\n"))
                .into(),
        ),
        ("quote", format!("a: \"{}", "x".repeat(10_000_000)).into()),
        ("colons", ":".repeat(10_000_000).into()),
        ("random", random),
        ("printable", printable),
        ("lines", lines),
        ("larger than a file may be", vec![b'a'; MAX_FILE_BYTES + 1]),
    ] {
        let error = refusal(&text[..]);
        assert!(error.len() < 200, "{bomb}: {error}");
    }
    // Unoptimised and beside other tests: the bound is generous, what it excludes is hours.
    assert!(
        started.elapsed() < Duration::from_mins(5),
        "{:?}",
        started.elapsed()
    );
}

/// No legal key and no legal name, so that it has no place in any error.
const MARKER: &str = "Hunter 2/Passw0rd";

#[test]
fn no_error_quotes_a_value() {
    let head = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\n";
    let m = MARKER;
    for rest in [
        format!("data:\n  k: {m}\n"),
        format!("data: {m}\n"),
        format!("stringData: [{m}]\n"),
        format!("stringData: {{k: [{m}]}}\n"),
        format!("stringData: {{k: {{{m}: {m}}}}}\n"),
        format!("stringData: {{{m}: x}}\n"),
        format!("stringData: {{{m}: x, {m}: y}}\n"),
        format!("stringData: {{? [{m}] : x}}\n"),
        format!("stringData: {{k: {m}, {m}}}\n"),
        format!("stringData:\n  k: |\n    {m}\n   {m}\n"),
        format!("stringData:\n  k: |\n  {m}\n"),
        format!("stringData:\n  k: |\n  {m}: x\n"),
        format!("stringData:\n  k: '{m}\n"),
        format!("stringData:\n  k: \"{m}\\q\"\n"),
        format!("stringData:\n  k: \"\\{m}\"\n"),
        format!("stringData:\n  k: '{m}' {m}\n"),
        format!("stringData:\n  k: {m}: {m}\n"),
        format!("stringData:\n  k: @{m}\n"),
        format!("stringData:\n  k: *{m}\n"),
        format!("stringData:\n  k: !!int {m}\n"),
        format!("stringData:\n  k: !{m}! {{x: {m}}}\n"),
        format!("stringData:\n  k: !!binary {m}\n"),
        format!("stringData:\n  k: !<{m} x\n"),
        format!("stringData:\n\tk: {m}\n"),
        format!("stringData:\n  <<: {m}\n"),
        format!("stringData:\n  k: {m}\u{1}\n"),
        format!("stringData:\n  k: [{m}\n"),
        format!("stringData:\n  k: {{{m}]\n"),
        format!("stringData:\n    k: {m}\n  {m}\n"),
        format!("stringData: &a {{k: {m}, l: *a}}\n"),
        format!("{m}: {m}\n"),
        format!("immutable: {m}\n"),
        format!("type: [{m}]\n"),
        format!("%{m}\n"),
        format!("--- {m}\n"),
        format!("---\n- {m}\n"),
        format!("---\n{m}: {m}\n"),
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {m}}}\n"),
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: a, namespace: {m}}}\n"),
        format!("---\napiVersion: v1\nkind: Secret\nmetadata: {m}\n"),
        format!("---\napiVersion: v1\nkind: [{m}]\n"),
        format!("---\napiVersion: [{m}]\n"),
        format!("...\n{m}\n"),
        format!("---\n%TAG {m}\n---\n"),
    ] {
        let text = format!("{head}{rest}");
        let error = read(&text).expect_err(&text);
        for word in MARKER.split(' ') {
            for shown in [
                error.to_string(),
                format!("{error:?}"),
                format!("{error:#?}"),
            ] {
                assert!(!shown.contains(word), "{shown}\n{text}");
            }
        }
    }
}

fn valid() -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\n  labels: {{a: b}}\nstringData:\n  \
         one: \"{MARKER}\"\n  two: |\n    {MARKER}\n    {MARKER}\n  three: '{MARKER}'\ndata: {{k: \
         aGk=}}\n---\n{{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {{\"name\": \
         \"b\"}}, \"stringData\": {{\"k\": \"{MARKER}\"}}}}\n"
    )
}

#[derive(Clone, Debug)]
struct Edit {
    at: prop::sample::Index,
    cut: usize,
    insert: String,
}

fn edit() -> impl Strategy<Value = Edit> {
    let insert = "[ \n\t:{}\\[\\],\"'|>&*!%#?@`~<a1-]{0,4}";
    (any::<prop::sample::Index>(), 0..12_usize, insert).prop_map(|(at, cut, insert)| Edit {
        at,
        cut,
        insert,
    })
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(bytes);
    }

    #[test]
    fn any_text_is_taken_or_refused(text in "[ \n\t:{}\\[\\],\"'|>&*!%#?@`~<ak0-9-]{0,200}") {
        let _ = read(text);
    }

    /// Whatever slips in an editor: no panic, and no value in the error.
    #[test]
    fn a_damaged_secret_stays_secret(edits in prop::collection::vec(edit(), 1..6)) {
        let mut text: Vec<char> = valid().chars().collect();
        for Edit { at, cut, insert } in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = read(&text) {
            let shown = format!("{error} {error:?}");
            prop_assert!(!shown.contains("Hunter") && !shown.contains("Passw0rd"), "{}", shown);
        }
    }
}

#[test]
fn the_undamaged_secret_is_legal() {
    assert_eq!(read(valid()).expect("legal").len(), 2);
}
