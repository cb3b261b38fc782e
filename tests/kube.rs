//! The kube source against real API servers and a real etcd: what it says of an object while the
//! object, the network, the server, its memory and its permissions change; and the Events that are told
//! to one. Run as a program of its own, in namespaces of its own: see `livemount_cluster`.

#[path = "kube/scene.rs"]
mod scene;

#[path = "kube/crowd.rs"]
mod crowd;
#[path = "kube/events.rs"]
mod events;
#[path = "kube/life.rs"]
mod life;
#[path = "kube/mount.rs"]
mod mount;
#[path = "kube/network.rs"]
mod network;
#[path = "kube/rights.rs"]
mod rights;
#[path = "kube/server.rs"]
mod server;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use livemount_cluster::{CONTROL_PLANE, enter};

fn main() -> ExitCode {
    enter(CONTROL_PLANE, || {
        let arguments = Arguments::from_args();
        let trials: Vec<Trial> = [
            life::trials(),
            network::trials(),
            server::trials(),
            rights::trials(),
            crowd::trials(),
            mount::trials(),
            events::trials(),
        ]
        .into_iter()
        .flatten()
        .collect();
        libtest_mimic::run(&arguments, trials).exit_code()
    })
}
