//! Bad manifests. Each is refused with a sentence that names where, in bounded time and memory, and
//! no sentence and no log ever holds a Secret's value.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon;
use crate::support::daemon::{Finished, Launch};
use crate::support::manifest::{self, Manifest, base64};
use crate::support::random::Random;
use crate::support::scratch::Scratch;
use crate::support::volume::Volume;

/// A value that must never be told, in the ways in which it could be written.
const MARKER: &str = "TopSecretMarker90210";
const MARKER_NUMBER: &str = "7734902107734";

/// How long a refusal may take, on a loaded machine and with a binary that is not optimised.
const BOUND: Duration = Duration::from_secs(20);
/// How much address space it may take.
const MEMORY: &str = "--as=1073741824";

/// Starts a daemon on a manifest that is to be refused.
fn refuse(scratch: &Scratch, options: &[&str], text: &[u8]) -> Finished {
    let source = scratch.join("bad.yaml");
    fs::write(&source, text).expect("the manifest can be written");
    let target = scratch.join("target");
    let began = Instant::now();
    let ended = Launch::mount(scratch)
        .under(&["prlimit", MEMORY])
        .args(options)
        .arg(&source)
        .arg(&target)
        .run();
    assert!(began.elapsed() < BOUND, "took {:?}", began.elapsed());
    assert!(!target.exists(), "the mountpoint was made and left");
    ended
}

/// A `ConfigMap` with this text below its metadata.
fn config_map(rest: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n{rest}")
}

/// A Secret with this text below its metadata.
fn secret(rest: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: keys\n{rest}")
}

#[test]
fn promise_6_a_bad_manifest_is_one_sentence_that_names_what_and_where() {
    let scratch = Scratch::new();
    let large = format!("data:\n  big: {}\n", "x".repeat((1 << 20) + 1));
    let many = format!("data:\n  one: {0}\n  two: {0}\n", "x".repeat((1 << 19) + 1));
    let long = format!("data:\n  {}: x\n", "k".repeat(254));
    for (text, named) in [
        // Not YAML, and not a mapping.
        (config_map("data:\n  a: [1\n"), &["bad.yaml:"][..]),
        (config_map("data:\n  a: \"open\n"), &["bad.yaml:"]),
        (config_map("data:\n\ta: tab\n"), &["bad.yaml:6:"]),
        ("just a text\n".to_owned(), &["bad.yaml:1:"]),
        ("- a\n- list\n".to_owned(), &["bad.yaml:1:"]),
        ("42\n".to_owned(), &["bad.yaml:1:"]),
        (String::new(), &[]),
        ("# a comment alone\n".to_owned(), &[]),
        // Not an object, or none that is served.
        ("kind: ConfigMap\n".to_owned(), &[]),
        ("apiVersion: v1\nkind: ConfigMap\n".to_owned(), &["name"]),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: }\n".to_owned(),
            &["name"],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n".to_owned(),
            &["ConfigMap", "Secret"],
        ),
        // Wrong types: what the API refuses, though YAML reads it.
        (config_map("data: text\n"), &["app", "bad.yaml:5:", "data"]),
        (config_map("data: [a]\n"), &["app", "bad.yaml:5:", "data"]),
        (config_map("data:\n  a: 1\n"), &["app", "bad.yaml:6:", "a"]),
        (
            config_map("data:\n  b: true\n"),
            &["app", "bad.yaml:6:", "b"],
        ),
        (
            config_map("data:\n  c: 1.5\n"),
            &["app", "bad.yaml:6:", "c"],
        ),
        (
            config_map("data:\n  d: {x: y}\n"),
            &["app", "bad.yaml:6:", "d"],
        ),
        (
            config_map("data:\n  e: [x]\n"),
            &["app", "bad.yaml:6:", "e"],
        ),
        (config_map("data:\n  x: a\n  x: b\n"), &["bad.yaml:7:", "x"]),
        // Keys, values and sizes that the API refuses.
        (config_map("data:\n  a/b: x\n"), &["app", "a/b"]),
        (config_map("data:\n  ..up: x\n"), &["app", "..up"]),
        (config_map("data:\n  \"\": x\n"), &["app", "empty"]),
        (config_map(&long), &["app", "kkkk", "253"]),
        (
            config_map("data:\n  k: x\nbinaryData:\n  k: eA==\n"),
            &["app", "k"],
        ),
        (config_map("binaryData:\n  bin: '!'\n"), &["app", "bin"]),
        (config_map("binaryData:\n  bin: eA=\n"), &["app", "bin"]),
        (secret("data:\n  pem: not base64\n"), &["keys", "pem"]),
        (config_map(&large), &["app", "1048576"]),
        (config_map(&many), &["app", "1048576"]),
        // Bytes that are no text.
        ("apiVersion: v1\nkind: \u{0}\n".to_owned(), &["bad.yaml:2:"]),
    ] {
        let ended = refuse(&scratch, &[], text.as_bytes());

        let shown: String = text.chars().take(200).collect();
        let sentence = ended.sentence(1);
        assert!(sentence.contains("bad.yaml"), "{sentence}\nof:\n{shown}");
        for word in named {
            assert!(
                sentence.contains(word),
                "{word:?}: {sentence}\nof:\n{shown}"
            );
        }
        assert!(sentence.len() < 1000, "a sentence, not a page: {sentence}");
    }
}

#[test]
fn promise_6_hostile_manifests_are_refused_in_bounded_time_and_memory() {
    let scratch = Scratch::new();
    let mut random = Random::new("hostile manifests");

    // Ten levels of ten aliases each would be ten thousand million strings.
    let mut bomb = config_map("data:\n  a0: &a0 \"0123456789\"\n");
    for level in 1..=10 {
        let alias = format!("*a{}", level - 1);
        let list = vec![alias; 10].join(", ");
        let _ = writeln!(bomb, "  a{level}: &a{level} [{list}]");
    }
    refuse(&scratch, &[], bomb.as_bytes()).sentence(1);

    // One long value and many names for it.
    let mut wide = config_map(&format!("data:\n  a: &a {}\n", "x".repeat(100_000)));
    for number in 0..10_000 {
        let _ = writeln!(wide, "  b{number}: *a");
    }
    refuse(&scratch, &[], wide.as_bytes()).sentence(1);

    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")] {
        let deep = format!("{}x{}", open.repeat(100_000), close.repeat(100_000));
        refuse(&scratch, &[], deep.as_bytes()).sentence(1);
    }
    let mut steps = String::new();
    for depth in 0..2_000 {
        let _ = writeln!(steps, "{}a:", " ".repeat(depth));
    }
    refuse(&scratch, &[], steps.as_bytes()).sentence(1);

    let noise: Vec<u8> = (0..10_000_000)
        .map(|_| u8::try_from(random.below(256)).expect("a byte"))
        .collect();
    refuse(&scratch, &[], &noise).sentence(1);
    let letters: Vec<u8> = noise.iter().map(|byte| b'a' + byte % 26).collect();
    refuse(&scratch, &[], &letters).sentence(1);
    let documents = "---\n".repeat(2_500_000);
    refuse(&scratch, &[], documents.as_bytes()).sentence(1);
}

/// Manifests that put a secret value where a parser or a check may stumble over it.
fn leaky() -> Vec<String> {
    let encoded = base64(MARKER.as_bytes());
    let mut manifests = vec![
        secret(&format!("stringData:\n  k: \"{MARKER}\n")),
        secret(&format!("stringData:\n  k: '{MARKER}\n")),
        secret(&format!("stringData:\n  k: {MARKER}: x\n")),
        secret(&format!("stringData:\n  k: @{MARKER}\n")),
        secret(&format!("stringData:\n  k: `{MARKER}\n")),
        secret(&format!("stringData:\n  k: %{MARKER}\n")),
        secret(&format!("stringData:\n  k: *{MARKER}\n")),
        secret(&format!("stringData:\n  k: &{MARKER}\n")),
        secret(&format!("stringData:\n  k: !{MARKER} x\n")),
        secret(&format!("stringData:\n  k: !!{MARKER} x\n")),
        secret(&format!("stringData:\n  k: !!int {MARKER}\n")),
        secret(&format!("stringData:\n  k: !!binary {MARKER}*\n")),
        secret(&format!("stringData:\n  k: >{MARKER}\n")),
        secret(&format!("stringData:\n  k: |{MARKER}\n")),
        secret(&format!("stringData:\n  k: \"\\q{MARKER}\"\n")),
        secret(&format!("stringData:\n  k: [{MARKER}\n")),
        secret(&format!("stringData:\n  k: {{{MARKER}\n")),
        secret(&format!("stringData:\n  k: {{{MARKER}: x}}\n")),
        secret(&format!("stringData:\n  k: [{MARKER}]\n")),
        secret(&format!("stringData:\n  k: {MARKER_NUMBER}\n")),
        secret(&format!("stringData:\n  k: 0x{MARKER_NUMBER}\n")),
        secret(&format!("stringData:\n  k: {MARKER_NUMBER}.5\n")),
        secret(&format!("stringData:\n  k: x\n  k: {MARKER}\n")),
        secret(&format!("stringData:\n\tk: {MARKER}\n")),
        secret(&format!("stringData:\n  k: {MARKER}\n bad: x\n")),
        secret(&format!("stringData: {MARKER}\n")),
        secret(&format!("stringData: [{MARKER}]\n")),
        secret(&format!("stringData: {MARKER_NUMBER}\n")),
        secret(&format!("data: {MARKER}\n")),
        secret(&format!("data:\n  k: {MARKER}!\n")),
        secret(&format!("data:\n  k: {MARKER}=\n")),
        secret(&format!("data:\n  k: {encoded}=\n")),
        secret(&format!("data:\n  k: [{encoded}]\n")),
        secret(&format!("data:\n  k: {MARKER_NUMBER}\n")),
        secret(&format!("data:\n  k: {MARKER} {encoded}\n")),
        secret(&format!("stringData:\n  k: {MARKER}\ntype: [x]\n")),
        secret(&format!("stringData:\n  k: {MARKER}\n  a/b: x\n")),
        secret(&format!(
            "stringData:\n  k: {MARKER}\nimmutable: {MARKER}\n"
        )),
        secret(&format!("stringData:\n  k: {MARKER}\n  \u{7}: x\n")),
        secret(&format!("stringData:\n  k: |\n    {MARKER}\n  {MARKER}\n")),
        secret(&format!("stringData:\n  k: |\n    x\n   {MARKER}\n")),
        secret(&format!(
            "stringData:\n  k: {MARKER}\n  big: {}\n",
            "x".repeat(1 << 20)
        )),
        format!(
            "{}---\n[\n",
            secret(&format!("stringData:\n  k: {MARKER}\n"))
        ),
        format!("kind: Secret\nstringData:\n  k: {MARKER}\n"),
        format!("apiVersion: v1\nkind: {MARKER}\n"),
        format!("{MARKER}\n"),
        // What an editor's slip makes of a Secret: its last bytes, without a head.
        format!("  k: {MARKER}\n"),
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: keys\nstringData:\n  k: {MARKER}"
        ),
    ];
    // The last is a good one, with a key that no API takes.
    if let Some(last) = manifests.last_mut() {
        last.push_str("\n  'a b': x\n");
    }
    manifests
}

/// Fails if a log holds the marker, in any way of writing it.
fn expect_no_marker(log: &[String], manifest: &str) {
    let encoded = base64(MARKER.as_bytes());
    for line in log {
        for marker in [MARKER, MARKER_NUMBER, &*encoded] {
            assert!(!line.contains(marker), "{line}\nof:\n{manifest}");
        }
    }
}

#[test]
fn a_secret_is_never_told_when_it_is_refused_at_start() {
    let scratch = Scratch::new();
    let mut served = 0;
    for manifest in leaky() {
        let source = scratch.join("bad.yaml");
        fs::write(&source, &manifest).expect("the manifest can be written");
        let mut daemon = Launch::mount(&scratch)
            .args(&["--log", "trace"])
            .arg(&source)
            .arg(scratch.join("target"))
            .spawn();
        // A few are odd and legal, and served: their logs matter as well.
        if daemon.ready_or_ended() {
            served += 1;
            daemon.stop();
        } else {
            assert_eq!(daemon.wait_for_end(BOUND).code(), Some(1), "{manifest}");
        }
        expect_no_marker(&daemon.stdout.finish(), &manifest);
        expect_no_marker(&daemon.stderr.finish(), &manifest);
    }
    assert!(served < leaky().len() / 4, "{served} were served");
}

#[test]
fn a_secret_is_never_told_when_it_is_refused_later() {
    for level in ["trace", "info"] {
        let scratch = Scratch::new();
        let mut good = Manifest::secret(&scratch.join("manifest.yaml"), "keys");
        good.set("k", MARKER).set("count", "0").write();
        let target = scratch.join("volume");
        let options = ["--log", level, "--secret", "keys"];
        let mut daemon = daemon::mount(&scratch, &options, good.path(), &target);
        let read = |name: &str| fs::read_to_string(target.join(name)).expect("it can be read");

        // A few are odd and legal.
        let told = |line: &str| refused(line) || committed(line);
        for (number, manifest) in leaky().iter().enumerate() {
            let before = daemon.stderr.all().len();
            manifest::replace(good.path(), manifest.as_bytes());
            if refused(&daemon.stderr.wait_past(before, manifest, told)) {
                assert_eq!(read("k"), MARKER);
            }
            // The good one again: the next refusal is not a repetition.
            let before = daemon.stderr.all().len();
            let number = (number + 1).to_string();
            good.set("count", &number).replace();
            daemon
                .stderr
                .wait_past(before, "the good one is back", committed);
            assert_eq!((read("k"), read("count")), (MARKER.to_owned(), number));
        }
        daemon.stop();
        let log = daemon.stderr.finish();
        assert!(log.len() > leaky().len());
        expect_no_marker(&log, "all of them");
        expect_no_marker(&daemon.stdout.finish(), "all of them");
    }
}

#[test]
fn promise_6_each_refusal_leaves_every_file_as_it_was() {
    let mut volume = Volume::of(&[("a", "kept a"), ("b", "kept b")]);
    let source = volume.manifest.path().to_owned();
    let bad = [
        // Good files beside a bad one: nothing of it may be shown.
        config_map("data:\n  a: changed\n  b: 1\n"),
        config_map("data:\n  a: changed\n  b/c: x\n"),
        config_map("data:\n  a: changed\nbinaryData:\n  b: '*'\n"),
        format!("{}---\nkind: [\n", config_map("data:\n  a: changed\n")),
    ];
    for text in &bad {
        let before = volume.daemon.stderr.all().len();
        manifest::replace(&source, text.as_bytes());
        let line = volume.daemon.stderr.wait_past(before, text, refused);
        assert!(line.contains(&*source.to_string_lossy()), "{line}");
        assert_eq!(volume.read("a"), "kept a");
        assert_eq!(volume.read("b"), "kept b");
        assert_eq!(names(volume.path()).len(), 3);
        volume.settle();
    }
}

fn refused(line: &str) -> bool {
    line.contains("WARN refused")
}

fn committed(line: &str) -> bool {
    line.contains("INFO committed")
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}
