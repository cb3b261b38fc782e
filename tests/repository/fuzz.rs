//! What the fuzz targets ask, asked of their corpus and of damaged copies of it: so many inputs each
//! time, made from a seed that is told. Longer runs are for `cargo fuzz` (CONTRIBUTING.md).

#[path = "../../fuzz/src/lib.rs"]
mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Another one is tried by `LIVEMOUNT_FUZZ_SEED=N cargo test --test repository fuzz`.
const SEED: u64 = 20_261_123;
/// How many damaged inputs each target gets.
const DAMAGED: u64 = 4_000;
/// None grows beyond this, so that their number bounds the time.
const LONGEST: usize = 4_096;
/// The most time for one input: a hundred times what the slowest of the corpus takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most memory that the whole run may ever hold. A tree of as many values as a file may have is a
/// third of it; what an alias bomb means, written out, is without end.
const MOST_KIB: u64 = 512 << 10;

#[test]
fn whatever_a_manifest_holds_the_rules_stand() {
    run("manifest", rules::manifest);
}

#[test]
fn whatever_a_volume_source_holds_the_rules_stand() {
    run("volume", rules::volume);
}

#[test]
fn whatever_a_message_holds_the_rules_stand() {
    run("protocol", rules::protocol);
}

#[test]
fn whatever_is_said_to_a_keeper_the_rules_stand() {
    run("keeper", rules::keeper);
}

#[test]
fn whatever_a_predecessor_left_the_rules_stand() {
    run("record", rules::record);
}

/// Asks a target's rules of its corpus, then of damaged copies.
fn run(target: &str, rules: impl Fn(&[u8])) {
    let seed = std::env::var("LIVEMOUNT_FUZZ_SEED").map_or(SEED, |seed| {
        seed.parse().expect("LIVEMOUNT_FUZZ_SEED is a number")
    });
    println!("{target}: seed {seed}");
    let corpus = corpus(target);
    assert!(corpus.len() >= 10, "the corpus of {target} has moved");
    for (name, bytes) in &corpus {
        ask(&rules, name, bytes);
    }
    let words = words();
    let mut dice = Dice(seed);
    for number in 0..DAMAGED {
        let bytes = damaged(&corpus, &words, &mut dice);
        ask(&rules, &format!("damaged input {number}"), &bytes);
    }
    let peak = peak_kib();
    assert!(peak < MOST_KIB, "{peak} KiB were held at once");
}

fn ask(rules: impl Fn(&[u8]), name: &str, bytes: &[u8]) {
    let shown = ShowIfItFails(name, bytes);
    let began = Instant::now();
    rules(bytes);
    let took = began.elapsed();
    assert!(took < PATIENCE, "{took:?}");
    drop(shown);
}

/// Shows an input whose rules are broken, so that it can be put into the corpus.
struct ShowIfItFails<'i>(&'i str, &'i [u8]);

impl Drop for ShowIfItFails<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Every input of a target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = home().join("corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .expect("the corpus is there")
        .map(|entry| {
            let path = entry.expect("it can be listed").path();
            let bytes = fs::read(&path).expect("it can be read");
            (path.display().to_string(), bytes)
        })
        .collect();
    inputs.sort();
    inputs
}

/// The words of libFuzzer's dictionary: a line is a quoted text with escapes.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(home().join("yaml.dict")).expect("the dictionary is there");
    text.lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .map(unescaped)
        .collect()
}

fn unescaped(word: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        rest = if let Some(hex) = after.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).expect("two digits"));
            &hex[2..]
        } else {
            bytes.extend(&after.as_bytes()[..1]);
            &after[1..]
        };
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// One input of the corpus after one to six slips.
fn damaged(corpus: &[(String, Vec<u8>)], words: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = dice.one_of(corpus).1.clone();
    bytes.truncate(LONGEST);
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(16)).min(bytes.len());
        let new = match dice.below(6) {
            // A byte turns over, some go, one comes.
            0 => bytes[at..end]
                .iter()
                .map(|byte| byte ^ (1 << (at % 8)))
                .collect(),
            1 => Vec::new(),
            2 => vec![u8::try_from(dice.below(256)).expect("a byte")],
            // A word of the language, or a piece of this input or of another.
            3 => dice.one_of(words).clone(),
            4 => piece(&bytes, dice),
            _ => piece(&dice.one_of(corpus).1, dice),
        };
        bytes.splice(at..end, new);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn piece(of: &[u8], dice: &mut Dice) -> Vec<u8> {
    let start = dice.below(of.len() + 1);
    let end = (start + dice.below(64)).min(of.len());
    of[start..end].to_vec()
}

/// `SplitMix64`: the same throws on every machine.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.throw() % end as u64).expect("below a usize")
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The most memory that this process has ever held (`VmHWM` of proc(5)).
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .expect("a number of KiB")
}
