//! The hand on real mounts: what it does to them, and what is left when it, the daemon or both are
//! killed or stopped.
//!
//! One program in several roles: the tests, hands, and the daemons, servers and strangers that the
//! tests kill. It needs root and /dev/fuse, and fails where it has not.

mod abort;
mod apart;
mod cases;
mod deaths;
mod guests;
mod hands;
mod scene;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|role| role.to_str()) {
        Some("hand") => return scene::be_a_hand(args),
        Some("daemon") => scene::be_a_daemon(args),
        Some("server") => scene::be_a_server(args),
        Some("stranger") => return guests::be_a_stranger(args),
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
    let all = [cases::ALL, deaths::ALL, apart::ALL, guests::ALL, abort::ALL];
    for (name, case) in all.into_iter().flatten() {
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
