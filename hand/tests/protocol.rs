//! The messages: what is written is read again, and nothing that a taken-over peer sends can end
//! the other.

use livemount_hand::protocol::{Answer, Call, MAX_MESSAGE, Reply, Request, decode, encode};
use livemount_hand::{HandError, HandOp, Last, OpResult, Prepared, Progress, Unbind};
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
        (any::<u64>(), any::<u32>(), results()).prop_map(|(commit, index, result)| Last {
            commit,
            index,
            result,
        }),
    )
}

fn calls() -> impl Strategy<Value = Call> {
    let target = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        Just(Call::Ping),
        (
            any::<u64>(),
            prop::option::of(target.clone()),
            any::<bool>(),
            any::<bool>(),
            lasts()
        )
            .prop_map(|(volume, target, created, bound, last)| Call::Adopt {
                volume,
                target,
                created,
                bound,
                last
            }),
        (any::<u64>(), target.clone(), any::<bool>()).prop_map(|(volume, target, over)| {
            Call::Prepare {
                volume,
                target,
                over,
            }
        }),
        (any::<u64>(), target.clone()).prop_map(|(volume, target)| Call::Clear { volume, target }),
        any::<u64>().prop_map(|volume| Call::Mount { volume }),
        (any::<u64>(), target).prop_map(|(volume, target)| Call::Bind { volume, target }),
        (any::<u64>(), prop::collection::vec(".{0,40}", 0..20))
            .prop_map(|(volume, paths)| Call::Refresh { volume, paths }),
        (
            any::<u64>(),
            any::<u64>(),
            any::<u32>(),
            prop::collection::vec(ops(), 0..20)
        )
            .prop_map(|(volume, commit, first, ops)| Call::Run {
                volume,
                commit,
                first,
                ops
            }),
        any::<u64>().prop_map(|volume| Call::Last { volume }),
        (
            any::<u64>(),
            prop_oneof![
                Just(Unbind::IfIdle),
                Just(Unbind::Detach),
                Just(Unbind::Force)
            ]
        )
            .prop_map(|(volume, how)| Call::Unbind { volume, how }),
        (any::<u64>(), any::<bool>()).prop_map(|(volume, remove_target)| Call::Forget {
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
        (lasts(), prop::option::of(any::<(u64, u32)>()))
            .prop_map(|(last, running)| Ok(Answer::Progress(Progress { last, running }))),
        Just(Ok(Answer::Done)),
        any::<u64>().prop_map(|volume| Err(HandError::NoVolume(volume))),
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
        call: Call::Ping,
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
        call: Call::Run {
            volume: 1,
            commit: 1,
            first: 0,
            ops,
        },
    };
    assert_eq!(encode(&long), Err(HandError::Malformed));
    // A list that claims to be longer than any memory.
    assert_eq!(
        decode::<Request>(&[1, 1, 5, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        Err(HandError::Malformed)
    );
}
