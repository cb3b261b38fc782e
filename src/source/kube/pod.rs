//! A pod as the downward API shows it.
//!
//! Takes out of a pod what a volume may show of it and leaves all else behind, the environment with
//! its secrets above all. What the fields are called and how they are written is the engine's
//! `downward`; who reads pods and nodes is the source.

use std::collections::BTreeMap;

use super::ORIGIN;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use livemount_engine::downward::{
    ANNOTATIONS, Bound, HUGE_PAGES, LABELS, NAME, NAMESPACE, Quantity, RESOURCES, UID, entry_key,
    lines, resource_key,
};
use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};

type Quantities = BTreeMap<String, Written>;

/// What a pod tells. Where a container sets no limit its limit is what the node can allocate
/// (`MergeContainerResourceLimits`, kubernetes `api/v1/resource/helpers.go`); where that is not known
/// the limit is not told, and a volume that asks for it is refused.
pub fn object(pod: &Pod, allocatable: Option<&BTreeMap<String, Written>>) -> Object {
    let meta = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let mut fields = BTreeMap::new();
    let mut tell = |key: String, value: String| {
        fields.insert(key, Bytes::from(value.as_str()));
    };

    tell(NAME.to_owned(), text(&meta.name));
    tell(NAMESPACE.to_owned(), text(&meta.namespace));
    tell(UID.to_owned(), text(&meta.uid));
    for (of, map) in [(LABELS, &meta.labels), (ANNOTATIONS, &meta.annotations)] {
        let none = BTreeMap::new();
        let map = map.as_ref().unwrap_or(&none);
        tell(of.to_owned(), lines(map));
        for (name, value) in map {
            tell(entry_key(of, name), value.clone());
        }
    }
    for container in containers(pod) {
        for (bound, resource, quantity) in resources(container, allocatable) {
            let key = resource_key(&container.name, bound, resource);
            tell(key, quantity.to_string());
        }
    }

    let key = ObjectKey {
        kind: Kind::Pod,
        namespace: text(&meta.namespace),
        name: text(&meta.name),
        origin: ORIGIN,
    };
    let mut object = Object::of_pod(key, fields);
    object.uid.clone_from(&meta.uid);
    object.resource_version.clone_from(&meta.resource_version);
    object
}

/// Those that a volume may ask for; the API gives no two of them one name.
fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| {
        let first = spec.init_containers.iter().flatten();
        first.chain(&spec.containers)
    })
}

/// What a container asks for and what it is allowed.
fn resources<'c>(
    container: &'c Container,
    allocatable: Option<&Quantities>,
) -> Vec<(Bound, &'c str, Quantity)> {
    let none = Quantities::new();
    let told = container.resources.as_ref();
    let requests = told.and_then(|told| told.requests.as_ref());
    let limits = told.and_then(|told| told.limits.as_ref());
    let mut all = Vec::new();
    for resource in RESOURCES {
        let requested = quantity(requests.unwrap_or(&none), resource);
        all.push((Bound::Requests, resource, requested));
        // A limit of 0 is none, as with the kubelet.
        let limit = match quantity(limits.unwrap_or(&none), resource) {
            Some(zero) if zero.nanos() == 0 => {
                allocatable.and_then(|node| quantity(node, resource))
            }
            limit => limit,
        };
        all.push((Bound::Limits, resource, limit));
    }
    for (bound, map) in [(Bound::Requests, requests), (Bound::Limits, limits)] {
        for resource in map.into_iter().flat_map(BTreeMap::keys) {
            if resource.starts_with(HUGE_PAGES) {
                all.push((bound, resource, quantity(map.unwrap_or(&none), resource)));
            }
        }
    }
    let told =
        |(bound, resource, quantity): (_, _, Option<Quantity>)| Some((bound, resource, quantity?));
    all.into_iter().filter_map(told).collect()
}

/// The quantity of a resource: none of it where nothing is said, nothing where it is no quantity.
fn quantity(map: &Quantities, resource: &str) -> Option<Quantity> {
    map.get(resource)
        .map_or(Some(Quantity::ZERO), |Written(text)| {
            Quantity::parse(text).ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        let pod = serde_json::json!({
            "metadata": {
                "name": "web-0",
                "namespace": "shop",
                "uid": "1-2-3",
                "resourceVersion": "77",
                "labels": {"app": "web", "a.b/c": ""},
                "annotations": {"note": "two\nlines \"here\""},
                "generateName": "web-",
            },
            "spec": {
                "nodeName": "n1",
                "initContainers": [{"name": "init", "env": [{"name": "E", "value": "hunter2"}]}],
                "containers": [{
                    "name": "app",
                    "env": [{"name": "PASSWORD", "value": "hunter2"}],
                    "resources": {
                        "requests": {"cpu": "250m", "memory": "64Mi", "nvidia.com/gpu": "1"},
                        "limits": {"memory": "128Mi", "cpu": "0e3", "hugepages-2Mi": "4Mi"},
                    },
                }],
                "ephemeralContainers": [{"name": "debug"}],
            },
            "status": {"podIP": "10.0.0.1"},
        });
        serde_json::from_value(pod).expect("a pod")
    }

    fn node() -> Quantities {
        let node = [("cpu", "3920m"), ("memory", "16Gi"), ("pods", "110")];
        node.map(|(name, text)| (name.to_owned(), Written(text.to_owned())))
            .into()
    }

    fn told(object: &Object) -> Vec<(&str, &str)> {
        let fields = object.data().iter();
        fields
            .map(|(key, value)| (key.as_str(), std::str::from_utf8(value).expect("text")))
            .collect()
    }

    const META: [(&str, &str); 8] = [
        ("metadata.annotations", r#"note="two\nlines \"here\"""#),
        ("metadata.annotations['note']", "two\nlines \"here\""),
        ("metadata.labels", "a.b/c=\"\"\napp=\"web\""),
        ("metadata.labels['a.b/c']", ""),
        ("metadata.labels['app']", "web"),
        ("metadata.name", "web-0"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "1-2-3"),
    ];

    #[test]
    fn a_pod_tells_what_a_volume_may_show_and_nothing_else() {
        let object = object(&pod(), Some(&node()));
        assert_eq!(object.key.to_string(), "Pod shop/web-0");
        assert_eq!(object.uid.as_deref(), Some("1-2-3"));
        assert_eq!(object.resource_version.as_deref(), Some("77"));
        assert!(!object.immutable);
        let resources = [
            // A limit of 0 is none, and what is not limited is limited by the node.
            ("app/limits.cpu", "3.92"),
            // This node does not tell what it has of it.
            ("app/limits.ephemeral-storage", "0"),
            ("app/limits.hugepages-2Mi", "4194304"),
            ("app/limits.memory", "134217728"),
            ("app/requests.cpu", "0.25"),
            ("app/requests.ephemeral-storage", "0"),
            ("app/requests.memory", "67108864"),
            ("init/limits.cpu", "3.92"),
            ("init/limits.ephemeral-storage", "0"),
            ("init/limits.memory", "17179869184"),
            ("init/requests.cpu", "0"),
            ("init/requests.ephemeral-storage", "0"),
            ("init/requests.memory", "0"),
        ];
        assert_eq!(told(&object), [&resources[..], &META].concat());
    }

    #[test]
    fn without_a_node_a_limit_that_nobody_set_is_not_told() {
        let object = object(&pod(), None);
        let resources = [
            ("app/limits.hugepages-2Mi", "4194304"),
            ("app/limits.memory", "134217728"),
            ("app/requests.cpu", "0.25"),
            ("app/requests.ephemeral-storage", "0"),
            ("app/requests.memory", "67108864"),
            ("init/requests.cpu", "0"),
            ("init/requests.ephemeral-storage", "0"),
            ("init/requests.memory", "0"),
        ];
        assert_eq!(told(&object), [&resources[..], &META].concat());
    }

    #[test]
    fn a_pod_without_labels_tells_that_it_has_none() {
        let mut pod = pod();
        pod.metadata.labels = None;
        pod.metadata.annotations = None;
        pod.spec = None;
        let object = object(&pod, None);
        let want = [
            ("metadata.annotations", ""),
            ("metadata.labels", ""),
            ("metadata.name", "web-0"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "1-2-3"),
        ];
        assert_eq!(told(&object), want);
    }
}
