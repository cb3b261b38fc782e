//! What the server sends, and what of it must not come out.

use std::time::{Duration, SystemTime};

use livemount_engine::object::{Kind, Object, ObjectKey};

use super::decode;
use super::json_lines::JsonLine;
use super::watch_state::{WatchEnd, WatchEvent};

fn key(kind: Kind) -> ObjectKey {
    ObjectKey {
        kind,
        namespace: "ns".to_owned(),
        name: "app".to_owned(),
        origin: super::ORIGIN,
    }
}

fn line(text: &str) -> JsonLine {
    JsonLine {
        bytes: text.as_bytes().to_vec(),
        received: SystemTime::UNIX_EPOCH + Duration::from_secs(7),
    }
}

fn event(kind: Kind, text: &str) -> Result<WatchEvent<Object>, WatchEnd> {
    decode::event(&key(kind), &line(text), None)
}

fn object(kind: Kind, text: &str) -> Object {
    match event(kind, text) {
        Ok(WatchEvent::Modified(item)) => item.object,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_config_map_has_texts_and_bytes() {
    let object = object(
        Kind::ConfigMap,
        r#"{"type":"ADDED","object":{"kind":"ConfigMap","metadata":{"name":"app","uid":"u-1",
        "resourceVersion":"42","managedFields":[{"fieldsV1":{"f:data":{"f:k":{}}}}],
        "annotations":{"a":"b"}},"immutable":true,"data":{"k":"ü"},"binaryData":{"b":"AAH/"}}}"#,
    );
    assert_eq!(&*object.data()["k"], "ü".as_bytes());
    assert_eq!(&*object.data()["b"], [0, 1, 255]);
    assert_eq!(object.uid.as_deref(), Some("u-1"));
    assert_eq!(object.resource_version.as_deref(), Some("42"));
    assert!(object.immutable);
    assert_eq!(
        object.received,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
    );
}

#[test]
fn a_secret_is_decoded_and_may_hold_nothing() {
    let text = r#"{"type":"MODIFIED","object":{"metadata":{"name":"app","resourceVersion":"42"},
        "data":{"k":"aHVudGVyMg==","e":"","n":null},"type":"Opaque"}}"#;
    let object = object(Kind::Secret, text);
    assert_eq!(&*object.data()["k"], b"hunter2");
    assert_eq!(&*object.data()["e"], b"");
    assert_eq!(&*object.data()["n"], b"");
}

#[test]
fn bookmarks_and_deletions_have_versions() {
    let bookmark = |annotations: &str| {
        format!(
            r#"{{"type":"BOOKMARK","object":{{"kind":"Secret","metadata":{{"resourceVersion":"9"{annotations}}}}}}}"#
        )
    };
    let whole = |text: &str| match event(Kind::Secret, text) {
        Ok(WatchEvent::Bookmark { whole, .. }) => whole,
        other => panic!("{other:?}"),
    };
    assert!(!whole(&bookmark("")));
    assert!(!whole(&bookmark(r#","annotations":{"a":"true"}"#)));
    assert!(whole(&bookmark(
        r#","annotations":{"k8s.io/initial-events-end":"true"}"#
    )));
    let gone = r#"{"type":"DELETED","object":{"metadata":{"name":"app","resourceVersion":"12"},"data":{"k":"YQ=="}}}"#;
    assert!(matches!(
        event(Kind::Secret, gone),
        Ok(WatchEvent::Deleted(_))
    ));
}

#[test]
fn an_error_event_is_an_end() {
    let error = |code: u16, more: &str| {
        let text = format!(
            r#"{{"type":"ERROR","object":{{"kind":"Status","code":{code},"message":"m"{more}}}}}"#
        );
        event(Kind::Secret, &text).expect_err("an end")
    };
    assert_eq!(error(410, ""), WatchEnd::Expired);
    let wait = Some(Duration::from_secs(3));
    assert_eq!(
        error(504, r#","details":{"retryAfterSeconds":3}"#),
        WatchEnd::Busy(wait, "m".into())
    );
    assert_eq!(error(403, ""), WatchEnd::Forbidden("m".into()));
    assert_eq!(error(401, ""), WatchEnd::Unauthorized("m".into()));
    assert_eq!(error(422, ""), WatchEnd::Unsupported("m".into()));
    assert_eq!(error(500, ""), WatchEnd::Refused("m".into()));
}

#[test]
fn a_list_without_the_object_tells_its_version() {
    for items in [
        "[]",
        "null",
        r#"[{"metadata":{"name":"other","resourceVersion":"3"}}]"#,
    ] {
        let text = format!(
            r#"{{"kind":"SecretList","metadata":{{"resourceVersion":"77"}},"items":{items}}}"#
        );
        let listed = decode::list(&key(Kind::Secret), &line(&text), None);
        let Ok(WatchEvent::Listed(version, None)) = listed else {
            panic!("{listed:?}");
        };
        assert_eq!(version.as_str(), "77");
    }
}

#[test]
fn no_value_comes_out_in_an_error() {
    let texts = [
        r#"{"type":"ADDED","object":{"metadata":{"name":"app","resourceVersion":"1"},"data":{"k":"hunter2!"}}}"#,
        r#"{"type":"ADDED","object":{"metadata":{"name":"app","resourceVersion":"1"},"data":"hunter2"}}"#,
        r#"{"type":"ADDED","object":{"metadata":{"name":"app","resourceVersion":"1"},"data":{"k":{"hunter2":1}}}}"#,
        r#"{"type":"hunter2","object":{}}"#,
        r#"{"type":"ADDED","object":{"metadata":{"name":"app","resourceVersion":"hunter2"}}}"#,
        r#"{"type":"ADDED","object":{"immutable":"hunter2"}}"#,
        r"hunter2",
    ];
    for text in texts {
        let end = event(Kind::Secret, text).expect_err("it is refused");
        assert!(matches!(end, WatchEnd::Garbled(_)), "{end:?}");
        assert!(!format!("{end:?}").contains("hunter2"), "{end:?}");
    }
}

#[test]
fn contents_are_told_apart() {
    let digest = |data: &str| {
        let text = format!(
            r#"{{"type":"ADDED","object":{{"metadata":{{"name":"app","resourceVersion":"1"}},"data":{data}}}}}"#
        );
        match event(Kind::ConfigMap, &text) {
            Ok(WatchEvent::Modified(item)) => item.digest,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(digest(r#"{"a":"b"}"#), digest(r#"{"a":"b"}"#));
    assert_ne!(digest(r#"{"a":"b"}"#), digest(r#"{"a":"c"}"#));
    assert_ne!(digest(r#"{"a":"bc"}"#), digest(r#"{"ab":"c"}"#));
}
