//! Inode numbers: a keyed hash of path and type, the same for the life of a volume.
//!
//! A number has to come out the same after an unlink and a re-add, and after a restart, without a
//! table that grows; and nobody outside may guess one. One number serves as the kernel's nodeid and
//! as `st_ino`. Its low 53 bits alone are used, because Node.js reads it into a double.

use std::hash::Hasher;

use crate::number::{Inode, VersionNumber};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::HashKey;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// The root of the detached mount (`FUSE_ROOT_ID`, `fuse.h`).
pub const ROOT: Inode = Inode(1);

const MASK: u64 = (1 << 53) - 1;

/// What an inode is. It is part of the hash: the kernel marks an inode bad whose type changes under
/// one nodeid (`fuse_stale_inode`, `fs/fuse/fuse_i.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileType {
    /// A folder.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link: `..data` alone.
    Symlink,
}

/// The folders that every volume has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// `/`, the root of the detached mount.
    Root,
    /// `/files`, the volume's own folder.
    Files,
    /// `/stage`, where added names wait.
    Stage,
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A folder that every volume has.
    Fixed(Fixed),
    /// A path of the volume.
    Path(FileType, RelPath),
    /// A path of one version, below `..<n>`; none for that folder itself.
    VersionDir(VersionNumber, FileType, Option<RelPath>),
    /// `..data`; a new inode each time that a rename has replaced it, with the version that did.
    Dotdata(VersionNumber),
}

/// The `attempt`th number for an identity: 0 at first, one more for each number that was taken.
pub(crate) fn number(key: &HashKey, identity: &Identity, attempt: u32) -> Inode {
    let mut hasher = SipHasher13::new_with_key(&key.0);
    match identity {
        Identity::Fixed(folder) => {
            let name = match folder {
                Fixed::Root => "/",
                Fixed::Files => "files",
                Fixed::Stage => "stage",
            };
            hasher.write_u8(0);
            hasher.write(name.as_bytes());
        }
        Identity::Path(kind, path) => {
            hasher.write_u8(match kind {
                FileType::Dir => 1,
                FileType::File | FileType::Symlink => 2,
            });
            hasher.write(path.as_str().as_bytes());
        }
        Identity::VersionDir(version, kind, path) => {
            hasher.write_u8(match kind {
                FileType::Dir => 3,
                FileType::File | FileType::Symlink => 4,
            });
            hasher.write_u32(version.0);
            hasher.write(path.as_ref().map_or("", RelPath::as_str).as_bytes());
        }
        Identity::Dotdata(version) => {
            hasher.write_u8(5);
            hasher.write_u32(version.0);
        }
    }
    hasher.write_u32(attempt);
    Inode(hasher.finish() & MASK)
}

/// Whether a number may be given out at all. 1 is the root's; 1 and 2 are also the folder offsets of
/// `.` and `..`; 2^32-1 is what 32-bit programs take for an error.
pub(crate) fn usable(Inode(number): Inode) -> bool {
    number > 2 && number != u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_depends_on_path_type_key_and_attempt() {
        let key = HashKey([7; 16]);
        let path = |p: &str| RelPath::new(p).expect("legal");
        let file = Identity::Path(FileType::File, path("a"));
        let base = number(&key, &file, 0);
        assert_eq!(base, number(&key, &file, 0));
        assert!(base.0 <= MASK);
        for other in [
            number(&key, &Identity::Path(FileType::Dir, path("a")), 0),
            number(&key, &Identity::Path(FileType::File, path("b")), 0),
            number(&HashKey([8; 16]), &file, 0),
            number(&key, &file, 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn reserved_numbers_are_not_given_out() {
        for reserved in [0, 1, 2, 4_294_967_295] {
            assert!(!usable(Inode(reserved)));
        }
        assert!(usable(Inode(3)));
    }
}
