//! This binary once more, in a mount and a PID namespace of its own, of which it is the first process.
//!
//! Whatever ends it, a kill of this process too, the kernel then kills all that it has started, and with
//! the last of them go its mounts.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

/// Runs this binary with these arguments and a variable of its environment, and waits for its end. What it
/// prints goes where this process prints, through `tell`.
pub fn run(arguments: &[&str], (name, value): (&str, &str), tell: impl Fn(&str)) -> ExitStatus {
    use std::io::{BufRead as _, BufReader};

    let this = std::env::current_exe().expect("this binary");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(this)
        .args(arguments)
        .env(name, value)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // SAFETY: between fork and exec only a prctl is called.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut child = command.spawn().expect("unshare of util-linux");
    let stdout = child.stdout.take().expect("it is piped");
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        tell(&line);
    }
    child.wait().expect("a child can be waited for")
}
