//! Random lives of a volume: trees from few names, so that they meet, and what is done beside the
//! commits.
//!
//! Everything is a small number or a list, so that a failing life shrinks to what matters. A name is
//! an index, contents are a size and a seed.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::served::Tree;

/// The longest key that a ConfigMap may have.
const LONG: usize = 253;

/// Names whose order, nesting and types get in each other's way.
const NAMES: &[&str] = &[
    "a",
    "b",
    "d",
    "d/x",
    "d/y",
    "d/e",
    "d/e/z",
    "d/e/f/g",
    "a/b",
    "a/b/c",
    "d-x",
    "d0",
    "e",
    "with a blank",
    "ü",
];

/// One volume's life.
#[derive(Clone, Debug)]
pub struct Life {
    pub fs_group: Option<u32>,
    pub dotdata: bool,
    pub first: Vec<Edit>,
    pub steps: Vec<Step>,
}

/// What happens next. A pick is taken modulo what there is to pick from.
#[derive(Clone, Debug)]
pub enum Step {
    /// One offer, and its commit.
    Commit { edits: Vec<Edit>, reader: bool },
    /// Several offers without waiting, each made from the one before.
    Burst(Vec<Vec<Edit>>),
    /// Somebody keeps something open.
    Hold { what: What, pick: usize },
    /// One of them lets go.
    Release(usize),
    /// A file gets a watch of its own, for good.
    Watch(usize),
}

/// What is kept open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A handle, of which nothing was read.
    Unread,
    /// A handle that was read to its end.
    Read,
    /// A descriptor of a file by O_PATH, which the filesystem does not hear of.
    Path,
    /// A folder's handle.
    Folder,
    /// The folder behind `..data`.
    VersionDir,
}

/// One change of a tree.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A file; whatever stands in its way goes.
    Set {
        path: usize,
        size: usize,
        seed: u8,
        mode: u32,
    },
    /// A file or a folder with all it holds.
    Remove { path: usize },
    /// The mode alone.
    Mode { path: usize, mode: u32 },
    /// So many small files at once.
    Many { count: usize, long: bool, seed: u8 },
    /// Every second of those goes.
    Half,
    /// Everything goes.
    Clear,
    /// The whole tree of an earlier moment.
    Back(usize),
}

impl Edit {
    pub fn apply(&self, tree: &mut Tree, past: &[Tree]) {
        match self {
            Self::Set {
                path,
                size,
                seed,
                mode,
            } => set(tree, name(*path), (contents(*size, *seed), *mode)),
            Self::Remove { path } => {
                let path = name(*path);
                tree.retain(|other, _| *other != path && !is_below(other, &path));
            }
            Self::Mode { path, mode } => {
                if let Some(file) = tree.get_mut(&name(*path)) {
                    file.1 = *mode;
                }
            }
            Self::Many { count, long, seed } => {
                for number in 0..*count {
                    let bytes = contents(number % 40, seed.wrapping_add(low_byte(number)));
                    set(tree, many(number, *long), (bytes, 0o644));
                }
            }
            Self::Half => {
                let mut keep = false;
                tree.retain(|path, _| {
                    keep = !keep;
                    keep || !path.starts_with("many")
                });
            }
            Self::Clear => tree.clear(),
            Self::Back(pick) => {
                if !past.is_empty() {
                    tree.clone_from(&past[pick % past.len()]);
                }
            }
        }
    }
}

fn set(tree: &mut Tree, path: String, file: (Vec<u8>, u32)) {
    let mut folder = path.as_str();
    while let Some((above, _)) = folder.rsplit_once('/') {
        tree.remove(above);
        folder = above;
    }
    let held = format!("{path}/");
    while let Some((below, _)) = tree.range(held.clone()..).next()
        && below.starts_with(&held)
    {
        let below = below.clone();
        tree.remove(&below);
    }
    tree.insert(path, file);
}

/// Whether the first path lies in the second.
pub fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn name(index: usize) -> String {
    match NAMES.get(index) {
        Some(name) => (*name).to_owned(),
        None if index == NAMES.len() => "k".repeat(LONG),
        None => format!("deep/{}/{}", "l".repeat(LONG), "m".repeat(LONG)),
    }
}

fn many(number: usize, long: bool) -> String {
    let name = format!("many-{number:04}");
    if long {
        format!("{name}{}", "-".repeat(LONG - name.len()))
    } else {
        name
    }
}

/// Bytes of every value, the same for the same size and seed.
fn contents(size: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) << 8 | 1;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

pub fn life() -> impl Strategy<Value = Life> {
    let group = proptest::option::weighted(0.2, Just(4242_u32));
    let dotdata = proptest::bool::weighted(0.2);
    (group, dotdata, edits(8), vec(step(), 1..14)).prop_map(|(fs_group, dotdata, first, steps)| {
        Life {
            fs_group,
            dotdata,
            first,
            steps,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        Just(What::Unread),
        Just(What::Read),
        Just(What::Path),
        Just(What::Folder),
        Just(What::VersionDir),
    ];
    prop_oneof![
        8 => (edits(4), proptest::bool::weighted(0.3))
            .prop_map(|(edits, reader)| Step::Commit { edits, reader }),
        2 => vec(edits(3), 2..5).prop_map(Step::Burst),
        5 => (what, 0..100_usize).prop_map(|(what, pick)| Step::Hold { what, pick }),
        1 => (0..100_usize).prop_map(Step::Release),
        2 => (0..100_usize).prop_map(Step::Watch),
    ]
}

fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    vec(edit(), 0..=most)
}

fn edit() -> impl Strategy<Value = Edit> {
    let path = || 0..NAMES.len() + 2;
    prop_oneof![
        24 => (path(), size(), any::<u8>(), mode())
            .prop_map(|(path, size, seed, mode)| Edit::Set { path, size, seed, mode }),
        10 => path().prop_map(|path| Edit::Remove { path }),
        3 => (path(), mode()).prop_map(|(path, mode)| Edit::Mode { path, mode }),
        1 => (prop_oneof![3 => 1..50_usize, 1 => 50..=1000_usize], any::<bool>(), any::<u8>())
            .prop_map(|(count, long, seed)| Edit::Many { count, long, seed }),
        1 => Just(Edit::Half),
        1 => Just(Edit::Clear),
        4 => (0..100_usize).prop_map(Edit::Back),
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => Just(0_usize),
        6 => 1..200_usize,
        2 => 4_090..4_100_usize,
        // The same size again, over several pages, is what a stale page hides behind.
        3 => Just(9_000_usize),
        2 => 4_097..30_000_usize,
        1 => 100_000..200_000_usize,
    ]
}

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => Just(0o644_u32),
        1 => Just(0o600),
        1 => Just(0o400),
        1 => Just(0),
        2 => Just(0o755),
    ]
}
