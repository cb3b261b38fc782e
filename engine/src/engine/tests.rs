//! The state machine event by event: what is asked for, what is told, and how often.

use super::*;
use crate::object::Origin;
use crate::path::RelPath;
use crate::sample::{KEY, config_map, object, optional, source, spec};
use crate::spec::{Mode, Source};

/// An engine that says its effects in one word each: `commit v k=1`.
struct Run(Engine);

impl Run {
    fn new() -> Self {
        Self(Engine::new(KEY))
    }

    fn hear(&mut self, event: Event) -> Vec<String> {
        self.0.handle(event).iter().map(said).collect()
    }

    fn publish(&mut self, volume: &str, sources: Vec<Source>) -> Vec<String> {
        let volume = VolumeId::new(volume);
        self.hear(Event::Publish {
            volume,
            spec: spec(sources),
        })
    }

    fn unpublish(&mut self, volume: &str) -> Vec<String> {
        self.hear(Event::Unpublish {
            volume: VolumeId::new(volume),
        })
    }

    fn apply(&mut self, name: &str, data: &[(&str, &str)]) -> Vec<String> {
        self.hear(Event::Applied(object(name, data)))
    }

    fn delete(&mut self, name: &str) -> Vec<String> {
        self.hear(Event::Deleted(config_map(name)))
    }

    fn latest(&self, volume: &str) -> &Arc<Snapshot> {
        self.0.latest(&VolumeId::new(volume)).expect("committed")
    }
}

fn said(effect: &Effect) -> String {
    match effect {
        Effect::Watch(key) => format!("watch {}", key.name),
        Effect::Unwatch(key) => format!("unwatch {}", key.name),
        Effect::Commit { volume, snapshot } => {
            let file = |(path, file): (_, &crate::snapshot::File)| {
                format!(" {path}={}", String::from_utf8_lossy(&file.bytes))
            };
            format!(
                "commit {volume}{}",
                snapshot.files().map(file).collect::<String>()
            )
        }
        Effect::Warned { volume, warnings } => format!("warned {volume} {}", warnings.len()),
        Effect::Refused { volume, refusal } => format!("refused {volume}: {refusal}"),
        Effect::Recovered { volume } => format!("recovered {volume}"),
        Effect::Waiting { volume, object } => format!("waiting {volume} {}", object.name),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn a_volume_watches_waits_silently_and_commits() {
    let mut run = Run::new();
    let both = vec![source("a", &[]), optional(source("b", &[]))];
    assert_eq!(run.publish("v", both), ["watch a", "watch b"]);
    assert_eq!(run.apply("a", &[("k", "1")]), NONE);
    // Optional does not mean unread: only now is it known that there is no b.
    assert_eq!(run.delete("b"), ["commit v k=1"]);
    assert_eq!(run.apply("b", &[("l", "2")]), ["commit v k=1 l=2"]);
}

#[test]
fn one_watch_serves_all_volumes_and_ends_with_the_last() {
    let mut run = Run::new();
    assert_eq!(run.publish("v", vec![source("a", &[])]), ["watch a"]);
    assert_eq!(run.apply("a", &[("k", "1")]), ["commit v k=1"]);
    assert_eq!(run.publish("w", vec![source("a", &[])]), ["commit w k=1"]);
    assert_eq!(
        run.apply("a", &[("k", "2")]),
        ["commit v k=2", "commit w k=2"]
    );
    assert_eq!(run.unpublish("v"), NONE);
    assert_eq!(run.unpublish("v"), NONE);
    assert_eq!(run.apply("a", &[("k", "3")]), ["commit w k=3"]);
    assert_eq!(run.unpublish("w"), ["unwatch a"]);
    assert_eq!(run.apply("a", &[("k", "4")]), NONE);
    assert_eq!(run.delete("a"), NONE);
    // The object went with its watch: the next volume waits for a fresh one.
    assert_eq!(run.publish("v", vec![source("a", &[])]), ["watch a"]);
    assert!(run.0.latest(&VolumeId::new("v")).is_none());
}

#[test]
fn an_object_named_twice_is_watched_once() {
    let mut run = Run::new();
    let twice = vec![source("a", &[("k", "x")]), source("a", &[("k", "y")])];
    assert_eq!(run.publish("v", twice), ["watch a"]);
    assert_eq!(run.apply("a", &[("k", "1")]), ["commit v x=1 y=1"]);
    assert_eq!(run.latest("v").objects.len(), 1);
    assert_eq!(run.unpublish("v"), ["unwatch a"]);
}

#[test]
fn what_renders_the_same_is_no_commit() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[("k", "k")])]);
    assert_eq!(run.apply("a", &[("k", "1")]), ["commit v k=1"]);
    assert_eq!(run.apply("a", &[("k", "1")]), NONE);
    assert_eq!(run.apply("a", &[("k", "1"), ("unused", "x")]), NONE);
}

#[test]
fn a_burst_is_told_version_by_version_in_order() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[])]);
    for n in ["1", "2", "1", "3"] {
        assert_eq!(run.apply("a", &[("k", n)]), [format!("commit v k={n}")]);
    }
}

#[test]
fn versions_share_what_did_not_change() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[])]);
    run.publish("w", vec![source("a", &[])]);
    run.apply("a", &[("k", "1"), ("same", "s")]);
    let first = Arc::clone(run.latest("v"));
    run.apply("a", &[("k", "2"), ("same", "s")]);
    // A volume without a version before takes it from the object, which shares it too.
    run.publish("x", vec![source("a", &[])]);
    let newer = Arc::clone(run.latest("x"));
    run.delete("a");
    run.apply("a", &[("k", "3"), ("same", "s")]);
    let same = |snapshot: &Snapshot| snapshot.file("same").expect("there").bytes.clone();
    assert!(same(&first).shares(&same(run.latest("v"))));
    assert!(same(&first).shares(&same(run.latest("w"))));
    assert!(same(&first).shares(&same(&newer)));
    assert_eq!(&*first.file("k").expect("there").bytes, b"1");
}

#[test]
fn a_volume_that_never_showed_anything_waits() {
    let mut run = Run::new();
    let both = vec![source("a", &[]), source("b", &[("k", "k")])];
    run.publish("v", both.clone());
    assert_eq!(run.delete("b"), NONE);
    assert_eq!(run.delete("a"), ["waiting v a"]);
    assert_eq!(run.delete("a"), NONE);
    assert_eq!(run.publish("v", both), NONE);
    assert_eq!(run.apply("a", &[]), ["waiting v b"]);
    // Known and wrong is not waiting, though nothing was shown yet.
    let refused = "refused v: ConfigMap default/b has no key \"k\"";
    assert_eq!(run.apply("b", &[]), [refused]);
    let id = VolumeId::new("v");
    assert!(matches!(run.0.condition(&id), Some(Condition::Refused(_))));
    assert_eq!(
        run.apply("b", &[("k", "1")]),
        ["commit v k=1", "recovered v"]
    );
    assert_eq!(run.0.condition(&id), None);
}

#[test]
fn a_refusal_keeps_the_last_good_and_is_told_once() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[("k", "k"), ("l", "l")])]);
    run.apply("a", &[("k", "1"), ("l", "1")]);
    let good = Arc::clone(run.latest("v"));
    let refused = |key| [format!("refused v: ConfigMap default/a has no key {key:?}")];
    assert_eq!(run.apply("a", &[("k", "2")]), refused("l"));
    assert_eq!(run.apply("a", &[("k", "3")]), NONE);
    assert_eq!(run.apply("a", &[("l", "3")]), refused("k"));
    assert!(Arc::ptr_eq(&good, run.latest("v")));
    assert_eq!(run.apply("a", &[("k", "1"), ("l", "1")]), ["recovered v"]);
    assert_eq!(run.apply("a", &[("k", "4")]), refused("l"));
    let back = run.apply("a", &[("k", "4"), ("l", "4")]);
    assert_eq!(back, ["commit v k=4 l=4", "recovered v"]);
}

#[test]
fn a_deleted_object_leaves_the_files_unless_optional() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[])]);
    run.publish("w", vec![optional(source("a", &[]))]);
    run.apply("a", &[("k", "1")]);
    let gone = ["refused v: ConfigMap default/a does not exist", "commit w"];
    assert_eq!(run.delete("a"), gone);
    assert_eq!(run.delete("a"), NONE);
    assert_eq!(run.latest("v").files().count(), 1);
    // Made anew, under whatever uid: an ordinary change.
    let mut anew = object("a", &[("k", "2")]);
    anew.uid = Some("another".into());
    let back = run.hear(Event::Applied(anew));
    assert_eq!(back, ["commit v k=2", "recovered v", "commit w k=2"]);
}

#[test]
fn another_spec_watches_first_and_lets_go_last() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[])]);
    run.apply("a", &[("k", "1")]);
    assert_eq!(run.publish("v", vec![source("a", &[])]), NONE);
    let moved = run.publish("v", vec![source("a", &[("k", "moved")])]);
    assert_eq!(moved, ["commit v moved=1"]);
    let other = vec![source("b", &[])];
    assert_eq!(run.publish("v", other.clone()), ["watch b", "unwatch a"]);
    // It keeps what it showed until the new spec renders.
    assert_eq!(run.latest("v").files().count(), 1);
    assert_eq!(run.apply("a", &[("k", "2")]), NONE);
    assert_eq!(run.apply("b", &[("b", "1")]), ["commit v b=1"]);
    let modes = Spec {
        default_mode: Mode::new(0o600).expect("legal"),
        ..spec(other)
    };
    let event = Event::Publish {
        volume: VolumeId::new("v"),
        spec: modes,
    };
    assert_eq!(run.hear(event), ["commit v b=1"]);
}

#[test]
fn one_volumes_refusal_is_its_own() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[("k", "k")])]);
    run.publish("w", vec![source("a", &[])]);
    run.apply("a", &[("k", "1")]);
    assert_eq!(
        run.apply("a", &[("l", "2")]),
        [
            "refused v: ConfigMap default/a has no key \"k\"",
            "commit w l=2"
        ]
    );
}

#[test]
fn warnings_are_told_when_they_change() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[]), source("b", &[])]);
    run.apply("b", &[("k", "b")]);
    assert_eq!(
        run.apply("a", &[("k", "a")]),
        ["warned v 1", "commit v k=b"]
    );
    assert_eq!(run.apply("b", &[("k", "c")]), ["commit v k=c"]);
    assert_eq!(run.apply("a", &[]), ["warned v 0"]);
}

fn immutable(name: &str, data: &[(&str, &str)]) -> Event {
    let mut object = object(name, data);
    object.immutable = true;
    Event::Applied(object)
}

#[test]
fn an_immutable_object_stays_as_shown_and_is_read_afresh_by_a_new_volume() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[]), optional(source("b", &[]))]);
    run.hear(Event::Deleted(config_map("b")));
    assert_eq!(run.hear(immutable("a", &[("k", "1")])), ["commit v k=1"]);
    // Deleted and made anew: who shows it keeps it, who comes new waits for what it is now.
    assert_eq!(run.delete("a"), NONE);
    assert_eq!(run.hear(immutable("a", &[("k", "2")])), ["warned v 1"]);
    assert_eq!(run.publish("w", vec![source("a", &[])]), ["watch a"]);
    assert_eq!(run.hear(immutable("a", &[("k", "3")])), ["commit w k=3"]);
    // The other objects of a volume go on.
    assert_eq!(run.apply("b", &[("l", "1")]), ["commit v k=1 l=1"]);
    assert_eq!(run.unpublish("w"), NONE);
    assert_eq!(run.hear(immutable("a", &[("k", "1")])), ["warned v 0"]);
    // An ordinary object of the same name has no power over it either.
    assert_eq!(run.apply("a", &[("k", "4")]), ["warned v 1"]);
    assert_eq!(run.latest("v").files().count(), 2);
}

#[test]
fn an_immutable_object_that_was_never_shown_is_not_kept() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[("k", "k")])]);
    let refused = ["refused v: ConfigMap default/a has no key \"k\""];
    assert_eq!(run.hear(immutable("a", &[("l", "1")])), refused);
    let anew = run.hear(immutable("a", &[("k", "2")]));
    assert_eq!(anew, ["commit v k=2", "recovered v"]);
}

#[test]
fn a_new_version_with_the_same_data_is_a_new_label() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[])]);
    let version = |version: &str| {
        let mut object = object("a", &[("k", "1")]);
        object.resource_version = Some(version.into());
        object.received = Some(std::time::SystemTime::UNIX_EPOCH);
        Event::Applied(object)
    };
    assert_eq!(run.hear(version("1")), ["commit v k=1"]);
    let digest = run.latest("v").digest;
    assert_eq!(run.hear(version("1")), NONE);
    assert_eq!(run.hear(version("2")), ["commit v k=1"]);
    let latest = run.latest("v");
    assert_eq!(latest.digest, digest);
    assert_eq!(latest.objects[0].resource_version.as_deref(), Some("2"));
}

#[test]
fn what_was_read_at_once_is_shown_at_once() {
    let mut run = Run::new();
    run.publish("v", vec![source("a", &[]), source("b", &[])]);
    let read = |a: &str, b: Option<&str>| {
        let b = b.map(|b| object("b", &[("l", b)]));
        let a = (config_map("a"), Some(object("a", &[("k", a)])));
        Event::Read([a, (config_map("b"), b)].into())
    };
    assert_eq!(run.hear(read("1", Some("1"))), ["commit v k=1 l=1"]);
    assert_eq!(run.hear(read("2", Some("2"))), ["commit v k=2 l=2"]);
    let refused = ["refused v: ConfigMap default/b does not exist"];
    assert_eq!(run.hear(read("3", None)), refused);
}

#[test]
fn no_sources_are_an_empty_volume() {
    let mut run = Run::new();
    assert_eq!(run.publish("v", Vec::new()), ["commit v"]);
    assert_eq!(run.unpublish("v"), NONE);
}

#[test]
fn no_effect_shows_a_value() {
    let mut engine = Engine::new(KEY);
    for event in [
        Event::Publish {
            volume: VolumeId::new("v"),
            spec: spec(vec![source("a", &[])]),
        },
        Event::Applied(object("a", &[("k", "hunter2")])),
        Event::Deleted(config_map("a")),
    ] {
        let effects = engine.handle(event.clone());
        let told = format!("{event:?} {effects:?} {engine:?}");
        assert!(
            !told.contains("hunter2") && !told.contains("104, 117"),
            "{told}"
        );
    }
}

#[test]
fn two_keys_that_differ_in_their_origin_alone_are_two_objects() {
    let elsewhere = ObjectKey {
        origin: Origin::named("elsewhere"),
        ..config_map("a")
    };
    assert_eq!(elsewhere.to_string(), config_map("a").to_string());
    let here = source("a", &[("k", "here")]);
    let there = Source {
        object: elsewhere.clone(),
        ..source("a", &[("k", "there")])
    };
    let mut engine = Engine::new(KEY);
    let volume = VolumeId::new("v");
    let watched = engine.handle(Event::Publish {
        volume: volume.clone(),
        spec: spec(vec![here, there]),
    });
    assert_eq!(
        watched,
        [
            Effect::Watch(elsewhere.clone()),
            Effect::Watch(config_map("a"))
        ]
    );
    let mut theirs = object("a", &[("k", "2")]);
    theirs.key = elsewhere;
    engine.handle(Event::Applied(object("a", &[("k", "1")])));
    engine.handle(Event::Applied(theirs.clone()));
    let shown = |engine: &Engine| {
        let latest = engine.latest(&volume).expect("it renders");
        let text = |(_, file): (&RelPath, &crate::snapshot::File)| file.bytes.to_vec();
        latest.files().map(text).collect::<Vec<_>>().concat()
    };
    assert_eq!(shown(&engine), b"12");
    engine.handle(Event::Applied(object("a", &[("k", "3")])));
    assert_eq!(shown(&engine), b"32");
    engine.handle(Event::Deleted(theirs.key));
    assert_eq!(shown(&engine), b"32", "one that is missing changes nothing");
}

/// Another process goes on with what this one shows of `v`.
fn taken_over(run: &Run, sources: Vec<Source>) -> (Run, Vec<String>) {
    let shown = Arc::clone(run.latest("v"));
    let mut next = Run::new();
    let told = next.hear(Event::TakeOver {
        volume: VolumeId::new("v"),
        spec: spec(sources),
        shown,
    });
    (next, told)
}

#[test]
fn a_volume_that_is_taken_over_shows_what_it_showed_until_all_was_read() {
    let sources = || vec![source("a", &[]), optional(source("b", &[]))];
    let mut run = Run::new();
    run.publish("v", sources());
    run.hear(Event::Deleted(config_map("b")));
    run.apply("a", &[("k", "1")]);
    let (mut next, told) = taken_over(&run, sources());
    assert_eq!(told, ["watch a", "watch b"]);
    assert_eq!(next.latest("v").digest, run.latest("v").digest);
    // Read again, it is the same: nothing to commit.
    assert_eq!(next.apply("a", &[("k", "1")]), NONE);
    assert_eq!(next.hear(Event::Deleted(config_map("b"))), NONE);
    assert_eq!(next.apply("a", &[("k", "2")]), ["commit v k=2"]);
    // One that it shows cannot go away.
    assert_eq!(
        next.delete("a"),
        ["refused v: ConfigMap default/a does not exist"]
    );
}

#[test]
fn an_immutable_object_stays_as_shown_across_a_take_over() {
    for items in [&[][..], &[("k", "there/is")][..]] {
        let sources = || vec![source("a", items), optional(source("b", &[]))];
        let mut run = Run::new();
        run.publish("v", sources());
        run.hear(Event::Deleted(config_map("b")));
        run.hear(immutable("a", &[("k", "1")]));
        let before = run.latest("v").digest;
        let (mut next, _) = taken_over(&run, sources());
        // Deleted and made anew while nobody looked.
        next.hear(Event::Deleted(config_map("b")));
        next.hear(immutable("a", &[("k", "2")]));
        assert_eq!(next.latest("v").digest, before);
        // The other objects of the volume go on.
        next.apply("b", &[("l", "1")]);
        assert_eq!(next.latest("v").files().count(), 2);
        let frozen = |(_, file): (_, &crate::snapshot::File)| *file.bytes == *b"1";
        assert_eq!(
            next.latest("v")
                .files()
                .filter(|file| frozen(*file))
                .count(),
            2
        );
    }
}
