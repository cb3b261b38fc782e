//! The harness itself: that its levers move what they say, and that nothing of a run is left however
//! it ends.
//!
//! This program is started by `cargo test` and runs itself as a test program that goes inside, so
//! that what is left can be looked for from outside, and each way to end it can be tried.

mod api;
mod ends;
mod pods;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial, run};
use livemount_cluster::{CLUSTER, CONTROL_PLANE, enter};

/// Which body this process is to run inside.
const BODY: &str = "HARNESS_BODY";

fn main() -> ExitCode {
    match env::var(BODY).as_deref() {
        Ok("api") => enter(CONTROL_PLANE, || asynchronously(api::body())),
        Ok("pods") => enter(CLUSTER, || asynchronously(pods::body())),
        Ok("pod") => enter(CLUSTER, || asynchronously(pods::one())),
        Ok("status") => enter(&[], || ExitCode::from(7)),
        Ok("idle") => enter(&[], ends::idle),
        Ok(other) => panic!("there is no body {other}"),
        Err(_) => conduct(),
    }
}

fn conduct() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores are few for one cluster.
    arguments.test_threads = Some(1);
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("the_exit_status_is_the_bodys", ends::status),
        trial("nothing_is_left_after_a_signal", ends::after_a_signal),
        trial(
            "nothing_is_left_after_the_next_run",
            ends::after_the_next_run,
        ),
        trial("the_api_server_and_etcd_obey", || ends::normally("api")),
        trial("pods_run", || ends::normally("pods")),
        trial(
            "nothing_is_left_after_a_kill_with_a_pod",
            ends::after_a_kill,
        ),
    ];
    run(&arguments, trials).exit_code()
}

fn asynchronously(body: impl Future<Output = ()>) -> ExitCode {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(body);
    ExitCode::SUCCESS
}
