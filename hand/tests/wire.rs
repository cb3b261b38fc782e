//! How version 1 of the protocol is written, byte for byte: a hand of one release serves daemons of
//! another.
//!
//! No line here is ever changed. What a new version can say gets new lines, for new variants at the
//! ends of their enums; a variant that is not here does not compile (`listed`).

use livemount_hand::protocol::{
    Answer, Call, Control, Reply, Request, Spoken, Work, decode, encode,
};
use livemount_hand::{
    CommitNumber, HandError, HandOp, Last, OpResult, Prepared, Progress, Unbind, VolumeNumber,
};

const ONE: VolumeNumber = VolumeNumber(1);
const MANY: VolumeNumber = VolumeNumber(u64::MAX);

fn path() -> Vec<u8> {
    b"/t/\xff".to_vec()
}

fn last(result: OpResult) -> Last {
    Last {
        commit: CommitNumber(300),
        index: 7,
        result,
    }
}

fn ops() -> Vec<HandOp> {
    let path = || "d/a".to_owned();
    vec![
        HandOp::Rename {
            stage: "n".into(),
            path: path(),
        },
        HandOp::Ring {
            path: path(),
            mtime_sec: 1_800_000_000,
            mtime_nsec: 5,
        },
        HandOp::Touch {
            path: path(),
            mtime_sec: -1,
            mtime_nsec: 999_999_999,
        },
        HandOp::Unlink { path: path() },
        HandOp::Rmdir { path: path() },
    ]
}

fn controls() -> Vec<(Call, &'static str)> {
    vec![
        (Control::Ping.into(), "c80188270000"),
        (
            Control::Adopt {
                volume: ONE,
                target: Some(path()),
                created: true,
                bound: false,
                last: Some(last(OpResult::Done)),
            }
            .into(),
            "c801882700010101042f742fff010001ac020700",
        ),
        (
            Control::Adopt {
                volume: MANY,
                target: None,
                created: false,
                bound: true,
                last: None,
            }
            .into(),
            "c80188270001ffffffffffffffffff0100000100",
        ),
        (Control::Last { volume: ONE }.into(), "c8018827000201"),
        (
            Control::Hello(Spoken {
                version: 1,
                oldest: 1,
            })
            .into(),
            "c801882700030101",
        ),
        (Control::Settle.into(), "c80188270004"),
    ]
}

fn works() -> Vec<(Call, &'static str)> {
    vec![
        (
            Work::Prepare {
                volume: ONE,
                target: path(),
                over: true,
            }
            .into(),
            "c8018827010001042f742fff01",
        ),
        (
            Work::Mount { volume: MANY }.into(),
            "c80188270101ffffffffffffffffff01",
        ),
        (
            Work::Bind {
                volume: ONE,
                target: path(),
            }
            .into(),
            "c8018827010201042f742fff",
        ),
        (
            Work::Refresh {
                volume: ONE,
                paths: vec!["a".into(), "b/c".into()],
            }
            .into(),
            "c801882701030102016103622f63",
        ),
        (
            Work::Run {
                volume: ONE,
                commit: CommitNumber(300),
                first: 2,
                ops: ops(),
            }
            .into(),
            "c8018827010401ac02020500016e03642f610103642f6180c8ceb40d050203642f6101ff93ebdc030303642f610403642f61",
        ),
        (
            Work::Unbind {
                volume: ONE,
                how: Unbind::IfIdle,
            }
            .into(),
            "c801882701050100",
        ),
        (
            Work::Unbind {
                volume: ONE,
                how: Unbind::Detach,
            }
            .into(),
            "c801882701050101",
        ),
        (
            Work::Unbind {
                volume: ONE,
                how: Unbind::Force,
            }
            .into(),
            "c801882701050102",
        ),
        (
            Work::Forget {
                volume: ONE,
                remove_target: true,
            }
            .into(),
            "c801882701060101",
        ),
        (
            Work::Clear { target: path() }.into(),
            "c80188270107042f742fff",
        ),
        (Work::Idle { volume: ONE }.into(), "c8018827010801"),
        (Work::Abort { volume: ONE }.into(), "c8018827010901"),
    ]
}

fn calls() -> Vec<(Call, &'static str)> {
    [controls(), works()].concat()
}

fn outcomes() -> Vec<(Result<Answer, HandError>, &'static str)> {
    vec![
        (Ok(Answer::Pong { busy: 3, late: 2 }), "c80100000302"),
        (
            Ok(Answer::Prepared(Prepared {
                created: true,
                replaced: false,
            })),
            "c80100010100",
        ),
        (Ok(Answer::Mounted), "c8010002"),
        (Ok(Answer::Bound), "c8010003"),
        (
            Ok(Answer::Refreshed(vec![None, Some(2), Some(-1)])),
            "c8010004030001040101",
        ),
        (
            Ok(Answer::Ran(vec![
                OpResult::Done,
                OpResult::Touched,
                OpResult::Failed(116),
            ])),
            "c801000503000102e801",
        ),
        (
            Ok(Answer::Progress(Progress {
                last: Some(last(OpResult::Failed(2))),
                running: Some((CommitNumber(301), 0)),
            })),
            "c801000601ac0207020401ad0200",
        ),
        (
            Ok(Answer::Progress(Progress {
                last: None,
                running: None,
            })),
            "c80100060000",
        ),
        (Ok(Answer::Done), "c8010007"),
        (
            Ok(Answer::Hello(Spoken {
                version: 1,
                oldest: 1,
            })),
            "c80100080101",
        ),
        (Err(HandError::Start { errno: 2 }), "c801010004"),
        (Err(HandError::Died), "c8010101"),
        (Err(HandError::Closed), "c8010102"),
        (
            Err(HandError::Slow { what: "run".into() }),
            "c80101030372756e",
        ),
        (Err(HandError::Stuck), "c8010104"),
        (
            Err(HandError::NoVolume(MANY)),
            "c8010105ffffffffffffffffff01",
        ),
        (Err(HandError::OutsideRoots), "c8010106"),
        (Err(HandError::NotADirectory), "c8010107"),
        (Err(HandError::NotEmpty), "c8010108"),
        (Err(HandError::Occupied), "c8010109"),
        (Err(HandError::Covered), "c801010a"),
        (Err(HandError::StillBound), "c801010b"),
        (Err(HandError::Busy), "c801010c"),
        (Err(HandError::BadPath), "c801010d"),
        (Err(HandError::NotFuse), "c801010e"),
        (Err(HandError::Malformed), "c801010f"),
        (
            Err(HandError::Os {
                what: "fsopen".into(),
                errno: 1,
            }),
            "c80101100666736f70656e02",
        ),
        (
            Err(HandError::Unreachable {
                socket: "/s".into(),
                errno: 111,
            }),
            "c8010111022f73de01",
        ),
        (
            Err(HandError::Version {
                ours: Spoken {
                    version: 2,
                    oldest: 1,
                },
                theirs: Spoken {
                    version: 300,
                    oldest: 200,
                },
            }),
            "c80101120201ac02c801",
        ),
        (Err(HandError::Replaced), "c8010113"),
    ]
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _always = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn requests_are_written_as_ever() {
    for (call, written) in calls() {
        let request = Request {
            seq: 200,
            within_ms: 5_000,
            call,
        };
        let bytes = encode(&request).expect("short");
        assert_eq!(hex(&bytes), written, "{:?}", request.call);
        assert_eq!(decode::<Request>(&bytes), Ok(request));
    }
}

#[test]
fn replies_are_written_as_ever() {
    for (outcome, written) in outcomes() {
        let reply = Reply { seq: 200, outcome };
        let bytes = encode(&reply).expect("short");
        assert_eq!(hex(&bytes), written, "{:?}", reply.outcome);
        assert_eq!(decode::<Reply>(&bytes), Ok(reply));
    }
}

/// The place of each variant among the lines above, so that a new one is missed.
fn listed(call: &Call) -> usize {
    match call {
        Call::Control(control) => match control {
            Control::Ping => 0,
            Control::Adopt { .. } => 1,
            Control::Last { .. } => 2,
            Control::Hello(_) => 3,
            Control::Settle => 4,
        },
        Call::Work(work) => match work {
            Work::Prepare { .. } => 5,
            Work::Mount { .. } => 6,
            Work::Bind { .. } => 7,
            Work::Refresh { .. } => 8,
            Work::Run { .. } => 9,
            Work::Unbind { .. } => 10,
            Work::Forget { .. } => 11,
            Work::Clear { .. } => 12,
            Work::Idle { .. } => 13,
            Work::Abort { .. } => 14,
        },
    }
}

fn told(outcome: &Result<Answer, HandError>) -> usize {
    match outcome {
        Ok(answer) => match answer {
            Answer::Pong { .. } => 0,
            Answer::Prepared(_) => 1,
            Answer::Mounted => 2,
            Answer::Bound => 3,
            Answer::Refreshed(_) => 4,
            Answer::Ran(_) => 5,
            Answer::Progress(_) => 6,
            Answer::Done => 7,
            Answer::Hello(_) => 8,
        },
        Err(error) => match error {
            HandError::Start { .. } => 9,
            HandError::Died => 10,
            HandError::Closed => 11,
            HandError::Slow { .. } => 12,
            HandError::Stuck => 13,
            HandError::NoVolume(_) => 14,
            HandError::OutsideRoots => 15,
            HandError::NotADirectory => 16,
            HandError::NotEmpty => 17,
            HandError::Occupied => 18,
            HandError::Covered => 19,
            HandError::StillBound => 20,
            HandError::Busy => 21,
            HandError::BadPath => 22,
            HandError::NotFuse => 23,
            HandError::Malformed => 24,
            HandError::Os { .. } => 25,
            HandError::Unreachable { .. } => 26,
            HandError::Version { .. } => 27,
            HandError::Replaced => 28,
        },
    }
}

#[test]
fn nothing_is_missing_above() {
    let mut places: Vec<usize> = calls().iter().map(|(call, _)| listed(call)).collect();
    places.dedup();
    assert_eq!(places, (0..=14).collect::<Vec<_>>());
    let mut places: Vec<usize> = outcomes()
        .iter()
        .map(|(outcome, _)| told(outcome))
        .collect();
    places.dedup();
    assert_eq!(places, (0..=28).collect::<Vec<_>>());
}

#[test]
fn two_ends_speak_what_both_understand() {
    let speaks = |oldest, version| Spoken { version, oldest };
    for (ours, theirs, common) in [
        (speaks(1, 1), speaks(1, 1), Some(1)),
        (speaks(1, 1), speaks(1, 9), Some(1)),
        (speaks(2, 3), speaks(1, 2), Some(2)),
        (speaks(2, 3), speaks(1, 1), None),
        (speaks(4, 5), speaks(6, 7), None),
        // Whoever says that is wrong in any case.
        (speaks(1, 1), speaks(9, 1), None),
    ] {
        assert_eq!(ours.common(theirs), common, "{ours:?} {theirs:?}");
        assert_eq!(theirs.common(ours), common, "{theirs:?} {ours:?}");
    }
}
