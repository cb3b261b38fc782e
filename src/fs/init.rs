//! What is agreed with the kernel at INIT, once and for all: a connection that a successor takes over
//! cannot negotiate again, so nothing here may depend on a setting.

use std::io;

use fuser::{InitFlags, KernelConfig};
use tracing::debug;

/// The ring writes one byte; the kernel accepts no smaller limit than a page (`FUSE_MIN_READ_BUFFER`
/// less headers, `fs/fuse/inode.c`).
const MAX_WRITE: u32 = 4096;

/// Asked for one by one, because each kernel lacks others. Deliberately not asked for: WRITEBACK_CACHE
/// (sizes and mtimes go wrong), FLOCK_LOCKS and POSIX_LOCKS (the kernel does local locks),
/// EXPORT_SUPPORT, READDIRPLUS.
const WANTED: [InitFlags; 7] = [
    // A GETATTR that shows a new mtime drops the page cache: the statx pass relies on it.
    InitFlags::FUSE_AUTO_INVAL_DATA,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_NO_EXPORT_SUPPORT,
    InitFlags::FUSE_ALLOW_IDMAP,
    InitFlags::FUSE_HAS_RESEND,
    InitFlags::FUSE_PASSTHROUGH,
];

pub(super) fn negotiate(config: &mut KernelConfig) -> io::Result<()> {
    let mut missing = InitFlags::empty();
    for flag in WANTED {
        if let Err(lacking) = config.add_capabilities(flag) {
            missing |= lacking;
        }
    }
    if missing.contains(InitFlags::FUSE_AUTO_INVAL_DATA) {
        // Without it sendfile and mmap would show old bytes for ever.
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    if !missing.contains(InitFlags::FUSE_PASSTHROUGH) {
        // One level of stacking; the kernel refuses passthrough at depth 0.
        config
            .set_max_stack_depth(1)
            .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    }
    config
        .set_max_write(MAX_WRITE)
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    if !missing.is_empty() {
        debug!(?missing, "this kernel's FUSE lacks");
    }
    Ok(())
}
