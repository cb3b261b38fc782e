//! The system calls that rustix does not have, or has not as they are needed here, and the only unsafe
//! code of the crate.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

/// The uid at the other end of a connected socket, and its pid where it is seen from here. (rustix's pid
/// cannot be 0, which is what the kernel says of a process in a namespace beside ours.)
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> Result<(u32, Option<u32>), Errno> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    // SAFETY: ucred is plain data, for which any bytes are a value.
    unsafe { socket_option(socket, libc::SO_PEERCRED, &mut credentials) }?;
    let pid = u32::try_from(credentials.pid).ok().filter(|pid| *pid > 0);
    Ok((credentials.uid, pid))
}

/// A pidfd of the process that connected (Linux 6.5): `ENOPROTOOPT` before, another error where it has
/// been reaped.
pub(crate) fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut descriptor: libc::c_int = -1;
    // SAFETY: c_int is plain data.
    unsafe { socket_option(socket, libc::SO_PEERPIDFD, &mut descriptor) }?;
    if descriptor < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// # Safety
///
/// Any bytes must be a value of `T`.
unsafe fn socket_option<T>(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    value: &mut T,
) -> Result<(), Errno> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel writes at most `length` bytes, which is what `value` has, and any bytes are a
    // value of it; the descriptor is open for the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_mut(value).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// Where the handler tells that INT or TERM came.
static STOP: AtomicI32 = AtomicI32::new(-1);

extern "C" fn on_stop(_signal: libc::c_int) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: write(2) may be called in a handler; it reads eight bytes of ours. The descriptor is that
    // of `stop_signals`, which is never closed. errno is put back, for whoever was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(STOP.load(Ordering::Relaxed), one.as_ptr().cast(), one.len());
        *libc::__errno_location() = errno;
    }
}

/// From now on INT and TERM make the returned eventfd readable, and HUP is nothing. A handler and not a
/// mask: children inherit a mask.
pub(crate) fn stop_signals() -> Result<BorrowedFd<'static>, Errno> {
    static EVENT: OnceLock<OwnedFd> = OnceLock::new();
    let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let event = EVENT.get_or_init(|| made);
    STOP.store(event.as_raw_fd(), Ordering::Relaxed);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the action is zeroed plain data with a handler that makes async-signal-safe calls alone.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_stop as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(last());
        }
    }
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    Ok(event.as_fd())
}

/// The descriptors that systemd gave this process at its start, from 3 on, close-on-exec from now on.
/// None the second time: they have an owner then.
pub(crate) fn inherited(number: usize) -> io::Result<Option<Vec<OwnedFd>>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    const FIRST: RawFd = 3;
    let end = RawFd::try_from(number)
        .ok()
        .and_then(|number| FIRST.checked_add(number))
        .ok_or(Errno::INVAL)?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    let mut owned = Vec::with_capacity(number);
    for descriptor in FIRST..end {
        // SAFETY: borrowed for a call that says whether it is open at all.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        fcntl_getfd(borrowed)?;
        fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
        // SAFETY: it is open, and by the protocol (LISTEN_PID is this process, which the caller has
        // looked at) it was opened for this process to own; this is done once.
        owned.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
    Ok(Some(owned))
}

fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
