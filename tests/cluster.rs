//! Pods on a real kubelet: the plugin as the DaemonSet of deploy/, from an image of this binary.
//!
//! One cluster for all cases, which run one after the other: a case may restart the kubelet or kill
//! the plugin. `cargo test --test cluster -- NAME` runs those whose names hold NAME.

mod pods;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use livemount_cluster::{CLUSTER, enter};

fn main() -> ExitCode {
    enter(CLUSTER, || {
        let mut arguments = Arguments::from_args();
        // They share one node.
        arguments.test_threads = Some(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let runtime: &'static tokio::runtime::Runtime = Box::leak(Box::new(runtime));
        let scene = pods::scene::Lazy::new(runtime);
        let scene: &'static pods::scene::Lazy = Box::leak(Box::new(scene));
        let trials = pods::ALL.iter().map(|(name, case)| {
            Trial::test(*name, move || {
                scene.run(*case);
                Ok(())
            })
        });
        let conclusion = libtest_mimic::run(&arguments, trials.collect());
        scene.end();
        conclusion.exit_code()
    })
}
