//! The hand as a child process: starting one, and telling it what the one before it held.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ClientOptions;
use crate::HandError;
use crate::protocol::{Control, Request, encode};
use crate::socket::{pair, send};

/// To tell a new hand everything.
const ADOPTION: Duration = Duration::from_secs(10);

/// The hand's socket is its standard input, so nothing need run between fork and exec.
pub(super) fn spawn(options: &ClientOptions) -> Result<(Child, OwnedFd), HandError> {
    let (ours, theirs) = pair().map_err(|errno| HandError::Start {
        errno: errno.raw_os_error(),
    })?;
    let mut command = Command::new(&options.program);
    command.args(&options.args);
    for root in &options.roots {
        command.arg("--root").arg(root);
    }
    command
        .arg("--heartbeat")
        .arg(options.heartbeat.as_millis().to_string());
    if let Some(context) = &options.selinux_context {
        command.arg("--selinux-context").arg(context);
    }
    let child = command
        .stdin(theirs)
        .spawn()
        .map_err(|error| HandError::start(&error))?;
    Ok((child, ours))
}

/// Before anybody else may speak on the socket. What cannot be told is told by the hand's death,
/// which the reader sees.
pub(super) fn tell(socket: &OwnedFd, adoptions: Vec<(Control, Option<Arc<OwnedFd>>)>) {
    let deadline = Instant::now() + ADOPTION;
    for (control, mount) in adoptions {
        let Ok(bytes) = encode(&Request {
            seq: 0,
            within_ms: 0,
            call: control.into(),
        }) else {
            continue;
        };
        let mount: Vec<_> = mount.iter().map(AsFd::as_fd).collect();
        if let Err(error) = send(socket.as_fd(), &bytes, &mount, deadline) {
            tracing::warn!(%error, "cannot tell the new hand of a volume");
        }
    }
}

/// Ends a hand, which takes away what it was told of.
pub(super) fn reap(mut child: Child, socket: Arc<OwnedFd>) {
    drop(socket);
    let _status = child.wait();
}

/// Ends a hand that does not answer, without waiting for it. Killed, none of its threads comes back
/// from the kernel to do anything more, so its successor is alone.
pub(super) fn give_up(mut child: Child) {
    let _gone = child.kill();
    let reaper = std::thread::Builder::new().name("hand-reaper".into());
    // Without the thread it stays a zombie until this process ends.
    let _thread = reaper.spawn(move || child.wait());
}
