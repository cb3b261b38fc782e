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
        NodeError::Waiting(_)
        | NodeError::Ending
        | NodeError::Publish(PublishError::Session(_)) => Code::Unavailable,
        // The CSI's own word for one id at two targets (NodePublishVolume Errors).
        NodeError::Elsewhere(_) | NodeError::Swap(_) => Code::FailedPrecondition,
        NodeError::NotPublished(_) => Code::NotFound,
        NodeError::Cancelled | NodeError::PodTerminating => Code::Aborted,
        NodeError::Hand(error) | NodeError::Publish(PublishError::Hand { source: error, .. }) => {
            of_hand(error)
        }
        NodeError::Publish(PublishError::Thread(_)) => Code::ResourceExhausted,
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

    use super::*;

    /// Which place in the table an error has; a new variant does not compile without one.
    fn place(error: &NodeError) -> usize {
        match error {
            NodeError::Missing(_) => 0,
            NodeError::Unserved(_) => 1,
            NodeError::Attribute(_) => 2,
            NodeError::VolumeSource(_) => 3,
            NodeError::NotThePod(_) => 4,
            NodeError::Waiting(_) => 5,
            NodeError::Elsewhere(_) => 6,
            NodeError::NotPublished(_) => 7,
            NodeError::Cancelled => 8,
            NodeError::Swap(_) => 9,
            NodeError::Ending => 10,
            NodeError::Hand(_) => 11,
            NodeError::Publish(PublishError::Hand { .. }) => 12,
            NodeError::Publish(PublishError::Session(_)) => 13,
            NodeError::Publish(PublishError::Thread(_)) => 14,
            NodeError::PodTerminating => 15,
        }
    }
    const PLACES: usize = 16;

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

    #[test]
    fn every_error_has_its_code_and_is_final_only_where_nothing_is_mounted() {
        let volume_source =
            crate::volume_source::parse_volume("configMap".as_ref(), b"", "default")
                .expect_err("nothing is no volume");
        let secret = ObjectKey {
            kind: Kind::Secret,
            namespace: "shop".into(),
            name: "db".into(),
        };
        let full = || io::Error::from_raw_os_error(11);
        let hand = |error| NodeError::Hand(error);
        let publish = |error| NodeError::Publish(error);
        // Whether the kubelet may take it for certain that nothing is mounted.
        let table = [
            (NodeError::Missing("x"), Code::InvalidArgument, true),
            (NodeError::Unserved("x"), Code::InvalidArgument, true),
            (
                NodeError::Attribute("x".into()),
                Code::InvalidArgument,
                true,
            ),
            (volume_source.into(), Code::InvalidArgument, true),
            (
                NodeError::NotThePod("x".into()),
                Code::InvalidArgument,
                true,
            ),
            (NodeError::Waiting("x".into()), Code::Unavailable, false),
            (
                NodeError::Elsewhere("/x".into()),
                Code::FailedPrecondition,
                true,
            ),
            (NodeError::NotPublished("/x".into()), Code::NotFound, true),
            (NodeError::Cancelled, Code::Aborted, false),
            (NodeError::PodTerminating, Code::Aborted, false),
            (NodeError::Swap(secret), Code::FailedPrecondition, true),
            (NodeError::Ending, Code::Unavailable, false),
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
