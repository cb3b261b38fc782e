//! What is agreed with the kernel at INIT, once and for all: a connection that a successor takes over
//! cannot negotiate again, so nothing here may depend on a setting.

use std::io;
use std::sync::OnceLock;

use fuser::{InitFlags, KernelConfig};
use tracing::warn;

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

/// What can be missed, by which name it is told, and what that costs.
const COSTS: [(InitFlags, &str, &str); 4] = [
    (
        InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
        "DIRECT_IO_ALLOW_MMAP",
        "files cannot be mapped MAP_SHARED (Linux 6.6 can)",
    ),
    (
        InitFlags::FUSE_ALLOW_IDMAP,
        "ALLOW_IDMAP",
        "pods with hostUsers: false cannot mount volumes (Linux 6.12 can)",
    ),
    (
        InitFlags::FUSE_HAS_RESEND,
        "HAS_RESEND",
        "a request under way is lost when the daemon is killed (Linux 6.9 can send it again)",
    ),
    (
        InitFlags::FUSE_PASSTHROUGH,
        "PASSTHROUGH",
        "nothing today; it is for a later way of reading (Linux 6.9 has it)",
    ),
];

static LACKS: OnceLock<Vec<&'static str>> = OnceLock::new();

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
    // The first connection tells; a kernel does not change.
    LACKS.get_or_init(|| {
        let lacks: Vec<&str> = COSTS
            .iter()
            .filter(|(flag, ..)| missing.contains(*flag))
            .map(|(_, feature, cost)| {
                warn!("this kernel's FUSE lacks {feature}: {cost}");
                *feature
            })
            .collect();
        lacks
    });
    Ok(())
}

/// What this kernel lacks, by the kernel's own names; nothing before the first connection.
pub fn lacks() -> &'static [&'static str] {
    LACKS.get().map_or(&[], Vec::as_slice)
}

/// The variable that has a newer kernel treated like one that lacks something, for tests.
const WITHOUT: &str = "LIVEMOUNT_WITHOUT";

/// Whether a kernel that can do these sends requests again whose reader has died.
pub fn resends(capabilities: u64) -> bool {
    let without = std::env::var_os(WITHOUT).is_some_and(|without| without == "RESEND");
    !without && capabilities & InitFlags::FUSE_HAS_RESEND.bits() != 0
}
