//! The two calls to the system that the compiler cannot vouch for.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use inotify::Inotify;
use tokio::io::unix::AsyncFd;

/// Whether somebody has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// Somebody has.
    Present,
    /// Nobody has, or the kernel does not say.
    Unseen,
}

/// Lets nobody open the file for writing until it is closed here, if nobody has.
pub(super) fn keep_writers_out(file: &File) -> Writers {
    /// `fcntl.h`; the libc crate has it for some targets only.
    const F_SETSIG: libc::c_int = 10;
    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open for as long as `file` is borrowed; both commands take an
    // integer and touch no memory. The signal for a writer who waits is one that is ignored by
    // default, since the one that is usual for it would end this process.
    let lease = unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG);
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK)
    };
    let refused = lease == -1 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock;
    if refused {
        Writers::Present
    } else {
        Writers::Unseen
    }
}

/// Lets the runtime say when there are events to read.
pub(super) fn awaitable(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    // SAFETY: `Inotify` owns its descriptor, gives the same one for as long as it lives and closes
    // it when it is dropped, which `AsyncFd` does after it has let go of it.
    Ok(unsafe { AsyncFd::register(inotify) }?)
}
