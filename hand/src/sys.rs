//! The system calls that rustix does not have, or has in another way, and the only unsafe code of
//! the crate.

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

/// The signals that would end the hand before its socket does; one that runs apart, and ends nothing
/// when it goes, still heeds TERM.
pub(crate) fn ignore_stop_signals(apart: bool) {
    let term = (!apart).then_some(libc::SIGTERM);
    for signal in [libc::SIGINT, libc::SIGHUP].into_iter().chain(term) {
        // SAFETY: SIG_IGN runs no code of ours, and the three signals may be ignored, so the call
        // can neither fail nor race with a handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Bytes of what the kernel says of a peer.
const UCRED: libc::socklen_t = 12;
const _: () = assert!(size_of::<libc::ucred>() == UCRED as usize);

/// The user at the other end of a socket, as seen in our user namespace (`SO_PEERCRED`, unix(7)).
///
/// rustix gives the process along with it, in a type that cannot be 0; across namespaces it is 0.
pub(crate) fn peer_user(socket: impl AsFd) -> Result<libc::uid_t, Errno> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = UCRED;
    // SAFETY: the kernel writes at most `length` bytes to `peer`, which has as many and may hold any
    // numbers, and the length to `length`; it keeps neither.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(peer.uid)
    } else {
        Err(last_error())
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
