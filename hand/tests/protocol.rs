//! The messages: what is written is read again, and nothing that a taken-over peer sends can end
//! the other.

use livemount_hand::protocol::{
    Answer, Call, Control, MAX_MESSAGE, Reply, Request, Spoken, Work, decode, encode,
};
use livemount_hand::{
    CommitNumber, HandError, HandOp, Last, OpResult, Prepared, Progress, Unbind, VolumeNumber,
};
use proptest::prelude::*;

fn ops() -> impl Strategy<Value = HandOp> {
    let path = ".{0,40}";
    prop_oneof![
        (path, path).prop_map(|(stage, path)| HandOp::Rename { stage, path }),
        (path, any::<i64>(), any::<u32>()).prop_map(|(path, mtime_sec, mtime_nsec)| HandOp::Ring {
            path,
            mtime_sec,
            mtime_nsec
        }),
        (path, any::<i64>(), any::<u32>()).prop_map(|(path, mtime_sec, mtime_nsec)| {
            HandOp::Touch {
                path,
                mtime_sec,
                mtime_nsec,
            }
        }),
        path.prop_map(|path| HandOp::Unlink { path }),
        path.prop_map(|path| HandOp::Rmdir { path }),
    ]
}

fn results() -> impl Strategy<Value = OpResult> {
    prop_oneof![
        Just(OpResult::Done),
        Just(OpResult::Touched),
        any::<i32>().prop_map(OpResult::Failed)
    ]
}

fn lasts() -> impl Strategy<Value = Option<Last>> {
    prop::option::of(
        (commits(), any::<u32>(), results()).prop_map(|(commit, index, result)| Last {
            commit,
            index,
            result,
        }),
    )
}

fn volumes() -> impl Strategy<Value = VolumeNumber> {
    any::<u64>().prop_map(VolumeNumber)
}

fn commits() -> impl Strategy<Value = CommitNumber> {
    any::<u64>().prop_map(CommitNumber)
}

fn targets() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

fn calls() -> impl Strategy<Value = Call> {
    prop_oneof![
        3 => controls().prop_map(Call::from),
        8 => works().prop_map(Call::from),
    ]
}

fn controls() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Ping),
        (
            volumes(),
            prop::option::of(targets()),
            any::<bool>(),
            any::<bool>(),
            lasts()
        )
            .prop_map(|(volume, target, created, bound, last)| Control::Adopt {
                volume,
                target,
                created,
                bound,
                last
            }),
        volumes().prop_map(|volume| Control::Last { volume }),
        spoken().prop_map(Control::Hello),
        Just(Control::Settle),
    ]
}

fn spoken() -> impl Strategy<Value = Spoken> {
    (any::<u16>(), any::<u16>()).prop_map(|(version, oldest)| Spoken { version, oldest })
}

fn works() -> impl Strategy<Value = Work> {
    prop_oneof![
        (volumes(), targets(), any::<bool>()).prop_map(|(volume, target, over)| {
            Work::Prepare {
                volume,
                target,
                over,
            }
        }),
        targets().prop_map(|target| Work::Clear { target }),
        volumes().prop_map(|volume| Work::Idle { volume }),
        volumes().prop_map(|volume| Work::Abort { volume }),
        volumes().prop_map(|volume| Work::Mount { volume }),
        (volumes(), targets()).prop_map(|(volume, target)| Work::Bind { volume, target }),
        (volumes(), prop::collection::vec(".{0,40}", 0..20))
            .prop_map(|(volume, paths)| Work::Refresh { volume, paths }),
        (
            volumes(),
            commits(),
            any::<u32>(),
            prop::collection::vec(ops(), 0..20)
        )
            .prop_map(|(volume, commit, first, ops)| Work::Run {
                volume,
                commit,
                first,
                ops
            }),
        (
            volumes(),
            prop_oneof![
                Just(Unbind::IfIdle),
                Just(Unbind::Detach),
                Just(Unbind::Force)
            ]
        )
            .prop_map(|(volume, how)| Work::Unbind { volume, how }),
        (volumes(), any::<bool>()).prop_map(|(volume, remove_target)| Work::Forget {
            volume,
            remove_target
        }),
    ]
}

fn outcomes() -> impl Strategy<Value = Result<Answer, HandError>> {
    prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(busy, late)| Ok(Answer::Pong { busy, late })),
        (any::<bool>(), any::<bool>())
            .prop_map(|(created, replaced)| Ok(Answer::Prepared(Prepared { created, replaced }))),
        Just(Ok(Answer::Mounted)),
        Just(Ok(Answer::Bound)),
        prop::collection::vec(prop::option::of(any::<i32>()), 0..50)
            .prop_map(|answers| Ok(Answer::Refreshed(answers))),
        prop::collection::vec(results(), 0..50).prop_map(|results| Ok(Answer::Ran(results))),
        (lasts(), prop::option::of((commits(), any::<u32>())))
            .prop_map(|(last, running)| Ok(Answer::Progress(Progress { last, running }))),
        Just(Ok(Answer::Done)),
        spoken().prop_map(|spoken| Ok(Answer::Hello(spoken))),
        (spoken(), spoken()).prop_map(|(ours, theirs)| Err(HandError::Version { ours, theirs })),
        (".{0,20}", any::<i32>())
            .prop_map(|(socket, errno)| Err(HandError::Unreachable { socket, errno })),
        volumes().prop_map(|volume| Err(HandError::NoVolume(volume))),
        (".{0,20}", any::<i32>()).prop_map(|(what, errno)| Err(HandError::Os {
            what: what.into(),
            errno
        })),
        any::<i32>().prop_map(|errno| Err(HandError::Start { errno })),
        ".{0,20}".prop_map(|what| Err(HandError::Slow { what: what.into() })),
        prop::sample::select(vec![
            HandError::Died,
            HandError::Closed,
            HandError::Stuck,
            HandError::OutsideRoots,
            HandError::NotADirectory,
            HandError::NotEmpty,
            HandError::Occupied,
            HandError::Covered,
            HandError::StillBound,
            HandError::Busy,
            HandError::BadPath,
            HandError::NotFuse,
            HandError::Malformed,
            HandError::Replaced,
        ])
        .prop_map(Err),
    ]
}

proptest! {
    #[test]
    fn requests_come_back((seq, within_ms, call) in (any::<u64>(), any::<u32>(), calls())) {
        let request = Request { seq, within_ms, call };
        let bytes = encode(&request).expect("small enough");
        prop_assert_eq!(decode::<Request>(&bytes), Ok(request));
    }

    #[test]
    fn replies_come_back((seq, outcome) in (any::<u64>(), outcomes())) {
        let reply = Reply { seq, outcome };
        let bytes = encode(&reply).expect("small enough");
        prop_assert_eq!(decode::<Reply>(&bytes), Ok(reply));
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _either = decode::<Request>(&bytes);
        let _either = decode::<Reply>(&bytes);
    }

    /// Arbitrary bytes seldom get far; a sound message with a few bytes wrong does.
    #[test]
    fn a_damaged_message_is_read_or_refused(call in calls(), at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = encode(&Request { seq: 1, within_ms: 1, call }).expect("small enough");
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _either = decode::<Request>(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _either = decode::<Request>(&bytes);
    }
}

#[test]
fn bytes_left_over_and_messages_too_long_are_refused() {
    let mut bytes = encode(&Request {
        seq: 1,
        within_ms: 1,
        call: Control::Ping.into(),
    })
    .expect("small enough");
    bytes.push(0);
    assert_eq!(decode::<Request>(&bytes), Err(HandError::Malformed));
    let ops = vec![HandOp::Unlink {
        path: "x".repeat(MAX_MESSAGE),
    }];
    let long = Request {
        seq: 1,
        within_ms: 1,
        call: Work::Run {
            volume: VolumeNumber(1),
            commit: CommitNumber(1),
            first: 0,
            ops,
        }
        .into(),
    };
    assert_eq!(encode(&long), Err(HandError::Malformed));
    // A list that claims to be longer than any memory.
    assert_eq!(
        decode::<Request>(&[
            1, 1, 1, 3, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1
        ]),
        Err(HandError::Malformed)
    );
}
