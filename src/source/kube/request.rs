//! The three requests that are ever made for one object, all with a field selector.
//!
//! With `metadata.name` selected, RBAC rules with `resourceNames` and the node authorizer apply, a
//! list is a point read, and the server's watch cache indexes the watch by the object
//! (apiserver `requestinfo.go`, `cacher.go`).

use std::time::Duration;

use http::Request;
use http::header::ACCEPT;
use kube::client::Body;
use livemount_engine::object::{Kind, ObjectKey};

use super::resource_version::ResourceVersion;

/// What is asked of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A watch that first tells the whole state as new as etcd (`sendInitialEvents`), then changes.
    Read,
    /// The whole state as new as etcd, once.
    List,
    /// Changes after a version.
    Watch(ResourceVersion),
}

impl Ask {
    /// The request, or None where no object can have that name. `lasting` is for how long the server
    /// should keep a watch.
    pub fn request(&self, key: &ObjectKey, lasting: Duration) -> Option<Request<Body>> {
        let plural = match key.kind {
            Kind::ConfigMap => "configmaps",
            Kind::Secret => "secrets",
            Kind::Pod => "pods",
        };
        if !(is_name(&key.namespace) && is_name(&key.name)) {
            return None;
        }
        let object = format!(
            "/api/v1/namespaces/{}/{plural}?fieldSelector=metadata.name%3D{}",
            key.namespace, key.name
        );
        let watch = format!(
            "&watch=true&allowWatchBookmarks=true&timeoutSeconds={}",
            lasting.as_secs().max(1)
        );
        let uri = match self {
            // No resourceVersion at all: a consistent read.
            Self::List => object,
            Self::Read => format!(
                "{object}{watch}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion="
            ),
            Self::Watch(from) => format!("{object}{watch}&resourceVersion={from}"),
        };
        Request::get(uri)
            .header(ACCEPT, "application/json")
            .body(Body::empty())
            .ok()
    }
}

/// Whether the API could have accepted it: nothing in it has to be escaped.
fn is_name(name: &str) -> bool {
    let legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
    let dots = name.bytes().all(|c| c == b'.');
    !name.is_empty() && name.len() <= 253 && name.bytes().all(legal) && !dots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(ask: &Ask, namespace: &str, name: &str) -> Option<String> {
        let key = ObjectKey {
            kind: Kind::Secret,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            origin: super::super::ORIGIN,
        };
        let request = ask.request(&key, Duration::from_secs(60))?;
        Some(request.uri().to_string())
    }

    #[test]
    fn a_consistent_read_names_no_version() {
        assert_eq!(
            uri(&Ask::List, "ns", "a.b").as_deref(),
            Some("/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Da.b")
        );
        let read = uri(&Ask::Read, "ns", "a").expect("a request");
        assert!(read.ends_with("&resourceVersion="), "{read}");
        let watch = Ask::Watch(ResourceVersion::parse("42").expect("a version"));
        let watch = uri(&watch, "ns", "a").expect("a request");
        assert!(watch.ends_with("&resourceVersion=42"), "{watch}");
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a,metadata.namespace=b",
            "a&b",
            "a%2fb",
            "A",
            "ä",
        ] {
            assert_eq!(uri(&Ask::List, "ns", bad), None, "{bad:?}");
            assert_eq!(uri(&Ask::List, bad, "a"), None, "{bad:?}");
        }
    }
}
