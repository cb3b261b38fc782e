//! The two system calls that rustix does not have, and the only unsafe code of the crate.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// Changes flags or the propagation of the mount behind a descriptor (`mount_setattr(2)`, Linux
/// 5.12).
pub(crate) fn set_mount_attributes(
    mount: impl AsFd,
    attr_set: u64,
    propagation: u64,
) -> Result<(), Errno> {
    let attributes = libc::mount_attr {
        attr_set,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads a NUL-terminated path and `size_of` bytes of `attributes`, keeps
    // neither, and writes nothing to our memory; the descriptor is open for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// The signals that would end the hand before its socket does.
pub(crate) fn ignore_stop_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: SIG_IGN runs no code of ours, and the three signals may be ignored, so the call
        // can neither fail nor race with a handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
