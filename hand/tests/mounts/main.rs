//! The hand on real mounts: what it does to them, and what is left when it, the daemon or both are
//! killed or stopped.
//!
//! One program in three roles: the tests, the hand that [`Hand`] starts, and a daemon that the
//! tests kill. It needs root and /dev/fuse, and fails where it has not.

mod cases;
mod deaths;
mod scene;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|role| role.to_str()) {
        Some("hand") => return scene::be_a_hand(args),
        Some("daemon") => scene::be_a_daemon(args),
        _ => {}
    }
    if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/fuse").exists() {
        eprintln!("the hand's mount tests need root and /dev/fuse; run tests/run as root");
        return ExitCode::FAILURE;
    }
    let wanted: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let mut passed = 0;
    for (name, case) in cases::ALL.iter().chain(deaths::ALL) {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            let begun = std::time::Instant::now();
            case();
            passed += 1;
            println!("{name} ... ok ({:?})", begun.elapsed());
        }
    }
    println!("{passed} passed, 0 failed");
    ExitCode::SUCCESS
}
