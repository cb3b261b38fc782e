//! What objects and sources do to volumes: they are missing, refused, fail, come back.

use std::collections::BTreeMap;

use super::super::Input;
use super::bench::{Bench, POLICY, key, object, request};
use crate::source::Update;
use livemount_engine::object::Bytes;
use livemount_engine::path::RelPath;
use livemount_engine::spec::Item;

/// A request that needs the key `file` of its object.
fn needs_file(volume: &str, name: &str) -> super::super::Request {
    let mut request = request(volume, &[name]);
    request.spec.sources[0].items = vec![Item {
        key: "file".into(),
        path: RelPath::new("file").expect("a path"),
        mode: None,
        divisor: None,
    }];
    request
}

/// The object without that key.
fn without_file(name: &str) -> Update {
    let data = BTreeMap::from([("other".to_owned(), Bytes::from("x"))]);
    Update::Applied(livemount_engine::object::Object::new(key(name), data).expect("an object"))
}

#[test]
fn an_object_that_is_missing_is_waited_for_and_said_once() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a"]));
    assert_eq!(
        bench.deleted("a"),
        ["say waiting v: ConfigMap default/a does not exist"]
    );
    assert_eq!(bench.deleted("a"), [""; 0]);
    assert_eq!(bench.applied("a", "1"), ["mount v#1 at /pods/v with 1"]);
}

#[test]
fn an_object_that_is_refused_and_comes_back_before_the_first_mount() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, needs_file("v", "a"));
    assert_eq!(
        bench.step(Input::Source(without_file("a"))),
        ["say refused v published=false"]
    );
    assert_eq!(
        bench.applied("a", "1"),
        [
            "mount v#1 at /pods/v with 1",
            "say recovered v published=false"
        ]
    );
}

#[test]
fn an_object_that_is_refused_and_comes_back_keeps_the_last_good_version() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, needs_file("v", "a"));
    bench.applied("a", "1");
    bench.mounted("v", 1);
    let said = bench.step(Input::Source(without_file("a")));
    assert!(said[0].starts_with("condition v: "), "{said:?}");
    assert_eq!(said[1..], ["say refused v published=true"]);
    assert_eq!(
        bench.applied("a", "2"),
        [
            "offer v 2",
            "condition v: well",
            "say recovered v published=true"
        ]
    );
}

#[test]
fn what_was_refused_while_it_was_being_mounted_is_noted_when_it_is() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, needs_file("v", "a"));
    bench.applied("a", "1");
    bench.step(Input::Source(without_file("a")));
    let said = bench.mounted("v", 1);
    assert_eq!(said[0], "say published v files=1");
    assert!(said[1].starts_with("condition v: "), "{said:?}");
    assert_eq!(said[2..], ["1 ok"]);
}

#[test]
fn a_source_that_fails_and_recovers_is_said_once_to_who_uses_it() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    bench.publish(2, request("w", &["a", "b"]));
    bench.publish(3, request("x", &["c"]));
    assert_eq!(
        bench.failing("a", "no rights"),
        ["say unreadable for v,w: no rights"]
    );
    assert_eq!(bench.failing("a", "no rights"), [""; 0]);
    assert_eq!(bench.machine.failing(), 1);
    assert_eq!(
        bench.failing("a", "no server"),
        ["say unreadable for v,w: no server"]
    );
    bench.step(Input::Source(Update::Working(key("a"))));
    assert_eq!(bench.machine.failing(), 0);
    // And it may fail again.
    assert_eq!(
        bench.failing("a", "no server"),
        ["say unreadable for v,w: no server"]
    );
    assert_eq!(bench.applied("a", "2"), ["offer v 2"]);
    assert_eq!(bench.machine.failing(), 0);
}

#[test]
fn a_failure_of_what_nobody_wants_is_neither_said_nor_remembered() {
    let mut bench = Bench::new(POLICY);
    assert_eq!(bench.failing("a", "no rights"), [""; 0]);
    assert_eq!(bench.machine.failing(), 0);
    bench.publish(1, request("v", &["a"]));
    bench.failing("a", "no rights");
    bench.unpublish(2, "v");
    assert_eq!(bench.machine.failing(), 0);
}

#[test]
fn a_part_of_a_source_that_is_no_object_is_said_each_time() {
    let mut bench = Bench::new(POLICY);
    let why = || Update::Unreadable {
        why: "a.yaml: not YAML".into(),
    };
    for _ in 0..2 {
        assert_eq!(
            bench.step(Input::Source(why())),
            ["say unreadable for : a.yaml: not YAML"]
        );
    }
}

#[test]
fn what_was_read_at_once_is_shown_at_once() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a", "b"]));
    let read = |a: &str, b: Option<&str>| {
        Input::Source(Update::Read(BTreeMap::from([
            (key("a"), Some(object("a", a))),
            (
                key("b"),
                b.map(|b| {
                    let data = BTreeMap::from([("second".to_owned(), Bytes::from(b))]);
                    livemount_engine::object::Object::new(key("b"), data).expect("an object")
                }),
            ),
        ])))
    };
    assert_eq!(
        bench.step(read("1", Some("x"))),
        ["mount v#1 at /pods/v with 1,x"]
    );
    bench.mounted("v", 1);
    assert_eq!(bench.step(read("2", Some("y"))), ["offer v 2,y"]);
}
