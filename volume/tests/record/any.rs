//! Any life of a volume, as a list of steps.

use livemount_volume::Pins;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::snapshots::PATHS;

/// A life from its first snapshot on.
#[derive(Clone, Debug)]
pub struct Life {
    pub first: Tree,
    pub pins: Pins,
    pub dotdata: bool,
    pub steps: Vec<Step>,
}

pub type Tree = Vec<(&'static str, u8)>;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// The volume is written down and read back; from then on there are two.
    Handover {
        later: u32,
    },
    /// The commit goes one step on, with this tree where it begins.
    Commit {
        tree: Tree,
        fails: bool,
    },
    /// The commit goes on to its end.
    WholeCommit {
        tree: Tree,
    },
    Relabel,
    Time {
        millis: u16,
    },
    /// A name is walked to from the volume's root.
    Walk {
        path: Index,
        dots: Option<u8>,
    },
    Forget {
        ino: Index,
        count: u8,
    },
    /// A file that the kernel was told of, whatever became of it.
    Open {
        file: Index,
        write: bool,
    },
    Read {
        handle: Index,
        part: (u8, u8),
        cached: bool,
    },
    Release {
        handle: Index,
    },
    /// A change that nobody armed, or that somebody else brings.
    Rogue {
        ino: Index,
    },
    Due,
    Ask,
}

pub fn tree() -> impl Strategy<Value = Tree> {
    let file = (prop::sample::select(&PATHS[..]), 0..24u8);
    vec(file, 0..9)
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        1 => any::<u32>().prop_map(|later| Step::Handover { later }),
        8 => (tree(), prop::bool::weighted(0.2)).prop_map(|(tree, fails)| Step::Commit { tree, fails }),
        3 => tree().prop_map(|tree| Step::WholeCommit { tree }),
        1 => Just(Step::Relabel),
        2 => prop_oneof![0..300u16, 900..1100u16, 1900..2200u16].prop_map(|millis| Step::Time { millis }),
        6 => (index(), prop::option::weighted(0.4, 0..6u8)).prop_map(|(path, dots)| Step::Walk { path, dots }),
        3 => (index(), 1..4u8).prop_map(|(ino, count)| Step::Forget { ino, count }),
        8 => (index(), prop::bool::weighted(0.15)).prop_map(|(file, write)| Step::Open { file, write }),
        4 => (index(), (0..4u8, 0..12u8), prop::bool::weighted(0.3))
            .prop_map(|(handle, part, cached)| Step::Read { handle, part, cached }),
        3 => index().prop_map(|handle| Step::Release { handle }),
        1 => index().prop_map(|ino| Step::Rogue { ino }),
        1 => Just(Step::Due),
        1 => Just(Step::Ask),
    ]
}

pub fn life() -> impl Strategy<Value = Life> {
    let pins = (1..4usize, prop_oneof![Just(1u64 << 20), 500..4000u64]);
    let pins = pins.prop_map(|(versions, bytes)| Pins { versions, bytes });
    let steps = (vec(step(), 0..40), any::<u32>(), vec(step(), 1..40));
    let steps = steps.prop_map(|(mut steps, later, after)| {
        steps.push(Step::Handover { later });
        steps.extend(after);
        steps
    });
    (tree(), pins, any::<bool>(), steps).prop_map(|(first, pins, dotdata, steps)| Life {
        first,
        pins,
        dotdata,
        steps,
    })
}
