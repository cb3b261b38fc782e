//! The livemount binary. Everything is in the library; this turns its result into an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    livemount::cli::run()
}
