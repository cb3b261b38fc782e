//! The downward API in a volume source: tables of what is taken and of what is refused with which words.

use std::fmt::Write as _;
use std::path::Path;

use livemount_engine::downward::Divisor;
use livemount_engine::object::Kind;
use livemount_engine::spec::Spec;
use proptest::prelude::*;

use super::{Scope, VolumeSourceError, VolumeSourceType, parse_volume_source};

/// Reads a projected volume of the pod `ns/web-0`.
fn read(text: &str) -> Result<Spec, VolumeSourceError> {
    let source_type = VolumeSourceType::Projected;
    parse_volume_source(
        Path::new("projected"),
        source_type,
        text.as_bytes(),
        Scope {
            origin: &livemount_engine::object::Origin::named("test"),
            namespace: "ns",
            pod: Some("web-0"),
        },
    )
}

/// One downward API with these items, each on a line of its own from line 4 on.
fn items(items: &[&str]) -> String {
    let mut text = "sources:\n- downwardAPI:\n    items:\n".to_owned();
    for item in items {
        let _ = writeln!(text, "    - {item}");
    }
    text
}

/// A spec in few words: `KIND NAME key>path[:mode][/] ...`, with `/` where there is a divisor other
/// than 1.
fn words(spec: &Spec) -> String {
    let mut words = Vec::new();
    for source in &spec.sources {
        words.push(source.object.to_string());
        assert!(!source.optional);
        for item in &source.items {
            let mode = item.mode.map(|mode| format!(":{:o}", mode.bits()));
            let counted = item.divisor.is_some_and(|divisor| divisor != Divisor::ONE);
            let divisor = if counted { "/" } else { "" };
            let mode = mode.unwrap_or_default();
            words.push(format!("{}>{}{mode}{divisor}", item.key, item.path));
        }
    }
    words.join(" ")
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    match read(text) {
        Ok(spec) => panic!("taken as {}: {text}", words(&spec)),
        Err(error) => assert_eq!(error.to_string(), format!("projected:{expected}"), "{text}"),
    }
}

#[test]
fn what_a_pod_spec_says_of_its_pod_is_taken_verbatim() {
    for (text, expected) in [
        (
            items(&["{path: name, fieldRef: {fieldPath: metadata.name}}"]),
            "Pod ns/web-0 metadata.name>name",
        ),
        (
            items(&[
                "{path: a//b, mode: 0400, fieldRef: {apiVersion: v1, fieldPath: metadata.uid}}",
                "{path: l, fieldRef: {apiVersion: '', fieldPath: \"metadata.labels['a.b/c']\"}}",
                "{path: c, resourceFieldRef: {containerName: app, resource: limits.cpu}}",
                "{path: m, resourceFieldRef: {containerName: app, resource: requests.memory, divisor: \
                 1Mi}}",
            ]),
            "Pod ns/web-0 metadata.uid>a/b:400 metadata.labels['a.b/c']>l app/limits.cpu>c \
             app/requests.memory>m/",
        ),
        // Beside others, in their order.
        (
            "sources:\n- secret: {name: s}\n- downwardAPI: {items: [{path: f, fieldRef: {fieldPath: \
             metadata.namespace}}]}\n- configMap: {name: c}\n"
                .to_owned(),
            "Secret ns/s Pod ns/web-0 metadata.namespace>f ConfigMap ns/c",
        ),
        // Null is nothing, as in the API.
        (
            items(&["{path: f, resourceFieldRef: ~, fieldRef: {fieldPath: metadata.name}}"]),
            "Pod ns/web-0 metadata.name>f",
        ),
        (
            "sources:\n- {configMap: {name: c}, downwardAPI: ~}\n".to_owned(),
            "ConfigMap ns/c",
        ),
        // Nothing is asked for, so the pod need not be read.
        ("sources:\n- downwardAPI: {}\n".to_owned(), ""),
        ("sources:\n- downwardAPI: {items: []}\n".to_owned(), ""),
    ] {
        let spec = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(words(&spec), expected, "{text}");
        let of_pod = |source: &livemount_engine::spec::Source| source.object.kind == Kind::Pod;
        for source in &spec.sources {
            for item in &source.items {
                let counted = of_pod(source) && item.key.contains("/limits.")
                    || item.key.contains("/requests.");
                assert_eq!(item.divisor.is_some(), counted, "{text}");
            }
        }
    }
}

/// kubectl hands numbers on as numbers, and the API reads either.
#[test]
fn divisors_are_strings_or_numbers() {
    let of = |resource: &str, divisor: &str| {
        let item = format!(
            "{{path: p, resourceFieldRef: {{containerName: c, resource: {resource}, divisor: \
             {divisor}}}}}"
        );
        let spec = read(&items(&[&item])).map_err(|error| error.to_string())?;
        Ok::<_, String>(spec.sources[0].items[0].divisor)
    };
    let right = |resource: &str, divisor: &str| {
        livemount_engine::downward::resource("c", resource, Some(divisor)).map(|(_, is)| Some(is))
    };
    for (resource, written, same) in [
        ("limits.cpu", "1m", "1m"),
        ("limits.cpu", "\"1\"", "1"),
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "0.001", "1m"),
        ("limits.cpu", "~", "0"),
        ("limits.memory", "1000", "1k"),
        ("limits.memory", "01750", "1k"),
        ("limits.memory", "1_000", "1k"),
        ("limits.memory", "1e3", "1k"),
        ("limits.memory", "'1Gi'", "1Gi"),
    ] {
        let right = right(resource, same).expect(same);
        assert_eq!(of(resource, written), Ok(right), "{resource} {written}");
    }
    let own = ":4: projected.sources[0].downwardAPI.items[0].resourceFieldRef.divisor";
    for (resource, written, expected) in [
        ("limits.cpu", "1k", ": a divisor of cpu is 1m or 1"),
        ("limits.cpu", "'1e-3'", ": a divisor of cpu is 1m or 1"),
        (
            "limits.memory",
            "'1e3'",
            ": a divisor of bytes is 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi or 1Ei",
        ),
        (
            "limits.memory",
            ".inf",
            ": a divisor of bytes is 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi or 1Ei",
        ),
        ("limits.memory", "true", " must be a string, not a boolean"),
        ("limits.memory", "[1]", " must be a string, not a list"),
    ] {
        let expected = format!("projected{own}{expected}");
        assert_eq!(of(resource, written), Err(expected), "{resource} {written}");
    }
}

#[test]
fn wrong_items_are_refused() {
    let own = "projected.sources[0].downwardAPI.items[0]";
    for (item, expected) in [
        ("f", " must be a mapping, not a string"),
        ("{path: p}", ": it has one of fieldRef and resourceFieldRef"),
        (
            "{path: p, fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {containerName: c, \
             resource: limits.cpu}}",
            ": it has one of fieldRef and resourceFieldRef",
        ),
        ("{fieldRef: {fieldPath: metadata.name}}", ": it has no path"),
        (
            "{key: k, path: p, fieldRef: {fieldPath: metadata.name}}",
            ": this field is unknown; there are path, mode, fieldRef and resourceFieldRef",
        ),
        (
            "{path: p, fieldRef: metadata.name}",
            ".fieldRef must be a mapping, not a string",
        ),
        ("{path: p, fieldRef: {}}", ".fieldRef: it has no fieldPath"),
        (
            "{path: p, fieldRef: {name: a}}",
            ".fieldRef: this field is unknown; there are apiVersion and fieldPath",
        ),
        (
            "{path: p, fieldRef: {apiVersion: v2, fieldPath: metadata.name}}",
            ".fieldRef.apiVersion: the version of a pod is v1",
        ),
        (
            "{path: p, fieldRef: {fieldPath: spec.nodeName}}",
            ".fieldRef.fieldPath: a volume shows metadata.name, metadata.namespace, metadata.uid, \
             metadata.labels, metadata.annotations, metadata.labels['NAME'] and \
             metadata.annotations['NAME'] of its pod",
        ),
        (
            "{path: p, fieldRef: {fieldPath: \"metadata.labels['a b']\"}}",
            ".fieldRef.fieldPath: what stands in the brackets is not a legal name of a label or \
             annotation",
        ),
        (
            "{path: p, resourceFieldRef: {resource: limits.cpu}}",
            ".resourceFieldRef: it has no containerName",
        ),
        (
            "{path: p, resourceFieldRef: {containerName: A/b, resource: limits.cpu}}",
            ".resourceFieldRef.containerName is not a legal name: it takes a-z, 0-9 and '-', and \
             begins and ends with a letter or digit",
        ),
        (
            "{path: p, resourceFieldRef: {containerName: c}}",
            ".resourceFieldRef: it has no resource",
        ),
        (
            "{path: p, resourceFieldRef: {containerName: c, resource: limits.gpu, divisor: 1}}",
            ".resourceFieldRef.resource: a volume shows requests and limits of cpu, memory, \
             ephemeral-storage and hugepages-SIZE, such as limits.cpu",
        ),
        (
            "{path: p, resourceFieldRef: {containerName: c, resource: limits.cpu, default: 1}}",
            ".resourceFieldRef: this field is unknown; there are containerName, resource and divisor",
        ),
        (
            "{path: /p, fieldRef: {fieldPath: metadata.name}}",
            ".path: a path must be relative",
        ),
        (
            "{path: p, mode: 01000, fieldRef: {fieldPath: metadata.name}}",
            ".mode: a mode is between 0 and 0777, which is 511; write it with a leading 0, as in 0644",
        ),
    ] {
        refused(&items(&[item]), &format!("4: {own}{expected}"));
    }
    for (source, expected) in [
        ("{}", "it has none of configMap, secret and downwardAPI"),
        (
            "{secret: {name: s}, downwardAPI: {}}",
            "it has one of configMap, secret and downwardAPI, not several; write a source for each",
        ),
        (
            "downward: {}",
            "this field is unknown; there are configMap, secret and downwardAPI",
        ),
        (
            "serviceAccountToken: {path: t}",
            "serviceAccountToken is not served; use a volume of its own for it",
        ),
    ] {
        let expected = format!("2: projected.sources[0]: {expected}");
        refused(&format!("sources:\n- {source}\n"), &expected);
    }
    // It has no mode of its own here, unlike a volume of its own.
    refused(
        "sources:\n- downwardAPI: {defaultMode: 0400}\n",
        "2: projected.sources[0].downwardAPI: this field is unknown; there is items",
    );
}

#[test]
fn paths_that_meet_others_are_refused() {
    let name = |path: &str| format!("{{path: {path}, fieldRef: {{fieldPath: metadata.name}}}}");
    refused(
        &items(&[&name("p"), &name("p")]),
        "5: projected.sources[0].downwardAPI.items[1].path: conflicting duplicate paths: the item on \
         line 4 has the same",
    );
    refused(
        &items(&[&name("p"), &name("p/q")]),
        "5: projected.sources[0].downwardAPI.items[1].path: it leads through the file of the item on \
         line 4",
    );
    let beside = "- configMap: {name: c, items: [{key: k, path: p}]}\n";
    refused(
        &(items(&[&name("p")]) + beside),
        "5: projected.sources[1].configMap.items[0].path: conflicting duplicate paths: the item on \
         line 4 has the same",
    );
}

/// Whatever is given by mistake, be it a Secret: nothing of it is quoted.
#[test]
fn no_error_quotes_a_value() {
    let marker = "Hunter2/Passw0rd";
    for item in [
        format!("{{{marker}: p}}"),
        format!("{{path: /{marker}, fieldRef: {{fieldPath: metadata.name}}}}"),
        format!("{{path: p, fieldRef: {{fieldPath: {marker}}}}}"),
        format!("{{path: /p, fieldRef: {{fieldPath: \"metadata.labels['{marker}']\"}}}}"),
        format!("{{path: p, fieldRef: {{fieldPath: metadata.uid, apiVersion: {marker}}}}}"),
        format!("{{path: p, resourceFieldRef: {{containerName: {marker}, resource: limits.cpu}}}}"),
        format!("{{path: p, resourceFieldRef: {{containerName: c, resource: {marker}}}}}"),
        format!(
            "{{path: /p, resourceFieldRef: {{containerName: c, resource: limits.hugepages-{marker}}}}}"
        ),
        format!(
            "{{path: p, resourceFieldRef: {{containerName: c, resource: limits.cpu, divisor: \
             {marker}}}}}"
        ),
    ] {
        let error = read(&items(&[&item])).expect_err(&item);
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(
                !shown.contains("Hunter") && !shown.contains("Passw0rd"),
                "{shown}\n{item}"
            );
        }
    }
}

proptest! {
    /// What is left of a damaged text asks for things of the pod's own and of this namespace alone.
    #[test]
    fn a_damaged_downward_api_is_taken_or_refused(
        at in any::<prop::sample::Index>(),
        cut in 0..8_usize,
        insert in "[ \n:{}\\[\\],\"'&*~0-9a/.-]{0,6}",
    ) {
        let text = items(&[
            "{path: a/b, mode: 0400, fieldRef: {apiVersion: v1, fieldPath: \"metadata.labels['a']\"}}",
            "{path: c, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}",
        ]);
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        if let Ok(spec) = read(&format!("{}{insert}{}", &text[..at], &text[end..])) {
            for source in &spec.sources {
                prop_assert_eq!(source.object.to_string(), "Pod ns/web-0");
                for item in &source.items {
                    let of_meta = item.key.starts_with("metadata.");
                    prop_assert_eq!(item.divisor.is_none(), of_meta, "{}", item.key);
                }
            }
        }
    }
}
