//! Whose a volume is: plain data that everybody who names a pod's volume shares.
//!
//! The one place that knows how a pod's volume is called, in both directions: who asks for the volumes of
//! a pod must recognise the names that were given.

use serde::{Deserialize, Serialize};

/// A pod, as the kubelet told it (`getPodInfoAttrs`, kubernetes `pkg/volume/csi/csi_util.go`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl PodRef {
    /// The name by which facts, status and log know a volume of this pod: `NAMESPACE/POD/VOLUME`.
    pub fn volume_name(&self, volume: &str) -> String {
        format!("{}/{}/{volume}", self.namespace, self.name)
    }
}

/// Whether a volume of this name belongs to the pod `NAMESPACE/POD`.
pub fn is_of_pod(volume_name: &str, pod: &str) -> bool {
    volume_name
        .rsplit_once('/')
        .is_some_and(|(owner, _)| owner == pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_given_is_recognised() {
        let pod = PodRef {
            namespace: "shop".into(),
            name: "web-0".into(),
            uid: "u".into(),
        };
        let name = pod.volume_name("config");
        assert_eq!(name, "shop/web-0/config");
        assert!(is_of_pod(&name, "shop/web-0"));
        for other in ["shop/web", "shop", "web-0", "shop/web-0/config", ""] {
            assert!(!is_of_pod(&name, other), "{other}");
        }
        assert!(
            !is_of_pod("app", "app"),
            "a volume of `livemount mount` is no pod's"
        );
    }
}
