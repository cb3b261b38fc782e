//! The one table from a refusal to what the caller gets in `errno`.

use fuser::Errno;

use livemount_volume::FsError;

pub(super) fn errno(error: FsError) -> Errno {
    match error {
        FsError::NoName => Errno::ENOENT,
        FsError::Stale => Errno::ESTALE,
        FsError::ReadOnly => Errno::EROFS,
        FsError::NotDir => Errno::ENOTDIR,
        FsError::IsDir => Errno::EISDIR,
        FsError::NotALink => Errno::EINVAL,
        FsError::NoAttr => Errno::ENODATA,
        FsError::Exists => Errno::EEXIST,
        FsError::NotEmpty => Errno::ENOTEMPTY,
    }
}
