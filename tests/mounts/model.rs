//! Random volumes, random commits and random users of them through a real mount, against a plain
//! map: promises 1 to 5 and 8 of docs/SEMANTICS.md, and modes and owners.
//!
//! A life that fails is shrunk, and printed with the seed: `LIVEMOUNT_TEST_SEED` runs it again,
//! `LIVEMOUNT_TEST_LIVES` is how many there are (for a long run, say 5000). Seeds are not kept in
//! files, for a seed means another life as soon as the lives are made in another way: a life that
//! found something is written down below as a test of its own.

mod any;
mod burst;
mod held;
mod reader;
mod tell;
mod truth;
mod world;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use crate::support::namespace::Namespace;
use crate::support::random::Random;
use crate::support::scratch::Scratch;
use crate::support::served::{Served, tree};
use crate::support::watch::{Watch, lines};
use any::{Edit, Life, Step};

/// How many lives an ordinary run tries: well below a minute of them.
const LIVES: u32 = 160;

#[test]
fn promises_1_to_5_and_8_random_lives() {
    let lives = std::env::var("LIVEMOUNT_TEST_LIVES").map_or(LIVES, |lives| {
        lives.parse().expect("LIVEMOUNT_TEST_LIVES is a number")
    });
    let mut runner = TestRunner::new(Config {
        cases: lives,
        rng_seed: RngSeed::Fixed(Random::new("model").below(u64::MAX)),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    });
    let result = runner.run(&any::life(), |life| {
        world::live(&life).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, life)) => panic!("{reason}\nin the life of\n{life:?}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn promise_10_a_thousand_long_names_come_change_and_go() {
    let many = |seed| Edit::Many {
        count: 1000,
        long: true,
        seed,
    };
    let commit = |edit| Step::Commit {
        edits: vec![edit],
        reader: false,
    };
    let life = Life {
        fs_group: None,
        dotdata: false,
        first: vec![many(1)],
        steps: vec![
            commit(many(2)),
            commit(Edit::Half),
            commit(many(3)),
            commit(Edit::Clear),
            commit(many(3)),
        ],
    };
    if let Err(error) = world::live(&life) {
        panic!("{error}");
    }
}

/// A volume with one file, for what random lives have found.
fn published(scratch: &Scratch) -> (Served, PathBuf) {
    let mut served = Served::in_test(scratch.path());
    let path = scratch.join("v");
    served.publish("v", &path, &tree(&[("a", "0")]));
    (served, path)
}

#[test]
fn promise_1_a_folder_that_nobody_holds_comes_back_with_its_number() {
    let scratch = Scratch::new();
    let (mut served, path) = published(&scratch);
    let mut numbers = BTreeSet::new();
    // The kernel tells of a removed inode that it forgot it a moment later.
    for _ in 0..300 {
        served.commit("v", &tree(&[("d/e/x", "1")]));
        numbers.insert(["d", "d/e"].map(|name| fs::metadata(path.join(name)).expect(name).ino()));
        served.commit("v", &tree(&[]));
    }
    assert_eq!(numbers.len(), 1, "{numbers:?}");
}

#[test]
fn promise_1_a_watch_on_a_bound_file_outlives_every_removal() {
    let scratch = Scratch::new();
    let (mut served, path) = published(&scratch);
    let pod = Namespace::bind(&scratch, &path.join("a"));
    let bound = pod.path().to_owned();
    let mut watch = pod.run(move || Watch::all(&bound));
    for round in 1..=3 {
        served.commit("v", &tree(&[]));
        served.commit("v", &tree(&[("a", &format!("back {round}"))]));
        watch.drain();
        served.commit("v", &tree(&[("a", &format!("changed {round}"))]));
        let heard = lines(&watch.drain());
        assert_eq!(heard, ["OPEN", "MODIFY", "CLOSE_WRITE"], "round {round}");
    }
}

#[test]
fn promise_3_as_many_versions_as_are_kept_stay_through_later_commits() {
    let scratch = Scratch::new();
    let (mut served, path) = published(&scratch);
    let held: Vec<File> = (0..32)
        .map(|version| {
            let file = File::open(path.join("a")).expect("opens");
            // Read once, it delays nobody.
            file.read_at(&mut [0; 8], 0).expect("reads");
            served.commit("v", &tree(&[("a", &(version + 1).to_string())]));
            file
        })
        .collect();
    // Nobody opens these, and each follows on the heels of the one before.
    for version in 33..3000 {
        served.offer("v", &tree(&[("a", &version.to_string())]));
    }
    served.settle("v");
    for (version, file) in held.iter().enumerate() {
        let mut bytes = [0; 8];
        let got = file.read_at(&mut bytes, 0).expect("the version is kept");
        assert_eq!(bytes[..got], *version.to_string().as_bytes());
    }
}
