//! Manifests in, objects or one error out: tables of what is taken and of what is refused with
//! which words.

use std::collections::BTreeMap;
use std::path::Path;

use livemount_engine::object::Object;

use super::{ManifestError, parse};

pub(super) fn read(text: impl AsRef<[u8]>) -> Result<Vec<Object>, ManifestError> {
    let located = parse(Path::new("app.yaml"), text.as_ref(), "default")?;
    Ok(located.into_iter().map(|located| located.object).collect())
}

pub(super) fn refusal(text: impl AsRef<[u8]>) -> String {
    match read(text.as_ref()) {
        Err(error) => error.to_string(),
        Ok(objects) => panic!(
            "taken as {objects:?}: {}",
            String::from_utf8_lossy(text.as_ref())
        ),
    }
}

/// The data of the only object.
fn data(text: &str) -> BTreeMap<String, Vec<u8>> {
    let objects = read(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(objects.len(), 1, "{text}");
    objects[0]
        .data()
        .iter()
        .map(|(key, value)| (key.clone(), value.to_vec()))
        .collect()
}

/// A `ConfigMap` whose fields follow.
pub(super) fn map(rest: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n{rest}")
}

pub(super) fn secret(rest: &str) -> String {
    map(rest).replace("ConfigMap", "Secret")
}

/// A `ConfigMap` whose key `k` has a value as it is written.
fn value(written: &str) -> String {
    map(&format!("data:\n  k: {written}\n"))
}

#[test]
fn objects_are_read_in_the_files_order_with_their_metadata() {
    let objects = read(
        "# first\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: ns, uid: u-1, \
         resourceVersion: \"7\", labels: {x: y}}\nimmutable: true\ndata: {a: one, b: ''}\n\
         binaryData: {c: AAH/}\n---\n---\n# nothing\n---\napiVersion: apps/v1\nkind: Deployment\n\
         data: 5\nspec: [1, {a: [b]}]\n...\n---\nkind: Secret\nstringData: {p: plain, q: wins}\n\
         data: {q: bG9zZXM=}\ntype: Opaque\nmetadata: {name: a.b-c}\napiVersion: v1\n",
    )
    .expect("legal");
    let names: Vec<_> = objects.iter().map(|o| o.key.to_string()).collect();
    assert_eq!(names, ["ConfigMap ns/b", "Secret default/a.b-c"]);
    assert_eq!(objects[0].uid.as_deref(), Some("u-1"));
    assert_eq!(objects[0].resource_version.as_deref(), Some("7"));
    assert!(objects[0].immutable && !objects[1].immutable);
    assert_eq!(&*objects[0].data()["c"], [0, 1, 255]);
    assert_eq!(&*objects[1].data()["p"], b"plain");
    assert_eq!(&*objects[1].data()["q"], b"wins");
}

#[test]
fn json_and_lists_are_read() {
    let one = "{\n\t\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\",\r\n\t\"metadata\": \
               {\"name\": \"app\"},\n\"data\": {\"k\": \"a\\/\\u00e9\\ud83d\\ude00\\t\\\\\"}}";
    assert_eq!(data(one)["k"], "a/é😀\t\\".as_bytes());
    let two = one.replace("app", "ppa");
    for text in [
        format!("{one}{two}"),
        format!("{one}\n \n{two}\n"),
        format!("{one}\n---\n{two}"),
        format!("{{apiVersion: v1, kind: List, items: [{one}, {two}]}}"),
        format!("{{apiVersion: v1, kind: ConfigMapList, items: [{one}, {two}]}}"),
        "apiVersion: v1\nkind: ConfigMapList\nmetadata: {}\nitems:\n- metadata: {name: app}\n\
         - metadata: {name: ppa}\n"
            .to_owned(),
    ] {
        assert_eq!(read(&text).expect(&text).len(), 2, "{text}");
    }
    // Lines are counted through all of them.
    let third = two.replace("ppa", "App");
    let error = refusal(format!("{one}\n\n{two}{third}"));
    assert!(
        error.starts_with("app.yaml:11: metadata.name is not a legal name"),
        "{error}"
    );
    for empty in [
        "",
        "\n",
        "---\n",
        "# x\n---\n# y\n",
        "apiVersion: v1\nkind: List\nitems: []",
    ] {
        assert_eq!(read(empty).expect(empty), [], "{empty:?}");
    }
}

#[test]
fn strings_are_taken_as_written() {
    for (written, read) in [
        ("plain", "plain"),
        ("two words # comment", "two words"),
        ("\"8080\"", "8080"),
        ("'on'", "on"),
        ("!!str 8080", "8080"),
        ("! 8080", "8080"),
        ("!custom 8080", "8080"),
        ("!!str", ""),
        ("\"\"", ""),
        ("2026-01-01", "2026-01-01"),
        ("10.0.0.1", "10.0.0.1"),
        ("http://a:80/", "http://a:80/"),
        ("|\n    a\n     b\n\n", "a\n b\n"),
        ("|-\n    a\n", "a"),
        ("|+\n    a\n", "a\n\n"),
        (">\n    a\n    b\n", "a b\n"),
        ("|2\n     a\n", " a\n"),
        ("\"a\\x00\\tb\\n\"", "a\0\tb\n"),
        ("'a''b\n\n    c'", "a'b\nc"),
        ("a\n    b", "a b"),
        ("|\n    %PDF @ ` \t: #\n", "%PDF @ ` \t: #\n"),
        ("<<", "<<"),
    ] {
        assert_eq!(data(&value(written))["k"], read.as_bytes(), "{written:?}");
    }
}

#[test]
fn line_ends_marks_and_tabs() {
    let crlf = map("data:\n  k: |\n    a\n    b\n  l: x\n").replace('\n', "\r\n");
    assert_eq!(data(&crlf)["k"], b"a\nb\n");
    assert_eq!(data(&format!("\u{feff}{}", value("x")))["k"], b"x");
    // As libyaml: no line feed is added to a last line that has none.
    assert_eq!(data(value("|\n    a\n    b").trim_end())["k"], b"a\nb");
    assert_eq!(data(&value("a\tb\t"))["k"], b"a\tb");
    assert_eq!(
        refusal(map("data:\n\tk: x\n")),
        "app.yaml:6: not YAML: a tab where only spaces may stand"
    );
}

#[test]
fn unquoted_values_that_are_no_strings_are_refused_as_by_the_api() {
    for (what, words) in [
        (
            "a number",
            "8080 0400 0x10 1e3 1_000 1.5 .inf 0b1 -1 !!int!5",
        ),
        ("a boolean", "on true y No !!bool!x"),
        ("null", "~ null !!null!x &a"),
        ("a list", "[] [a]"),
        ("a mapping", "{} {a:!b}"),
        ("tagged !!binary", "!!binary!aGk="),
    ] {
        for word in words.split(' ') {
            let word = word
                .replacen("!!", "\u{1}", 1)
                .replace('!', " ")
                .replace('\u{1}', "!!");
            let error = refusal(value(&word));
            let start = format!(
                "app.yaml:6: ConfigMap default/app: key \"k\": the value is {what}; data takes \
                 strings only, so "
            );
            assert!(error.starts_with(&start), "{word}: {error}");
        }
    }
    assert_eq!(
        refusal(value("")),
        "app.yaml:6: ConfigMap default/app: key \"k\": the value is null; data takes strings only, \
         so write \"\" for an empty one"
    );
}

#[test]
fn keys_are_judged_as_kubectl_writes_them() {
    let kept = data(&map(
        "data: {8080: a, true: b, 1.5: c, \"on\": d, .env: e}\n",
    ));
    assert_eq!(
        kept.keys().collect::<Vec<_>>(),
        [".env", "1.5", "8080", "on", "true"]
    );
    for key in ["on", "0400", "y", "1e3"] {
        let error = refusal(map(&format!("data:\n  {key}: a\n")));
        assert!(
            error.contains("which kubectl writes in its own way; quote it"),
            "{error}"
        );
    }
}

#[test]
fn anchors_aliases_and_merges() {
    let text =
        map("data:\n  <<: &d {a: one, b: two}\n  b: own\n  c: &c three\n  d: *c\nbinaryData: {}\n");
    let got = data(&text);
    let got: Vec<_> = got
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_slice()))
        .collect();
    let want: [(&str, &[u8]); 4] = [
        ("a", b"one"),
        ("b", b"own"),
        ("c", b"three"),
        ("d", b"three"),
    ];
    assert_eq!(got, want);
    let list = map("data:\n  <<: [{a: first}, {a: second, b: x}]\n");
    assert_eq!(data(&list)["a"], b"first");
    for (rest, why) in [
        (
            "data:\n  a: own\n  <<: {a: other}\n",
            "6: ConfigMap default/app: key \"a\": told twice, first on line 6",
        ),
        (
            "data:\n  <<: x\n",
            "6: the merge key << takes a mapping or a list of mappings, not a string",
        ),
        (
            "data: &d {a: *d}\n",
            "5: an alias stands inside the value that it names",
        ),
        (
            "data: *nowhere\n",
            "5: not YAML: an alias names an anchor that is not there",
        ),
    ] {
        let error = refusal(map(rest)).replace("app.yaml:7", "app.yaml:6");
        assert_eq!(error, format!("app.yaml:{why}"), "{rest}");
    }
}

/// Each text is refused with these words after the file's name.
fn refused<const N: usize>(table: [(String, &str); N]) {
    for (text, words) in table {
        assert_eq!(refusal(&text), format!("app.yaml:{words}"), "{text:.300}");
    }
}

#[test]
fn what_is_no_manifest_is_refused() {
    let list = "apiVersion: v1\nkind: List\nitems:";
    refused([
        (
            "foo".into(),
            "1: not a manifest: it is a string where a mapping with apiVersion and kind should be",
        ),
        (
            "---\n- a\n".into(),
            "2: not a manifest: it is a list where a mapping with apiVersion and kind should be",
        ),
        ("a: b\n".into(), "1: not a manifest: it has no apiVersion"),
        (
            "apiVersion: v1\n".into(),
            "1: not a manifest: it has no kind",
        ),
        (
            "apiVersion: 1\nkind: x\n".into(),
            "1: apiVersion must be a string, not a number",
        ),
        (
            format!("{list} {{}}\n"),
            "3: items must be a list, not a mapping",
        ),
        (
            format!("{list}\n- {{apiVersion: v1, kind: List}}\n"),
            "4: a List inside a List",
        ),
        (
            format!("{}---\n{}", map(""), map("")),
            "6: ConfigMap default/app: told twice, first on line 1",
        ),
    ]);
}

#[test]
fn wrong_fields_are_refused() {
    refused([
        (
            "apiVersion: v1\nkind: Secret\n".into(),
            "1: a Secret without metadata.name",
        ),
        (
            map("").replace("app", "''"),
            "1: a ConfigMap without metadata.name",
        ),
        (
            map("").replace("app", "7"),
            "4: metadata.name must be a string, not a number",
        ),
        (
            map("").replace("app", "App"),
            "4: metadata.name is not a legal name: it takes a-z, 0-9, '-' and '.', and each part \
             begins and ends with a letter or digit",
        ),
        (
            map("  namespace: a.b\n"),
            "5: metadata.namespace is not a legal name: it takes a-z, 0-9 and '-', and begins and \
             ends with a letter or digit",
        ),
        (
            map("  resourceVersion: 5\n"),
            "5: ConfigMap default/app: metadata.resourceVersion must be a string, not a number",
        ),
        (
            map("dta: {}\n"),
            "5: ConfigMap default/app: this field is unknown; a ConfigMap has apiVersion, kind, \
             metadata, data, binaryData and immutable",
        ),
        (
            secret("binaryData: {}\n"),
            "5: Secret default/app: this field is unknown; a Secret has apiVersion, kind, \
             metadata, data, stringData, type and immutable",
        ),
        (
            map("immutable: 'true'\n"),
            "5: ConfigMap default/app: immutable must be a boolean, not a string",
        ),
        (
            map("data: x\n"),
            "5: ConfigMap default/app: data must be a mapping, not a string",
        ),
        (
            map("data: {}\ndata: {}\n"),
            "6: ConfigMap default/app: told twice, first on line 5",
        ),
    ]);
}

#[test]
fn wrong_data_is_refused() {
    let long = "k".repeat(254);
    let big = "x".repeat((1 << 20) + 1);
    refused([
        (
            map("data:\n  k: a\n  l: b\n  'k': c\n"),
            "8: ConfigMap default/app: key \"k\": told twice, first on line 6",
        ),
        (
            map("data: {k: a}\nbinaryData:\n  k: YQ==\n"),
            "7: ConfigMap default/app: key \"k\": told in data and in binaryData, first on line 5",
        ),
        (
            map("data:\n  a/b: c\n"),
            "6: ConfigMap default/app: key \"a/b\": a key consists of letters, digits, '-', '_' and \
             '.' alone",
        ),
        (
            secret("data:\n  a/b: c\n"),
            "6: Secret default/app: a key consists of letters, digits, '-', '_' and '.' alone",
        ),
        (
            map("data:\n  ..a: c\n"),
            "6: ConfigMap default/app: key \"..a\": a key must not be '.' and must not start with \
             '..'",
        ),
        (
            secret(&format!("data:\n  {long}: c\n")),
            "6: Secret default/app: a key has at most 253 characters",
        ),
        (
            secret("data:\n  k: a b\n"),
            "6: Secret default/app: key \"k\": the value is not base64; plain text goes under \
             stringData",
        ),
        (
            map("binaryData:\n  k: YQ=\n"),
            "6: ConfigMap default/app: key \"k\": the value is not base64",
        ),
        (
            map(&format!("data:\n  k: {big}\n")),
            "1: ConfigMap default/app: its values hold more than 1048576 bytes",
        ),
    ]);
}

#[test]
fn broken_yaml_is_refused() {
    refused([
        (
            value("{{ .Values.x }}"),
            "6: a mapping as a key; if this is a template, render it first",
        ),
        (
            value("a: b"),
            "6: not YAML: a colon where none may stand; quote a value that holds one",
        ),
        (
            value("@a"),
            "6: not YAML: a value starts with a character that is reserved; quote it",
        ),
        (value("'a"), "6: not YAML: a quote is opened and not closed"),
        (
            value("|\n    a\n   b"),
            "8: not YAML: the indentation does not fit what stands above",
        ),
        (
            value("|\n    a\n  b"),
            "8: not YAML: a colon is missing after a key",
        ),
        (
            value("a\n l: b"),
            "7: not YAML: the indentation does not fit what stands above",
        ),
        (map("data: {k: a\n"), "5: not YAML: brackets do not match"),
        (
            value("\"\\q\""),
            "6: not YAML: an unknown escape after a backslash in double quotes",
        ),
        (
            value("a\u{1}"),
            "6: not YAML: a control character; put binary values under binaryData as base64",
        ),
        (
            "{apiVersion: v, kind: x}\ny\n".into(),
            "2: not YAML: something follows the end of a document; separate with ---",
        ),
    ]);
    assert_eq!(
        refusal(b"a: b\nc: \xff\n"),
        "app.yaml:2: not YAML: it is not UTF-8"
    );
}

#[test]
fn base64_is_gos() {
    let got = data(&secret(
        "data:\n  a: |\n    aGVs\n    bG8=\n  b: \"aGk=\\r\\n\"\n  c: aGl=\n  d: ''\n",
    ));
    let got: Vec<_> = got.values().map(Vec::as_slice).collect();
    assert_eq!(got, [b"hello".as_slice(), b"hi", b"hi", b""]);
    for bad in ["aGk", "a_k=", "aGk= =", "'aGk ='", "===="] {
        assert!(
            refusal(secret(&format!("data: {{k: {bad}}}"))).contains("base64"),
            "{bad}"
        );
    }
}

#[test]
fn an_object_may_hold_a_mebibyte() {
    let full = "x".repeat(1 << 20);
    assert_eq!(data(&value(&full))["k"].len(), 1 << 20);
    // stringData that wins leaves nothing of what it overrides.
    let text = secret(&format!("stringData: {{k: {full}}}\ndata: {{k: YQ==}}\n"));
    assert_eq!(data(&text)["k"].len(), 1 << 20);
    assert!(refusal(map(&format!("data: {{k: {full}, l: z}}\n"))).contains("more than 1048576"));
}
