//! The one table from a refusal to what the caller gets in `errno`.

use fuser::Errno;

use crate::volume::Denied;

pub(super) fn errno(denied: Denied) -> Errno {
    match denied {
        Denied::NoName => Errno::ENOENT,
        Denied::Stale => Errno::ESTALE,
        Denied::ReadOnly => Errno::EROFS,
        Denied::NotDir => Errno::ENOTDIR,
        Denied::IsDir => Errno::EISDIR,
        Denied::NotALink => Errno::EINVAL,
        Denied::NoAttr => Errno::ENODATA,
        Denied::Exists => Errno::EEXIST,
        Denied::NotEmpty => Errno::ENOTEMPTY,
    }
}
