//! The daemon as the hand's parent: held from the start, so that only it can be killed, and never
//! another.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};

/// The daemon, in a way that no other process can be taken for it.
pub(super) struct Parent(Option<(Pid, OwnedFd)>);

impl Parent {
    pub(super) fn now() -> Self {
        let held =
            getppid().and_then(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)));
        // It may have gone between the two calls, and its number may be another's.
        Self(held.filter(|(pid, _)| getppid() == Some(*pid)))
    }

    /// Kills it, if it is still our parent; says whether it was. (In a container the daemon may be
    /// process 1, whom no signal from within can kill; then only who watches the container can.)
    pub(super) fn kill(&self) -> bool {
        let Some((pid, descriptor)) = &self.0 else {
            return false;
        };
        getppid() == Some(*pid) && pidfd_send_signal(descriptor, Signal::KILL).is_ok()
    }
}
