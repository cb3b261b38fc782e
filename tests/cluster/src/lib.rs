//! A real Kubernetes cluster on one machine, for tests: etcd, kube-apiserver and the rest as
//! Kubernetes ships them, the kubelet, and Debian's containerd.
//!
//! A test program hands its `main` to [`enter`], which runs it in a PID, mount and network
//! namespace of its own. So ports never clash, files of the machine are not written, and whatever
//! the end of the program is, the kernel takes down all that it started. Inside, [`ControlPlane`]
//! is the API server on its etcd, and [`Node`] the kubelet that runs pods.
//!
//! Nothing here is simulated, and nothing here knows of livemount. Whatever cannot go on panics and
//! says what it waited for, with the ends of all logs: to a test that is the whole message. Waits
//! are for conditions, with [`PATIENCE`] many times what they take.

// What cannot go on ends its test; the message is all there is to document.
#![allow(clippy::missing_panics_doc)]

mod accounts;
mod cgroups;
mod component;
mod containerd;
mod etcd;
mod image;
mod inside;
mod kubeconfig;
mod machine;
mod node;
mod objects;
mod pki;
mod plane;
mod pod;
mod programs;
mod relay;
mod remains;
mod server;
mod wait;

pub use accounts::Account;
pub use component::Component;
pub use etcd::{Etcd, Snapshot};
pub use image::Image;
pub use inside::{enter, folder, way_in};
pub use kubeconfig::client;
pub use node::Node;
pub use objects::{apply, apply_yaml};
pub use plane::{ADMIN, ControlPlane};
pub use pod::{Output, Pod};
pub use programs::{CLUSTER, CONTROL_PLANE, SANITY, program};
pub use relay::Relay;
pub use server::ApiServer;
pub use wait::{PATIENCE, until};
