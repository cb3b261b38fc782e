//! One volume's way from its first publish to its end, and what may come in between.

use livemount_hand::Unbind;

use super::super::Ask;
use super::bench::{Bench, POLICY, request};
use livemount_engine::engine::VolumeId;

#[test]
fn a_volume_is_watched_mounted_updated_and_taken_away() {
    let mut bench = Bench::new(POLICY);
    assert_eq!(
        bench.publish(1, request("v", &["a"])),
        ["watch a"],
        "nobody asks after a pod that does not wait for long"
    );
    assert_eq!(bench.applied("a", "1"), ["mount v#1 at /pods/v with 1"]);
    assert_eq!(bench.mounted("v", 1), ["say published v files=1", "1 ok"]);
    assert_eq!(bench.applied("a", "2"), ["offer v 2"]);
    assert_eq!(bench.unpublish(2, "v"), ["unmount v and clear"]);
    assert_eq!(bench.unmounted("v"), ["forget pod v", "unwatch a", "2 ok"]);
    assert!(bench.machine.is_empty());
}

#[test]
fn publish_twice_is_one_mount_and_two_answers() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a"]));
    assert_eq!(bench.publish(2, request("v", &["a"])), [""; 0]);
    assert_eq!(bench.machine.waiting(), 2);
    bench.applied("a", "1");
    // One that comes while it is being mounted waits for its turn.
    assert_eq!(bench.publish(3, request("v", &["a"])), [""; 0]);
    assert_eq!(
        bench.mounted("v", 1),
        ["say published v files=1", "1 ok", "2 ok", "rebind v"]
    );
    assert_eq!(bench.rebound("v"), ["3 ok"]);
    // It is seen to that the target shows it, whoever took it away there.
    assert_eq!(bench.publish(4, request("v", &["a"])), ["rebind v"]);
    assert_eq!(bench.rebound("v"), ["4 ok"]);
}

#[test]
fn publish_elsewhere_is_refused_and_disturbs_nothing() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    let mut elsewhere = request("v", &["a"]);
    elsewhere.target = "/pods/other".into();
    assert_eq!(
        bench.publish(2, elsewhere),
        ["2 failed: the volume is published at /pods/v already"]
    );
    assert_eq!(bench.applied("a", "2"), ["offer v 2"]);
}

#[test]
fn unpublish_while_mounting_waits_for_the_mount_and_takes_it_away() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a"]));
    bench.applied("a", "1");
    assert_eq!(bench.unpublish(2, "v"), [""; 0]);
    assert_eq!(
        bench.mounted("v", 1),
        ["say published v files=1", "1 ok", "unmount v and clear"]
    );
    assert_eq!(bench.unmounted("v"), ["forget pod v", "unwatch a", "2 ok"]);
    assert!(bench.machine.is_empty());
}

#[test]
fn unpublish_of_the_never_published_clears_its_target() {
    let mut bench = Bench::new(POLICY);
    assert_eq!(bench.unpublish(1, "v"), ["clear /pods/v"]);
    assert_eq!(bench.cleared("v"), ["1 ok"]);
    assert!(bench.machine.is_empty());
    // A host clears nothing that it has not mounted.
    let ask = Ask::Unpublish {
        volume: VolumeId::new("v"),
        target: "/pods/v".into(),
        how: Unbind::IfIdle,
        clear: false,
    };
    assert_eq!(bench.call(2, ask), ["2 ok"]);
    assert!(bench.machine.is_empty());
}

#[test]
fn unpublish_of_another_target_clears_that_one_alone() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    let ask = Ask::Unpublish {
        volume: VolumeId::new("v"),
        target: "/pods/other".into(),
        how: Unbind::Detach,
        clear: true,
    };
    assert_eq!(bench.call(2, ask), ["clear /pods/other"]);
    assert_eq!(bench.cleared("v"), ["2 ok"]);
    assert_eq!(bench.applied("a", "2"), ["offer v 2"]);
}

#[test]
fn what_comes_while_another_target_is_cleared_is_mounted_then() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a"]));
    let ask = Ask::Unpublish {
        volume: VolumeId::new("v"),
        target: "/pods/other".into(),
        how: Unbind::Detach,
        clear: true,
    };
    assert_eq!(bench.call(2, ask), ["clear /pods/other"]);
    assert_eq!(bench.applied("a", "1"), [""; 0]);
    assert_eq!(bench.cleared("v"), ["2 ok", "mount v#1 at /pods/v with 1"]);
    assert_eq!(bench.mounted("v", 1), ["say published v files=1", "1 ok"]);
}

#[test]
fn unpublish_answers_a_publish_that_waits() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a"]));
    bench.publish(2, request("v", &["a"]));
    assert_eq!(
        bench.unpublish(3, "v"),
        [
            "1 failed: the volume was unpublished meanwhile",
            "2 failed: the volume was unpublished meanwhile",
            "forget pod v",
            "unwatch a",
            "clear /pods/v",
        ]
    );
    // The target is wanted anew before it is clear: first things first.
    assert_eq!(bench.publish(4, request("v", &["a"])), [""; 0]);
    assert_eq!(bench.cleared("v"), ["3 ok", "watch a"]);
    assert_eq!(bench.applied("a", "1"), ["mount v#1 at /pods/v with 1"]);
}

#[test]
fn republish_of_an_ended_connection_mounts_anew() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    assert_eq!(
        bench.ended("v", 1),
        [
            "condition v: the mount was ended from outside",
            "say lost v"
        ]
    );
    // Told once.
    assert_eq!(bench.ended("v", 1), [""; 0]);
    bench.applied("a", "2");
    assert_eq!(bench.publish(2, request("v", &["a"])), ["unmount v"]);
    assert_eq!(bench.unmounted("v"), ["mount v#2 at /pods/v with 2"]);
    // What is heard of the former connection by now is no news.
    assert_eq!(bench.ended("v", 1), [""; 0]);
    assert_eq!(bench.mounted("v", 2), ["say published v files=1", "2 ok"]);
    assert_eq!(
        bench.ended("v", 2).last().map(String::as_str),
        Some("say lost v")
    );
}

#[test]
fn the_end_of_a_connection_while_it_is_taken_away_is_no_news() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    bench.lost(2, "v");
    bench.unpublish(3, "v");
    assert_eq!(bench.ended("v", 1), [""; 0]);
    assert_eq!(
        bench.unmounted("v"),
        [
            "2 failed: the volume was unpublished meanwhile",
            "forget pod v",
            "unwatch a",
            "3 ok"
        ]
    );
}

#[test]
fn the_end_of_a_connection_that_could_not_be_taken_away_is_told_then() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    bench.unpublish(2, "v");
    bench.ended("v", 1);
    assert_eq!(
        bench.not_unmounted("v"),
        [
            "condition v: the mount was ended from outside",
            "say lost v",
            "2 failed: the mount is in use",
        ]
    );
}

#[test]
fn who_waits_for_the_end_is_told_of_it_whenever_he_asks() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    assert_eq!(bench.lost(2, "v"), [""; 0]);
    assert_eq!(bench.ended("v", 1).last().map(String::as_str), Some("2 ok"));
    assert_eq!(bench.lost(3, "v"), ["3 ok"]);
    assert_eq!(
        bench.lost(4, "other"),
        ["4 failed: the volume was unpublished meanwhile"]
    );
}

#[test]
fn a_mount_that_is_in_use_stays_and_may_be_asked_for_again() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    bench.unpublish(2, "v");
    assert_eq!(bench.not_unmounted("v"), ["2 failed: the mount is in use"]);
    assert_eq!(bench.applied("a", "2"), ["offer v 2"]);
    assert_eq!(bench.unpublish(3, "v"), ["unmount v and clear"]);
    bench.unmounted("v");
    assert!(bench.machine.is_empty());
}

#[test]
fn a_mount_that_fails_answers_everybody_and_is_forgotten() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a"]));
    bench.publish(2, request("v", &["a"]));
    bench.applied("a", "1");
    let said = bench.not_mounted("v", 1);
    assert_eq!(said[0], "say not published v");
    assert!(
        said[1].starts_with("1 failed: a thread could not be started"),
        "{said:?}"
    );
    assert!(
        said[2].starts_with("2 failed: a thread could not be started"),
        "{said:?}"
    );
    assert_eq!(said[3..], ["forget pod v", "unwatch a"]);
    assert!(bench.machine.is_empty());
    // And again, as the kubelet asks.
    assert_eq!(bench.publish(3, request("v", &["a"]))[0], "watch a");
    assert_eq!(bench.applied("a", "1"), ["mount v#2 at /pods/v with 1"]);
}

#[test]
fn a_burst_while_a_mount_is_under_way_is_one_offer_of_the_newest() {
    let mut bench = Bench::new(POLICY);
    bench.publish(1, request("v", &["a"]));
    bench.applied("a", "1");
    for bytes in ["2", "3", "4"] {
        assert_eq!(bench.applied("a", bytes), [""; 0]);
    }
    assert_eq!(
        bench.mounted("v", 1),
        ["say published v files=1", "offer v 4", "1 ok"]
    );
}

#[test]
fn stats_are_of_what_is_mounted_there() {
    let mut bench = Bench::new(POLICY);
    let stats = |target: &str| Ask::Stats {
        volume: VolumeId::new("v"),
        target: target.into(),
    };
    let nothing = "no volume is published at /pods/v";
    assert_eq!(
        bench.call(1, stats("/pods/v")),
        [format!("1 failed: {nothing}")]
    );
    bench.publish(2, request("v", &["a"]));
    assert_eq!(
        bench.call(3, stats("/pods/v")),
        [format!("3 failed: {nothing}")]
    );
    bench.applied("a", "1");
    bench.mounted("v", 1);
    assert_eq!(bench.call(4, stats("/pods/v")), ["4 stats of v"]);
    assert_eq!(
        bench.call(5, stats("/pods/x")),
        ["5 failed: no volume is published at /pods/x"]
    );
}

#[test]
fn a_pod_is_forgotten_with_its_last_volume_alone() {
    let mut bench = Bench::new(POLICY);
    bench.serve("v", "a", 1);
    let mut second = request("w", &["b"]);
    second.owner = request("v", &[]).owner;
    bench.publish(2, second);
    bench.applied("b", "1");
    bench.mounted("w", 2);
    bench.unpublish(3, "v");
    assert_eq!(bench.unmounted("v"), ["unwatch a", "3 ok"]);
    bench.unpublish(4, "w");
    assert_eq!(bench.unmounted("w"), ["forget pod v", "unwatch b", "4 ok"]);
}
