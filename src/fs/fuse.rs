//! `impl fuser::Filesystem`: every request goes to the volume as one call.
//!
//! Answers carry long lifetimes for names and attributes, because every change is pushed to the
//! kernel. Every mutation that the volume does not have armed is EROFS; none is left to fuser's
//! default, which is ENOSYS and makes the kernel stop asking.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FopenFlags, Generation, INodeNo, IoctlFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use livemount_volume::{
    Attr, FileType, FsError, HandleNumber, Inode, Looked, Opened, Reader, RequestNumber,
};

use super::errno::errno;
use super::raw::{self, FATTR_MODE, FATTR_MTIME, Opcode, READ_LOCKOWNER, Raw};
use super::xattr;
use crate::served::SharedVolume;
use crate::store::Slot;

/// How long the kernel may believe a name or an attribute: as long as it likes.
const TTL: Duration = Duration::from_secs(365 * 24 * 3600);
const BLOCK: u32 = 4096;

/// One volume as the kernel sees it.
pub struct Filesystem {
    volume: Arc<SharedVolume>,
    /// Where the request in hand is kept, on a kernel that would not send it again.
    slot: Option<Arc<Slot>>,
    agreed: Arc<OnceLock<u64>>,
}

impl Filesystem {
    /// Serves a volume.
    pub fn new(volume: Arc<SharedVolume>, slot: Option<Arc<Slot>>) -> Self {
        Self {
            volume,
            slot,
            agreed: Arc::default(),
        }
    }

    /// What the kernel can do, once it has said so.
    pub(super) fn agreed(&self) -> Arc<OnceLock<u64>> {
        Arc::clone(&self.agreed)
    }

    /// Keeps the request in hand until what comes back is dropped: when it is answered, or parked.
    fn asked<'r>(
        &self,
        request: &Request,
        opcode: Opcode,
        node: INodeNo,
        arguments: impl FnOnce(Raw<'r>) -> Raw<'r>,
    ) -> Option<InHand<'_>> {
        let slot = self.slot.as_ref()?;
        let number = request.unique().0;
        if number == raw::MARKER {
            return None;
        }
        let mut raw = arguments(Raw::of(request, opcode, node.0));
        let (fixed, tail) = raw.finish();
        slot.asked(number, fixed, tail);
        Some(InHand(slot))
    }
}

/// The request in hand, as long as it is.
struct InHand<'a>(&'a Slot);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The arguments of a READ or a READDIR.
fn read_in(
    raw: Raw<'_>,
    handle: FileHandle,
    range: (u64, u32),
    owner: Option<LockOwner>,
) -> Raw<'_> {
    let flags = if owner.is_some() { READ_LOCKOWNER } else { 0 };
    raw.u64(handle.0)
        .u64(range.0)
        .u32(range.1)
        .u32(flags)
        .u64(owner.map_or(0, |owner| owner.0))
        .u32(0)
        .u32(0)
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

/// By which the kernel knows a request.
fn number(request: &Request) -> RequestNumber {
    RequestNumber(request.unique().0)
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
        let capabilities = config.capabilities().bits();
        let _first = self.agreed.set(capabilities);
        if super::init::resends(capabilities) {
            self.slot = None;
        }
        super::init::negotiate(config)
    }

    fn lookup(&self, request: &Request, parent: INodeNo, leaf: &OsStr, reply: ReplyEntry) {
        let _asked = self.asked(request, Opcode::Lookup, parent, |raw| {
            raw.name(leaf.as_encoded_bytes())
        });
        let request = number(request);
        match name(leaf).and_then(|leaf| self.volume.lookup(inode(parent), leaf, request)) {
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

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let _asked = self.asked(request, Opcode::Getattr, ino, |raw| raw.u64(0).u64(0));
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
        request: &Request,
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
        let _asked = self.asked(request, Opcode::Setattr, ino, |raw| {
            const AFTER_VALID: [u8; 84] = [0; 84];
            let valid = if mtime_alone { FATTR_MTIME } else { FATTR_MODE };
            raw.u32(valid).bytes(AFTER_VALID)
        });
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

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let _asked = self.asked(request, Opcode::Open, ino, |raw| {
            raw.u32(u32::from_ne_bytes(flags.0.to_ne_bytes())).u32(0)
        });
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        let reply = move |result| opened(result, reply);
        self.volume.open(inode(ino), write, number(request), reply);
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let _asked = self.asked(request, Opcode::Read, ino, |raw| {
            read_in(raw, handle, (offset, size), lock_owner)
        });
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
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let _asked = self.asked(request, Opcode::Write, ino, |raw| {
            // A ring's one byte, which nobody looks at; a longer one is no ring of ours.
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX).min(1);
            raw.u64(handle.0)
                .u64(offset)
                .u32(length)
                .u32(0)
                .u64(0)
                .u64(0)
                .data(&data[..length as usize])
        });
        match self.volume.ring(inode(ino)) {
            // At most MAX_WRITE.
            Ok(_) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let _asked = self.asked(request, Opcode::Release, ino, |raw| {
            raw.u64(handle.0).u64(0).u64(0)
        });
        self.volume.release(HandleNumber(handle.0));
        reply.ok();
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let _asked = self.asked(request, Opcode::Opendir, ino, |raw| raw.u64(0));
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn releasedir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        let _asked = self.asked(request, Opcode::Releasedir, ino, |raw| {
            raw.u64(handle.0).u64(0).u64(0)
        });
        reply.ok();
    }

    fn readdir(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let _asked = self.asked(request, Opcode::Readdir, ino, |raw| {
            // How much it asked for is not known any more; the kernel takes less.
            read_in(raw, handle, (offset, BLOCK), None)
        });
        let listed = self.volume.list(inode(ino), offset, |line| {
            reply.add(nodeid(line.ino), line.offset, kind(line.kind), line.name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn statfs(&self, request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let _asked = self.asked(request, Opcode::Statfs, ino, |raw| raw);
        let (inodes, bytes) = self.volume.usage();
        let blocks = bytes.div_ceil(BLOCK.into());
        reply.statfs(blocks, 0, 0, inodes, 0, BLOCK, 255, BLOCK);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        leaf: &OsStr,
        new_parent: INodeNo,
        new_leaf: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let _asked = self.asked(request, Opcode::Rename2, parent, |raw| {
            raw.u64(new_parent.0)
                .u32(flags.bits())
                .u32(0)
                .name(leaf.as_encoded_bytes())
                .name(new_leaf.as_encoded_bytes())
        });
        let result = match (name(leaf), name(new_leaf)) {
            (Ok(from), Ok(to)) if flags.is_empty() => self
                .volume
                .rename((inode(parent), from), (inode(new_parent), to)),
            _ => Err(FsError::ReadOnly),
        };
        empty(result, reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, leaf: &OsStr, reply: ReplyEmpty) {
        let _asked = self.asked(request, Opcode::Unlink, parent, |raw| {
            raw.name(leaf.as_encoded_bytes())
        });
        empty(
            name(leaf).and_then(|leaf| self.volume.unlink(inode(parent), leaf)),
            reply,
        );
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, leaf: &OsStr, reply: ReplyEmpty) {
        let _asked = self.asked(request, Opcode::Rmdir, parent, |raw| {
            raw.name(leaf.as_encoded_bytes())
        });
        empty(
            name(leaf).and_then(|leaf| self.volume.rmdir(inode(parent), leaf)),
            reply,
        );
    }

    fn flush(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _: LockOwner,
        reply: ReplyEmpty,
    ) {
        let _asked = self.asked(request, Opcode::Flush, ino, |raw| {
            raw.u64(handle.0).u64(0).u64(0)
        });
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn getxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let _asked = self.asked(request, Opcode::Getxattr, ino, |raw| {
            raw.u32(size).u32(0).name(name.as_encoded_bytes())
        });
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

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let _asked = self.asked(request, Opcode::Listxattr, ino, |raw| raw.u32(size).u32(0));
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

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let _asked = self.asked(request, Opcode::Readlink, ino, |raw| raw);
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
