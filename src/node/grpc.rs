//! The one table from errors to gRPC status codes.
//!
//! What matters is what the kubelet makes of a code (`isFinalError`, `csi_client.go`). After a final
//! one it takes the volume for not mounted, and may never unpublish it; after CANCELLED,
//! DEADLINE_EXCEEDED, UNAVAILABLE, RESOURCE_EXHAUSTED and ABORTED it does not know, tries again, and
//! unpublishes in the end. So whatever leaves open what became of a mount is one of those. `details`
//! stay empty, as the CSI demands; the message is seen in the pod's events.

use livemount_hand::HandError;
use tonic::{Code, Status};

use super::NodeError;
use crate::publish::PublishError;
use crate::volumes::CallError;

/// The answer to a call that failed.
pub fn status(error: &NodeError) -> Status {
    Status::new(code(error), error.to_string())
}

/// The code's name, as the gRPC specification writes it.
pub fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn code(error: &NodeError) -> Code {
    match error {
        NodeError::Missing(_)
        | NodeError::Unserved(_)
        | NodeError::Attribute(_)
        | NodeError::VolumeSource(_)
        | NodeError::NotThePod(_) => Code::InvalidArgument,
        NodeError::Swap(_) => Code::FailedPrecondition,
        NodeError::Call(error) => of_call(error),
    }
}

fn of_call(error: &CallError) -> Code {
    match error {
        CallError::Waiting(_)
        | CallError::Ending
        | CallError::Publish(PublishError::Session(_) | PublishError::Keeper(_)) => {
            Code::Unavailable
        }
        // The CSI's own word for one id at two targets (NodePublishVolume Errors).
        CallError::Elsewhere(_) => Code::FailedPrecondition,
        CallError::NotPublished(_) => Code::NotFound,
        CallError::Cancelled | CallError::PodTerminating => Code::Aborted,
        CallError::Hand(error) | CallError::Publish(PublishError::Hand { source: error, .. }) => {
            of_hand(error)
        }
        CallError::Publish(PublishError::Thread(_) | PublishError::Store(_)) => {
            Code::ResourceExhausted
        }
    }
}

fn of_hand(error: &HandError) -> Code {
    match error {
        HandError::Slow { .. } => Code::DeadlineExceeded,
        // The CSI's own word for an earlier call that is still at work on the same volume.
        HandError::Stuck | HandError::Busy => Code::Aborted,
        // Looked at before anything is done, and no better the next time.
        HandError::OutsideRoots => Code::InvalidArgument,
        _ => Code::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use livemount_engine::object::{Kind, ObjectKey};
    use livemount_keeper::KeeperError;

    use super::*;
    use crate::source::kube::ORIGIN;
    use crate::store::StoreError;
    use crate::volume_source::{Scope, VolumeSourceError, parse_volume};

    /// Which place in the table an error has; a new variant does not compile without one.
    fn place(error: &NodeError) -> usize {
        match error {
            NodeError::Missing(_) => 0,
            NodeError::Unserved(_) => 1,
            NodeError::Attribute(_) => 2,
            NodeError::VolumeSource(_) => 3,
            NodeError::NotThePod(_) => 4,
            NodeError::Call(CallError::Waiting(_)) => 5,
            NodeError::Call(CallError::Elsewhere(_)) => 6,
            NodeError::Call(CallError::NotPublished(_)) => 7,
            NodeError::Call(CallError::Cancelled) => 8,
            NodeError::Swap(_) => 9,
            NodeError::Call(CallError::Ending) => 10,
            NodeError::Call(CallError::Hand(_)) => 11,
            NodeError::Call(CallError::Publish(PublishError::Hand { .. })) => 12,
            NodeError::Call(CallError::Publish(PublishError::Session(_))) => 13,
            NodeError::Call(CallError::Publish(PublishError::Thread(_))) => 14,
            NodeError::Call(CallError::PodTerminating) => 15,
            NodeError::Call(CallError::Publish(PublishError::Store(_))) => 16,
            NodeError::Call(CallError::Publish(PublishError::Keeper(_))) => 17,
        }
    }
    const PLACES: usize = 18;

    /// `isFinalError`, `csi_client.go`.
    fn is_final(code: Code) -> bool {
        !matches!(
            code,
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Unavailable
                | Code::ResourceExhausted
                | Code::Aborted
        )
    }

    /// The error of a text that is no volume source.
    fn no_volume() -> VolumeSourceError {
        let scope = Scope {
            origin: &ORIGIN,
            namespace: "default",
            pod: None,
        };
        parse_volume("configMap".as_ref(), b"", scope).expect_err("nothing is no volume")
    }

    #[test]
    #[allow(clippy::too_many_lines)] // One line for each error.
    fn every_error_has_its_code_and_is_final_only_where_nothing_is_mounted() {
        let secret = ObjectKey {
            kind: Kind::Secret,
            namespace: "shop".into(),
            name: "db".into(),
            origin: ORIGIN,
        };
        let full = || io::Error::from_raw_os_error(11);
        let hand = |error| NodeError::Call(CallError::Hand(error));
        let publish = |error| NodeError::Call(CallError::Publish(error));
        // Whether the kubelet may take it for certain that nothing is mounted.
        let table = [
            (NodeError::Missing("x"), Code::InvalidArgument, true),
            (NodeError::Unserved("x"), Code::InvalidArgument, true),
            (
                NodeError::Attribute("x".into()),
                Code::InvalidArgument,
                true,
            ),
            (no_volume().into(), Code::InvalidArgument, true),
            (
                NodeError::NotThePod("x".into()),
                Code::InvalidArgument,
                true,
            ),
            (
                CallError::Waiting("x".into()).into(),
                Code::Unavailable,
                false,
            ),
            (
                CallError::Elsewhere("/x".into()).into(),
                Code::FailedPrecondition,
                true,
            ),
            (
                CallError::NotPublished("/x".into()).into(),
                Code::NotFound,
                true,
            ),
            (CallError::Cancelled.into(), Code::Aborted, false),
            (CallError::PodTerminating.into(), Code::Aborted, false),
            (NodeError::Swap(secret), Code::FailedPrecondition, true),
            (CallError::Ending.into(), Code::Unavailable, false),
            (hand(HandError::Died), Code::Unavailable, false),
            (hand(HandError::Closed), Code::Unavailable, false),
            (hand(HandError::Stuck), Code::Aborted, false),
            (hand(HandError::Busy), Code::Aborted, false),
            (hand(HandError::Occupied), Code::Unavailable, false),
            (
                hand(HandError::Slow {
                    what: "mount".into(),
                }),
                Code::DeadlineExceeded,
                false,
            ),
            (
                hand(HandError::Os {
                    what: "mount".into(),
                    errno: 5,
                }),
                Code::Unavailable,
                false,
            ),
            (hand(HandError::OutsideRoots), Code::InvalidArgument, true),
            (
                publish(PublishError::Hand {
                    target: "/x".into(),
                    source: HandError::Died,
                }),
                Code::Unavailable,
                false,
            ),
            (
                publish(PublishError::Session(full())),
                Code::Unavailable,
                false,
            ),
            (
                publish(PublishError::Thread(full())),
                Code::ResourceExhausted,
                false,
            ),
            (
                publish(PublishError::Store(StoreError::Layout)),
                Code::ResourceExhausted,
                false,
            ),
            (
                publish(PublishError::Keeper(KeeperError::Gone)),
                Code::Unavailable,
                false,
            ),
        ];
        let mut seen = [false; PLACES];
        for (error, code, certain) in table {
            seen[place(&error)] = true;
            let status = status(&error);
            assert_eq!(status.code(), code, "{error:?}");
            assert_eq!(is_final(status.code()), certain, "{error:?}");
            assert_eq!(status.message(), error.to_string());
            assert!(status.details().is_empty(), "{error:?}");
        }
        assert_eq!(seen, [true; PLACES]);
    }
}
