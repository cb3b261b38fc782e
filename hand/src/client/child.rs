//! The hand as a child process: starting one, and ending it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::HandError;
use crate::socket::pair;

/// The hand's socket is its standard input, so nothing need run between fork and exec.
pub(super) fn spawn(
    (program, args): (&Path, &[OsString]),
    roots: &[PathBuf],
    selinux_context: Option<&str>,
    heartbeat: Duration,
) -> Result<(Child, OwnedFd), HandError> {
    let (ours, theirs) = pair().map_err(|errno| HandError::Start {
        errno: errno.raw_os_error(),
    })?;
    let mut command = Command::new(program);
    command.args(args);
    for root in roots {
        command.arg("--root").arg(root);
    }
    command
        .arg("--heartbeat")
        .arg(heartbeat.as_millis().to_string());
    if let Some(context) = selinux_context {
        command.arg("--selinux-context").arg(context);
    }
    let child = command
        .stdin(theirs)
        .spawn()
        .map_err(|error| HandError::start(&error))?;
    Ok((child, ours))
}

/// Ends a hand that does not answer, without waiting for it. Killed, none of its threads comes back
/// from the kernel to do anything more, so its successor is alone.
pub(super) fn give_up(mut child: Child) {
    let _gone = child.kill();
    let reaper = std::thread::Builder::new().name("hand-reaper".into());
    // Without the thread it stays a zombie until this process ends.
    let _thread = reaper.spawn(move || child.wait());
}
