//! The keeper with real processes: what it does for those that store, take, hang, babble and die, and what
//! is left when it dies itself.
//!
//! One program in many roles: the tests, the keeper, its hand and caretaker, and daemons that are told what
//! to do line by line.

mod caretakers;
mod holders;
mod keepers;
mod raw;
mod roles;
mod scene;
mod strangers;
mod systemd;

use std::process::ExitCode;

/// A test, and what it is called.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if let Some(role) = args.next()
        && let Some(end) = roles::play(&role, args)
    {
        return end;
    }
    let wanted: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let mut passed = 0;
    for cases in [
        holders::ALL,
        strangers::ALL,
        caretakers::ALL,
        keepers::ALL,
        systemd::ALL,
    ] {
        for (name, case) in cases {
            if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
                let begun = std::time::Instant::now();
                println!("{name} ...");
                case();
                passed += 1;
                println!("{name} ... ok ({:?})", begun.elapsed());
            }
        }
    }
    println!("{passed} passed, 0 failed");
    ExitCode::SUCCESS
}
