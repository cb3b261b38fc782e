//! Tables of what the API takes and of what the kubelet writes.

use super::*;
use crate::sample::{path, pod};

fn shown(pod: &Object, key: String, divisor: Option<Divisor>) -> Option<String> {
    let item = Item {
        key,
        path: path("f"),
        mode: None,
        divisor,
    };
    let bytes = value(pod, &item)?;
    Some(String::from_utf8(bytes.to_vec()).expect("text"))
}

#[test]
fn the_fields_are_those_that_a_volume_may_show() {
    let long = format!("metadata.labels['{}']", "n".repeat(63));
    let prefixed = format!(
        "metadata.labels['{}/n']",
        ["p".repeat(63).as_str(); 3].join(".")
    );
    for path in [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "metadata.labels",
        "metadata.annotations",
        "metadata.labels['app']",
        "metadata.labels['App_1.x-Y']",
        "metadata.labels['app.kubernetes.io/name']",
        "metadata.annotations['a.b/C']",
        // Annotations are judged in lower case, labels are not.
        "metadata.annotations['A.B/c']",
        &long,
        &prefixed,
    ] {
        assert_eq!(field(path).as_deref(), Ok(path));
    }
    let long = format!("metadata.labels['{}']", "n".repeat(64));
    let prefixed = format!("metadata.labels['{}/n']", "p.".repeat(127) + "p");
    for (path, why) in [
        ("", FieldError::Unknown),
        ("metadata", FieldError::Unknown),
        ("metadata.Name", FieldError::Unknown),
        ("metadata.generateName", FieldError::Unknown),
        ("metadata.finalizers", FieldError::Unknown),
        ("metadata.name['a']", FieldError::Unknown),
        ("metadata.uid['']", FieldError::Unknown),
        ("metadata.labels['a'", FieldError::Unknown),
        ("metadata.labels[a]", FieldError::Unknown),
        ("metadata.labels[\"a\"]", FieldError::Unknown),
        ("['a']", FieldError::Unknown),
        // Environment variables may show these, volumes may not.
        ("spec.nodeName", FieldError::Unknown),
        ("status.podIP", FieldError::Unknown),
        ("metadata.labels['']", FieldError::Name),
        ("metadata.labels['-a']", FieldError::Name),
        ("metadata.labels['a.']", FieldError::Name),
        ("metadata.labels['a b']", FieldError::Name),
        ("metadata.labels['é']", FieldError::Name),
        ("metadata.labels['A.B/c']", FieldError::Name),
        ("metadata.labels['/c']", FieldError::Name),
        ("metadata.labels['a/']", FieldError::Name),
        ("metadata.labels['a/b/c']", FieldError::Name),
        ("metadata.labels['a..b/c']", FieldError::Name),
        ("metadata.labels['a_b/c']", FieldError::Name),
        ("metadata.annotations['a[b]c']", FieldError::Name),
        (&long, FieldError::Name),
        (&prefixed, FieldError::Name),
    ] {
        assert_eq!(field(path), Err(why), "{path}");
    }
}

#[test]
fn the_resources_are_those_that_a_volume_may_show() {
    let key = |name| resource("app", name, None).map(|(key, _)| key);
    for name in [
        "limits.cpu",
        "requests.cpu",
        "limits.memory",
        "requests.memory",
        "limits.ephemeral-storage",
        "requests.ephemeral-storage",
        "limits.hugepages-2Mi",
        "requests.hugepages-1Gi",
    ] {
        assert_eq!(key(name), Ok(format!("app/{name}")));
    }
    for name in [
        "",
        "cpu",
        "limits",
        "limits.",
        "limits.storage",
        "limits.CPU",
        "limit.cpu",
        "limits.nvidia.com/gpu",
        "requests.hugepages",
    ] {
        assert_eq!(key(name), Err(ResourceError::Unknown), "{name}");
    }
}

#[test]
fn the_divisors_are_those_of_the_resource() {
    let of = |name: &str, divisor: &str| {
        let told = resource("app", &format!("limits.{name}"), Some(divisor));
        told.map(|(_, Divisor(nanos))| nanos)
    };
    let one = 1_000_000_000;
    // The API refuses some of these spellings; they mean what the others mean.
    for unset in ["0", "0m", "0Ki", "1", "1e0", "1000m", "+1", "01.0"] {
        assert_eq!(of("cpu", unset), Ok(one), "{unset}");
        assert_eq!(of("memory", unset), Ok(one), "{unset}");
    }
    assert_eq!(of("cpu", "1m"), Ok(one / 1000));
    assert_eq!(of("cpu", "0.001"), Ok(one / 1000));
    for bad in ["2", "1k", "1Ki", "10m", "1u", "-1", "1e-3", "x", ""] {
        assert_eq!(of("cpu", bad), Err(ResourceError::CpuDivisor), "{bad}");
    }
    for name in ["memory", "ephemeral-storage", "hugepages-2Mi"] {
        for (n, (decimal, binary)) in [
            ("1k", "1Ki"),
            ("1M", "1Mi"),
            ("1G", "1Gi"),
            ("1T", "1Ti"),
            ("1P", "1Pi"),
            ("1E", "1Ei"),
        ]
        .into_iter()
        .enumerate()
        {
            let n = u32::try_from(n).expect("small") + 1;
            assert_eq!(of(name, decimal), Ok(one * 1000_i128.pow(n)));
            assert_eq!(of(name, binary), Ok(one * 1024_i128.pow(n)));
        }
        // What the API writes anew as one of these.
        assert_eq!(of(name, "1000"), Ok(one * 1000));
        assert_eq!(of(name, "1024Ki"), Ok(one * 1024 * 1024));
        for bad in [
            "1m", "2", "10", "1024", "1e3", "2Mi", "1.5Gi", "-1k", "1K", "x",
        ] {
            assert_eq!(of(name, bad), Err(ResourceError::BytesDivisor), "{bad}");
        }
    }
}

#[test]
fn a_resource_is_counted_in_whole_divisors_and_the_last_need_not_be_full() {
    let pod = pod(&[
        ("app/limits.cpu", "0.25"),
        ("app/requests.cpu", "1.0000001"),
        ("app/limits.memory", "134217728"),
        ("app/requests.memory", "0"),
        ("app/limits.ephemeral-storage", "9223372036854775807"),
        ("app/requests.ephemeral-storage", "128974848.5"),
        ("app/limits.hugepages-2Mi", "4194304"),
    ]);
    let shown = |name: &str, divisor: &str| {
        let (key, divisor) = resource("app", name, Some(divisor)).expect("legal");
        shown(&pod, key, Some(divisor))
    };
    for (name, divisor, count) in [
        ("limits.cpu", "0", "1"),
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "1m", "250"),
        ("requests.cpu", "1", "2"),
        ("requests.cpu", "1m", "1001"),
        ("limits.memory", "0", "134217728"),
        ("limits.memory", "1Mi", "128"),
        ("limits.memory", "1M", "135"),
        ("limits.memory", "1Ei", "1"),
        ("requests.memory", "1Mi", "0"),
        // Wrong in the last digits if a broken number had any part in it.
        ("limits.ephemeral-storage", "1", "9223372036854775807"),
        ("limits.ephemeral-storage", "1k", "9223372036854776"),
        ("requests.ephemeral-storage", "1", "128974849"),
        ("limits.hugepages-2Mi", "1Mi", "4"),
        // A container that says nothing of huge pages has none.
        ("requests.hugepages-2Mi", "1Mi", "0"),
    ] {
        assert_eq!(
            shown(name, divisor).as_deref(),
            Some(count),
            "{name} {divisor}"
        );
    }
}

#[test]
fn what_a_pod_does_not_tell_is_not_made_up() {
    let pod = pod(&[
        (LABELS, ""),
        ("app/requests.cpu", "0"),
        ("app/requests.memory", "many"),
        ("metadata.labels['n']", "5"),
    ]);
    let counted = |container, name| {
        let (key, divisor) = resource(container, name, None).expect("legal");
        shown(&pod, key, Some(divisor))
    };
    // Without what the node can allocate a limit is not known.
    assert_eq!(counted("app", "limits.cpu"), None);
    assert_eq!(counted("other", "requests.cpu"), None);
    assert_eq!(counted("other", "limits.hugepages-2Mi"), None);
    assert_eq!(counted("app", "requests.memory"), None);
    assert_eq!(shown(&pod, NAME.into(), None), None);
    // A label that is not there is an empty file.
    for key in [
        entry_key(LABELS, "a"),
        entry_key(ANNOTATIONS, "a"),
        LABELS.to_owned(),
    ] {
        assert_eq!(shown(&pod, key, None).as_deref(), Some(""));
    }
    // A label is text and not counted.
    let n = entry_key(LABELS, "n");
    assert_eq!(shown(&pod, n, None).as_deref(), Some("5"));
}

#[test]
fn labels_are_sorted_lines_without_an_end() {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    assert_eq!(lines(&map(&[])), "");
    let of = map(&[("b", "2"), ("a/x", "\"\n"), ("B", "é"), ("a", "")]);
    assert_eq!(lines(&of), "B=\"é\"\na=\"\"\na/x=\"\\\"\\n\"\nb=\"2\"");
}
