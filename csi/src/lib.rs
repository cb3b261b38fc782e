//! The gRPC that a kubelet speaks with a CSI node plugin.
