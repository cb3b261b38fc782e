//! The gRPC that a kubelet speaks with a CSI node plugin.
//!
//! Generated from `proto/`, which holds the messages used and no others. Knows nothing of volumes;
//! what the calls mean is `livemount`'s.

use std::fmt;

/// CSI 1.x: the Identity and Node services.
#[allow(clippy::all, clippy::pedantic, missing_docs, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("csi.v1");
}

/// How a plugin tells the kubelet that it is there.
#[allow(clippy::all, clippy::pedantic, missing_docs, unused_qualifications)]
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

/// Names the volume and shows nothing else: secrets are values, and so is what anybody wrote into an
/// attribute, and the kubelet's tokens are among the attributes.
impl fmt::Debug for v1::NodePublishVolumeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePublishVolumeRequest")
            .field("volume_id", &self.volume_id)
            .field("target_path", &self.target_path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::v1::NodePublishVolumeRequest;

    #[test]
    fn a_request_shows_no_value() {
        let value = || [("key".to_owned(), "s3cr3t".to_owned())].into();
        let request = NodePublishVolumeRequest {
            volume_id: "csi-1".into(),
            publish_context: value(),
            secrets: value(),
            volume_context: value(),
            ..NodePublishVolumeRequest::default()
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("csi-1"), "{shown}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}
