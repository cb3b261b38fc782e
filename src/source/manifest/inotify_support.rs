//! Filesystems that inotify supports in part: what another machine, or the process
//! behind the filesystem, changes there makes no event here.

use std::path::Path;

/// Numbers of filesystem types (`f_type` of statfs(2)) with the headers that define them.
const UNSUPPORTED: &[u32] = &[
    0x0000_6969, // NFS, linux/magic.h
    0x0000_517B, // SMB, linux/magic.h
    0xFF53_4D42, // CIFS, linux/magic.h
    0xFE53_4D42, // SMB2, linux/magic.h
    0x0102_1997, // 9p, linux/magic.h
    0x6573_5546, // FUSE, linux/magic.h
    0x00C3_6400, // Ceph, linux/magic.h
    0x5346_414F, // AFS, linux/magic.h
    0x6B41_4653, // kAFS, linux/magic.h
    0x7375_7245, // Coda, linux/magic.h
    0x7461_636F, // OCFS2, linux/magic.h
    0x786F_4256, // VirtualBox, linux/magic.h
    0x0116_1970, // GFS2, linux/gfs2_ondisk.h
    0x0BD0_0BD0, // Lustre, lustre_user.h
    0x4750_4653, // GPFS, coreutils' stat.c
];

/// Whether inotify misses changes of what a path leads to. It misses none of what is not there.
pub(super) fn is_unsupported(path: &Path) -> bool {
    // The field's type and sign differ between machines; the numbers have 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    rustix::fs::statfs(path).is_ok_and(|found| UNSUPPORTED.contains(&(found.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_filesystems_are_heard() {
        assert!(!is_unsupported(Path::new("/proc")));
        assert!(!is_unsupported(&std::env::temp_dir()));
        assert!(!is_unsupported(Path::new("/no/such/path")));
    }
}
