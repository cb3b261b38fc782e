//! `impl fuser::Filesystem`: every request goes to the volume as one call.
//!
//! Answers carry long lifetimes for names and attributes, because every change is pushed to the
//! kernel. Every mutation that the volume does not have armed is EROFS; none is left to fuser's
//! default, which is ENOSYS and makes the kernel stop asking.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FopenFlags, Generation, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use livemount_volume::{Attr, FileType, FsError, HandleNumber, Inode, Looked, Opened, Reader};

use super::errno::errno;
use super::xattr;
use crate::served::SharedVolume;

/// How long the kernel may believe a name or an attribute: as long as it likes.
const TTL: Duration = Duration::from_secs(365 * 24 * 3600);
const BLOCK: u32 = 4096;

/// One volume as the kernel sees it.
pub struct Filesystem {
    volume: Arc<SharedVolume>,
}

impl Filesystem {
    /// Serves a volume.
    pub fn new(volume: Arc<SharedVolume>) -> Self {
        Self { volume }
    }
}

/// The volume's number of an inode. Handles and inodes are told apart by type everywhere but on the
/// kernel's side of this file.
fn inode(ino: INodeNo) -> Inode {
    Inode(ino.0)
}

/// The kernel's number of an inode.
pub fn nodeid(ino: Inode) -> INodeNo {
    INodeNo(ino.0)
}

fn kind(kind: FileType) -> fuser::FileType {
    match kind {
        FileType::Dir => fuser::FileType::Directory,
        FileType::File => fuser::FileType::RegularFile,
        FileType::Symlink => fuser::FileType::Symlink,
    }
}

fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: nodeid(attr.ino),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: attr.mtime,
        mtime: attr.mtime,
        ctime: attr.mtime,
        crtime: attr.mtime,
        kind: kind(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: 0,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

/// A name as the volume knows names: all of them are UTF-8, so another one is not there.
fn name(name: &OsStr) -> Result<&str, FsError> {
    name.to_str().ok_or(FsError::NoName)
}

fn empty(result: Result<(), FsError>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

/// KEEP_CACHE because every open without it drops the page cache that all handles share; NOFLUSH
/// saves a round trip at close.
fn opened(result: Result<Opened, FsError>, reply: ReplyOpen) {
    let flags =
        FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
    match result {
        Ok(opened) => reply.opened(FileHandle(opened.number.0), flags),
        Err(error) => reply.error(errno(error)),
    }
}

/// The size alone where 0 bytes are asked for, as getxattr(2) has it.
fn sized(value: Result<Vec<u8>, FsError>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(errno(error)),
    }
}

impl fuser::Filesystem for Filesystem {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        super::init::negotiate(config)
    }

    fn lookup(&self, _: &Request, parent: INodeNo, leaf: &OsStr, reply: ReplyEntry) {
        match name(leaf).and_then(|leaf| self.volume.lookup(inode(parent), leaf)) {
            Ok(Looked {
                attr,
                generation,
                lasting,
            }) => {
                let ttl = if lasting { TTL } else { Duration::ZERO };
                reply.entry(&ttl, &file_attr(&attr), Generation(generation));
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.volume.forget(inode(ino), count);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.volume.attr(inode(ino)) {
            Ok(attr) => {
                let ttl = if attr.kind == FileType::Symlink {
                    Duration::ZERO
                } else {
                    TTL
                };
                reply.attr(&ttl, &file_attr(&attr));
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mtime_alone = mtime.is_some()
            && atime.is_none()
            && mode.is_none()
            && size.is_none()
            && uid.is_none()
            && gid.is_none();
        let rung = if mtime_alone {
            self.volume.ring(inode(ino))
        } else {
            Err(FsError::ReadOnly)
        };
        match rung {
            Ok(attr) => reply.attr(&TTL, &file_attr(&attr)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        self.volume
            .open(inode(ino), write, move |result| opened(result, reply));
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let reader = match lock_owner {
            Some(_) => Reader::Handle,
            None => Reader::PageCache,
        };
        let read = self
            .volume
            .read(inode(ino), HandleNumber(handle.0), (offset, size), reader);
        match read {
            Ok(answer) => reply.data(&answer.bytes[answer.part]),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.volume.ring(inode(ino)) {
            // At most MAX_WRITE.
            Ok(_) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.volume.release(HandleNumber(handle.0));
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.volume.list(inode(ino), offset, |line| {
            reply.add(nodeid(line.ino), line.offset, kind(line.kind), line.name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (inodes, bytes) = self.volume.usage();
        let blocks = bytes.div_ceil(BLOCK.into());
        reply.statfs(blocks, 0, 0, inodes, 0, BLOCK, 255, BLOCK);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        leaf: &OsStr,
        new_parent: INodeNo,
        new_leaf: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let result = match (name(leaf), name(new_leaf)) {
            (Ok(from), Ok(to)) if flags.is_empty() => self
                .volume
                .rename((inode(parent), from), (inode(new_parent), to)),
            _ => Err(FsError::ReadOnly),
        };
        empty(result, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, leaf: &OsStr, reply: ReplyEmpty) {
        empty(
            name(leaf).and_then(|leaf| self.volume.unlink(inode(parent), leaf)),
            reply,
        );
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, leaf: &OsStr, reply: ReplyEmpty) {
        empty(
            name(leaf).and_then(|leaf| self.volume.rmdir(inode(parent), leaf)),
            reply,
        );
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = match name.to_str().filter(|name| xattr::is_ours(name)) {
            Some(name) => self
                .volume
                .label(inode(ino))
                .and_then(|label| xattr::value(&label, name)),
            // The kernel asks for security attributes all the time.
            None => Err(FsError::NoAttr),
        };
        sized(value.map(String::into_bytes), size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = match self.volume.label(inode(ino)) {
            Ok(label) => Ok(xattr::names(&label)),
            Err(FsError::NoAttr) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        sized(names, size, reply);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.volume.readlink(inode(ino)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    // ENOSYS below is an answer, not a default: the kernel does these itself from then on.

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: fuser::PollNotifier,
        _: fuser::PollEvents,
        _: fuser::PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }
}
