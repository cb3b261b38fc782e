//! Volume sources in, specs or one error out: tables of what is taken and of what is refused with
//! which words.

use std::fmt::Write as _;
use std::path::Path;

use livemount_engine::spec::Spec;

use super::{Scope, VolumeSourceError, VolumeSourceType, parse_volume, parse_volume_source};

const SCOPE: Scope<'static> = Scope {
    origin: &livemount_engine::object::Origin::named("test"),
    namespace: "ns",
    pod: None,
};

pub(super) fn read(text: impl AsRef<[u8]>) -> Result<Spec, VolumeSourceError> {
    parse_volume(Path::new("v.yaml"), text.as_ref(), SCOPE)
}

/// A spec in few words: `KIND NAME[?] key>path[:mode] ... | default mode`.
fn words(spec: &Spec) -> String {
    let mut words = String::new();
    for source in &spec.sources {
        let optional = if source.optional { "?" } else { "" };
        let _ = write!(words, "{}{optional} ", source.object);
        for item in &source.items {
            let _ = write!(words, "{}>{}", item.key, item.path);
            if let Some(mode) = item.mode {
                let _ = write!(words, ":{:o}", mode.bits());
            }
            words.push(' ');
        }
    }
    let _ = write!(words, "| {:o}", spec.default_mode.bits());
    words
}

#[track_caller]
fn taken(table: &[(&str, &str)]) {
    for (text, expected) in table {
        let spec = read(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(words(&spec), *expected, "{text}");
        assert_eq!(spec.fs_group, None);
    }
}

#[track_caller]
fn refused(table: &[(&str, &str)]) {
    for (text, expected) in table {
        match read(text) {
            Ok(spec) => panic!("taken as {}: {text}", words(&spec)),
            Err(error) => assert_eq!(error.to_string(), format!("v.yaml{expected}"), "{text}"),
        }
    }
}

#[test]
fn what_a_pod_spec_says_is_taken_verbatim() {
    taken(&[
        ("configMap: {name: app}", "ConfigMap ns/app | 644"),
        ("configMap:\n  name: app\n", "ConfigMap ns/app | 644"),
        (
            "# of a pod\n---\nname: config\nconfigMap:\n  name: app\n  optional: true\n...\n---\n",
            "ConfigMap ns/app? | 644",
        ),
        (
            "{\"secret\": {\"secretName\": \"db.prod\", \"defaultMode\": 256}}",
            "Secret ns/db.prod | 400",
        ),
        (
            "secret:\n  secretName: db\n  defaultMode: 0400\n  optional: no\n  items:\n  - key: \
             .env\n    path: a//b/./c/\n    mode: 0440\n  - {key: k, path: ü n}\n",
            "Secret ns/db .env>a/b/c:440 k>ü n | 400",
        ),
        (
            "projected:\n  defaultMode: 0o640\n  sources:\n  - configMap: {name: a}\n  - secret:\n      \
             name: b\n      optional: true\n      items: [{key: k, path: p, mode: 0x1ff}]\n  - \
             configMap: {name: a, items: [{key: k, path: q}]}\n",
            "ConfigMap ns/a Secret ns/b? k>p:777 ConfigMap ns/a k>q | 640",
        ),
        // Null is nothing, as in the API; so is an empty list.
        (
            "secret: ~\nconfigMap: {name: a, items: null, defaultMode: null, optional: ~}",
            "ConfigMap ns/a | 644",
        ),
        ("configMap: {name: a, items: []}", "ConfigMap ns/a | 644"),
        ("projected: {sources: []}", "| 644"),
        ("projected: {}", "| 644"),
        // Anchors and merges, as in any YAML.
        (
            "configMap: {name: a, items: [&i {key: k, path: p}, {<<: *i, path: q}]}",
            "ConfigMap ns/a k>p k>q | 644",
        ),
        // The last wins, with the engine's warning; only a projected volume refuses it.
        (
            "configMap: {name: a, items: [{key: k, path: p}, {key: l, path: p}]}",
            "ConfigMap ns/a k>p l>p | 644",
        ),
        // The API compares paths as they are written.
        (
            "projected: {sources: [{configMap: {name: a, items: [{key: k, path: a/b}]}}, {secret: \
             {name: b, items: [{key: k, path: a//b}]}}]}",
            "ConfigMap ns/a k>a/b Secret ns/b k>a/b | 644",
        ),
        // Whether they meet hangs on what is there.
        (
            "configMap: {name: a, optional: true, items: [{key: k, path: p}, {key: l, path: p/q}]}",
            "ConfigMap ns/a? k>p l>p/q | 644",
        ),
        (
            "configMap: {name: a, items: [{key: k, path: p}, {key: l, path: p-q}, {key: m, path: pp}]}",
            "ConfigMap ns/a k>p l>p-q m>pp | 644",
        ),
    ]);
}

#[test]
fn a_volume_source_alone_is_read_alike() {
    let source_type = |source_type, text: &str| {
        parse_volume_source(Path::new("configMap"), source_type, text.as_bytes(), SCOPE)
            .map(|spec| words(&spec))
            .map_err(|error| error.to_string())
    };
    for (which, text, expected) in [
        (
            VolumeSourceType::ConfigMap,
            "name: a\noptional: true",
            Ok("ConfigMap ns/a? | 644"),
        ),
        (
            VolumeSourceType::Secret,
            "secretName: a",
            Ok("Secret ns/a | 644"),
        ),
        (
            VolumeSourceType::Projected,
            "sources:\n- secret: {name: a}",
            Ok("Secret ns/a | 644"),
        ),
        (
            VolumeSourceType::ConfigMap,
            "items: []",
            Err("configMap:1: configMap: it has no name"),
        ),
        (
            VolumeSourceType::ConfigMap,
            "",
            Err(
                "configMap: there is no volume in it; write one of configMap, secret and projected",
            ),
        ),
    ] {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(source_type(which, text), expected);
    }
}

#[test]
fn what_is_no_volume_is_refused() {
    refused(&[
        (
            "",
            ": there is no volume in it; write one of configMap, secret and projected",
        ),
        (
            "# nothing\n---\n",
            ": there is no volume in it; write one of configMap, secret and projected",
        ),
        (
            "app",
            ":1: not a volume: it is a string where a mapping with configMap, secret or projected \
             should be",
        ),
        (
            "\n- name: config\n  configMap: {name: app}\n",
            ":2: not a volume: it is a list where a mapping with configMap, secret or projected \
             should be",
        ),
        (
            "name: config\n",
            ":1: not a volume: it has none of configMap, secret and projected",
        ),
        (
            "configMap:\n",
            ":1: not a volume: it has none of configMap, secret and projected",
        ),
        (
            "configMap: {name: a}\nsecret: {secretName: b}\n",
            ":2: a volume has one of configMap, secret and projected, not several",
        ),
        (
            "configMap: {name: a}\n---\nconfigMap: {name: b}\n",
            ":3: a second document; a volume is one",
        ),
        (
            "configMap: {name: a}\nconfigMap: {name: b}\n",
            ":2: told twice, first on line 1",
        ),
        (
            "name: x\nemptyDir: {}\n",
            ":2: this field is unknown; there are name, configMap, secret and projected",
        ),
        (
            "apiVersion: v1\nkind: Secret\n",
            ":1: this field is unknown; there are name, configMap, secret and projected",
        ),
        (
            "downwardAPI: {items: []}\n",
            ":1: downwardAPI is served to pods only: its values are the pod's own",
        ),
        (
            "configMap: app\n",
            ":1: configMap must be a mapping, not a string",
        ),
        ("configMap: [\n", ":1: not YAML: brackets do not match"),
        (
            "configMap: {name: \u{7}}\n",
            ":1: not YAML: a control character; put binary values under binaryData as base64",
        ),
    ]);
}

#[test]
fn wrong_fields_are_refused() {
    refused(&[
        ("configMap: {}\n", ":1: configMap: it has no name"),
        ("configMap: {name: ''}\n", ":1: configMap: it has no name"),
        (
            "\nsecret:\n  name: db\n",
            ":3: secret: this field is unknown; there are secretName, items, defaultMode and optional",
        ),
        ("secret: {}\n", ":1: secret: it has no secretName"),
        (
            "configMap:\n  name: app\n  mode: 0400\n",
            ":3: configMap: this field is unknown; there are name, items, defaultMode and optional",
        ),
        (
            "configMap: {name: 5}\n",
            ":1: configMap.name must be a string, not a number",
        ),
        (
            "configMap: {name: App}\n",
            ":1: configMap.name is not a legal name: it takes a-z, 0-9, '-' and '.', and each part \
             begins and ends with a letter or digit",
        ),
        (
            "configMap: {name: a, optional: \"true\"}\n",
            ":1: configMap.optional must be a boolean, not a string",
        ),
        (
            "configMap: {name: a, items: {key: k}}\n",
            ":1: configMap.items must be a list, not a mapping",
        ),
        (
            "configMap:\n  name: a\n  items:\n  - key: k\n    path: p\n  - k\n",
            ":6: configMap.items[1] must be a mapping, not a string",
        ),
        (
            "configMap: {name: a, items: [{path: p}]}\n",
            ":1: configMap.items[0]: it has no key",
        ),
        (
            "configMap:\n  name: a\n  items:\n  - key: k\n",
            ":4: configMap.items[0]: it has no path",
        ),
        (
            "configMap: {name: a, items: [{key: k, path: p, defaultMode: 1}]}\n",
            ":1: configMap.items[0]: this field is unknown; there are key, path and mode",
        ),
        (
            "configMap: {name: a, items: [{key: k/l, path: p}]}\n",
            ":1: configMap.items[0].key: a key consists of letters, digits, '-', '_' and '.' alone",
        ),
        (
            "configMap: {name: a, items: [{key: 8080, path: p}]}\n",
            ":1: configMap.items[0].key must be a string, not a number",
        ),
    ]);
}

#[test]
fn modes_are_read_as_kubectl_reads_them() {
    let with = |mode: &str| {
        format!("configMap:\n  name: a\n  items: [{{key: k, path: p}}]\n  defaultMode: {mode}\n")
    };
    for (written, mode) in [
        ("0400", 0o400),
        ("256", 0o400),
        ("0", 0),
        ("00", 0),
        ("511", 0o777),
        ("0777", 0o777),
        ("0o640", 0o640),
        ("0x1ff", 0o777),
        ("!!int 0400", 0o400),
    ] {
        let spec = read(with(written)).expect(written);
        assert_eq!(spec.default_mode.bits(), mode, "{written}");
    }
    for (written, expected) in [
        (
            "\"0400\"",
            "configMap.defaultMode must be a number, not a string",
        ),
        (
            "r--r--r--",
            "configMap.defaultMode must be a number, not a string",
        ),
        (
            "true",
            "configMap.defaultMode must be a number, not a boolean",
        ),
        (
            "01000",
            "configMap.defaultMode: a mode is between 0 and 0777, which is 511; write it with a \
             leading 0, as in 0644",
        ),
        (
            "644",
            "configMap.defaultMode: a mode is between 0 and 0777, which is 511; write it with a \
             leading 0, as in 0644",
        ),
        (
            "-1",
            "configMap.defaultMode: a mode is between 0 and 0777, which is 511; write it with a \
             leading 0, as in 0644",
        ),
        (
            "99999999999999999999",
            "configMap.defaultMode: a mode is a whole number: 0644, or 420, which is the same",
        ),
        (
            "0688",
            "configMap.defaultMode: a mode is a whole number: 0644, or 420, which is the same",
        ),
        (
            "1.5",
            "configMap.defaultMode: a mode is a whole number: 0644, or 420, which is the same",
        ),
    ] {
        refused(&[(&with(written), &format!(":4: {expected}"))]);
    }
    refused(&[(
        "secret:\n  secretName: a\n  items:\n  - key: k\n    path: p\n    mode: 02755\n",
        ":6: secret.items[0].mode: a mode is between 0 and 0777, which is 511; write it with a \
         leading 0, as in 0644",
    )]);
}

#[test]
fn paths_outside_the_volume_are_refused() {
    let long = format!("{:?}", "d/".repeat(2049));
    let name = format!("{:?}", "n".repeat(256));
    for (path, why) in [
        ("/etc/passwd", "a path must be relative"),
        (
            "../up",
            "a path must not start with '..' or have '..' as an element",
        ),
        (
            "a/../b",
            "a path must not start with '..' or have '..' as an element",
        ),
        (
            "..data",
            "a path must not start with '..' or have '..' as an element",
        ),
        (
            "./..data",
            "a path must not start with '..' or have '..' as an element",
        ),
        (".", "a path must not be empty"),
        (&long, "a path has at most 4096 bytes"),
        (&name, "an element of a path has at most 255 bytes"),
        ("\"a\\0b\"", "a path must not hold a NUL"),
    ] {
        refused(&[(
            &format!("configMap:\n  name: a\n  items:\n  - key: app.conf\n    path: {path}\n"),
            &format!(":5: configMap.items[0].path: key \"app.conf\": {why}"),
        )]);
    }
    let key = "k".repeat(100);
    refused(&[(
        &format!("secret: {{secretName: a, items: [{{key: {key}, path: /}}]}}"),
        &format!(
            ":1: secret.items[0].path: key \"{}…\": a path must be relative",
            "k".repeat(64)
        ),
    )]);
}

#[test]
fn paths_that_meet_are_refused() {
    refused(&[
        (
            "projected:\n  sources:\n  - configMap:\n      name: a\n      items:\n      - {key: k, path: \
             p}\n  - secret:\n      name: b\n      items:\n      - {key: l, path: p}\n",
            ":10: projected.sources[1].secret.items[0].path: conflicting duplicate paths: the item \
             on line 6 has the same",
        ),
        // As the API does, also within one source of them.
        (
            "projected:\n  sources:\n  - configMap:\n      name: a\n      items:\n      - {key: k, path: \
             p}\n      - {key: l, path: p}\n",
            ":7: projected.sources[0].configMap.items[1].path: conflicting duplicate paths: the \
             item on line 6 has the same",
        ),
        (
            "configMap:\n  name: a\n  items:\n  - {key: k, path: p/q/r}\n  - {key: l, path: p-q}\n  \
             - {key: m, path: p}\n",
            ":4: configMap.items[0].path: it leads through the file of the item on line 6",
        ),
        (
            "projected:\n  sources:\n  - configMap: {name: a, items: [{key: k, path: p}]}\n  - \
             secret: {name: b, items: [{key: k, path: p/q}]}\n",
            ":4: projected.sources[1].secret.items[0].path: it leads through the file of the item \
             on line 3",
        ),
    ]);
}

#[test]
fn projected_sources_are_config_maps_and_secrets() {
    let source = |source: &str| format!("projected:\n  sources:\n  - {source}\n");
    for (text, expected) in [
        (
            source("{}"),
            "projected.sources[0]: it has none of configMap and secret",
        ),
        (
            source("a"),
            "projected.sources[0] must be a mapping, not a string",
        ),
        (
            source("{configMap: {name: a}, secret: {name: b}}"),
            "projected.sources[0]: it has one of configMap and secret, not several; write a source \
             for each",
        ),
        (
            source("downwardAPI: {items: []}"),
            "projected.sources[0]: downwardAPI is served to pods only: its values are the pod's own",
        ),
        (
            source("serviceAccountToken: {path: token}"),
            "projected.sources[0]: serviceAccountToken is not served; use a volume of its own for it",
        ),
        (
            source("clusterTrustBundle: {name: a, path: b}"),
            "projected.sources[0]: clusterTrustBundle is not served; use a volume of its own for it",
        ),
        (
            source("podCertificate: {}"),
            "projected.sources[0]: podCertificate is not served; use a volume of its own for it",
        ),
        (
            source("image: {}"),
            "projected.sources[0]: this field is unknown; there are configMap and secret",
        ),
        (
            source("configMap: {}"),
            "projected.sources[0].configMap: it has no name",
        ),
        (
            source("secret: {secretName: a}"),
            "projected.sources[0].secret: this field is unknown; there are name, items and optional",
        ),
        (
            source("configMap: {name: a, defaultMode: 0400}"),
            "projected.sources[0].configMap: this field is unknown; there are name, items and \
             optional",
        ),
    ] {
        refused(&[(&text, &format!(":3: {expected}"))]);
    }
    refused(&[
        (
            "projected: {sources: a}",
            ":1: projected.sources must be a list, not a string",
        ),
        (
            "projected: {items: []}",
            ":1: projected: this field is unknown; there are sources and defaultMode",
        ),
    ]);
}
