//! What is told of a pod's volume, and in which words.

use livemount_engine::shorten::{Most, shorten};

/// The longest note that the API takes, in bytes (`noteLengthLimit`, `pkg/apis/core/validation`).
const LONGEST: usize = 1024;

/// One thing to tell. `why` is a sentence with names, never with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodEvent {
    /// The pod waits for something that its volume needs.
    Missing {
        /// The volume's name in the pod.
        volume: String,
        /// What is missing.
        why: String,
    },
    /// A version was refused; the last good one stays.
    Refused {
        /// The volume's name in the pod.
        volume: String,
        /// Why.
        why: String,
    },
    /// A volume that was refused shows what its objects say again.
    Recovered {
        /// The volume's name in the pod.
        volume: String,
    },
    /// An object cannot be read any more, so that a change would not be seen; the last good version
    /// stays.
    Unreadable {
        /// The volume's name in the pod.
        volume: String,
        /// Why.
        why: String,
    },
    /// The volume's files are gone for the pod: its connection ended or its plugin died.
    MountLost {
        /// The volume's name in the pod.
        volume: String,
        /// What happened.
        why: String,
    },
}

/// How it stands in an Event of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// Whether somebody should look at it.
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) action: &'static str,
}

impl PodEvent {
    /// The volume that it is about.
    pub fn volume(&self) -> &str {
        match self {
            Self::Missing { volume, .. }
            | Self::Refused { volume, .. }
            | Self::Recovered { volume }
            | Self::Unreadable { volume, .. }
            | Self::MountLost { volume, .. } => volume,
        }
    }

    pub(super) fn heading(&self) -> Heading {
        let (warning, reason, action) = match self {
            Self::Missing { .. } => (true, "ObjectMissing", "Publish"),
            Self::Refused { .. } => (true, "VersionRefused", "Update"),
            Self::Recovered { .. } => (false, "VersionRecovered", "Update"),
            Self::Unreadable { .. } => (true, "ObjectUnreadable", "Watch"),
            Self::MountLost { .. } => (true, "MountLost", "Serve"),
        };
        Heading {
            warning,
            reason,
            action,
        }
    }

    /// The sentence, cut to what the API takes.
    pub(super) fn sentence(&self) -> String {
        let volume = self.volume();
        let text = match self {
            Self::Missing { why, .. } => format!("volume {volume:?} waits: {why}"),
            Self::Refused { why, .. } => {
                format!("volume {volume:?}: refused, the last good version stays: {why}")
            }
            Self::Recovered { .. } => {
                format!("volume {volume:?} shows what its objects say again")
            }
            Self::Unreadable { why, .. } => {
                format!("volume {volume:?}: changes are not seen, the last version stays: {why}")
            }
            Self::MountLost { why, .. } => {
                format!("volume {volume:?} is lost until the pod is made anew: {why}")
            }
        };
        shorten(&text, Most::Bytes(LONGEST)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_never_longer_than_the_api_takes_and_is_cut_between_characters() {
        for why in ["x".repeat(2000), "é".repeat(2000), "…".repeat(2000)] {
            let volume = "config".to_owned();
            let cut = PodEvent::Missing { volume, why }.sentence();
            assert!(cut.len() <= LONGEST, "{}", cut.len());
            assert!(cut.len() > LONGEST - 8, "{}", cut.len());
            assert!(cut.ends_with('…') && cut.starts_with("volume \"config\" waits: "));
        }
        let exact = shorten(&"y".repeat(LONGEST), Most::Bytes(LONGEST)).into_owned();
        assert_eq!(exact, "y".repeat(LONGEST));
    }
}
