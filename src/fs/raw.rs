//! Requests and answers as the kernel has them (`include/uapi/linux/fuse.h`), as far as they go past
//! fuser: what is kept of a request for a successor, and what a successor says before fuser reads for it.

use fuser::Request;

/// `enum fuse_opcode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Opcode {
    Lookup = 1,
    Forget = 2,
    Getattr = 3,
    Setattr = 4,
    Readlink = 5,
    Unlink = 10,
    Rmdir = 11,
    Open = 14,
    Read = 15,
    Write = 16,
    Statfs = 17,
    Release = 18,
    Getxattr = 22,
    Listxattr = 23,
    Flush = 25,
    Init = 26,
    Opendir = 27,
    Readdir = 28,
    Releasedir = 29,
    Rename2 = 45,
}

/// `FUSE_READ_LOCKOWNER`.
pub(super) const READ_LOCKOWNER: u32 = 1 << 1;
/// `FATTR_MODE`, `FATTR_MTIME`.
pub(super) const FATTR_MODE: u32 = 1;
pub(super) const FATTR_MTIME: u32 = 1 << 5;
/// `FUSE_INIT_EXT`: there are flags in the second half, too.
const INIT_EXT: u64 = 1 << 30;
/// `FUSE_NOTIFY_RESEND`.
const NOTIFY_RESEND: i32 = 7;
/// Bytes of `struct fuse_in_header`, and of `struct fuse_out_header`.
const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;

/// A request that is being written: header and arguments of a length that its kind has, a multiple of 8; then
/// up to two names, or what is written.
pub(super) struct Raw<'a> {
    fixed: [u8; Raw::FIXED],
    len: usize,
    tail: [&'a [u8]; Raw::PARTS],
    parts: usize,
}

impl<'a> Raw<'a> {
    const FIXED: usize = IN_HEADER + 88;
    /// Two names and their ends.
    const PARTS: usize = 4;

    /// A request of these, without arguments yet.
    pub(super) fn new(opcode: Opcode, number: u64, node: u64, from: (u32, u32, u32)) -> Self {
        let raw = Self {
            fixed: [0; Self::FIXED],
            len: 0,
            tail: [&[]; Self::PARTS],
            parts: 0,
        };
        let (uid, gid, pid) = from;
        // Its length is known at the end.
        raw.u32(0)
            .u32(opcode as u32)
            .u64(number)
            .u64(node)
            .u32(uid)
            .u32(gid)
            .u32(pid)
            .u32(0)
    }

    /// The request that fuser read.
    pub(super) fn of(request: &Request, opcode: Opcode, node: u64) -> Self {
        let from = (request.uid(), request.gid(), request.pid());
        Self::new(opcode, request.unique().0, node, from)
    }

    #[inline]
    pub(super) fn u32(self, number: u32) -> Self {
        self.bytes(number.to_ne_bytes())
    }

    #[inline]
    pub(super) fn u64(self, number: u64) -> Self {
        self.bytes(number.to_ne_bytes())
    }

    #[inline]
    pub(super) fn bytes<const N: usize>(mut self, bytes: [u8; N]) -> Self {
        self.fixed[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
        self
    }

    /// A name and its end.
    pub(super) fn name(self, name: &'a [u8]) -> Self {
        self.data(name).data(&[0])
    }

    /// What is written.
    pub(super) fn data(mut self, bytes: &'a [u8]) -> Self {
        self.tail[self.parts] = bytes;
        self.parts += 1;
        self
    }

    /// All of it: first what has a length that is a multiple of 8, then the rest in its parts.
    pub(super) fn finish(&mut self) -> (&[u8], &[&'a [u8]]) {
        let tail = &self.tail[..self.parts];
        let len = self.len + tail.iter().map(|part| part.len()).sum::<usize>();
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.fixed[..4].copy_from_slice(&len.to_ne_bytes());
        (&self.fixed[..self.len], tail)
    }

    pub(super) fn into_vec(mut self) -> Vec<u8> {
        let (fixed, tail) = self.finish();
        [fixed, &tail.concat()].concat()
    }
}

/// The INIT of a kernel that can do these (`struct fuse_init_in`).
pub(super) fn init(capabilities: u64) -> Vec<u8> {
    const MAJOR: u32 = 7;
    const MINOR: u32 = 40;
    const READAHEAD: u32 = 128 << 10;
    const UNUSED: [u8; 44] = [0; 44];
    let capabilities = capabilities | INIT_EXT;
    let low = u32::try_from(capabilities & u64::from(u32::MAX)).unwrap_or_default();
    let high = u32::try_from(capabilities >> 32).unwrap_or_default();
    Raw::new(Opcode::Init, 1, 0, (0, 0, 0))
        .u32(MAJOR)
        .u32(MINOR)
        .u32(READAHEAD)
        .u32(low)
        .u32(high)
        .bytes(UNUSED)
        .into_vec()
}

/// A FORGET of nothing, which nobody answers.
pub(super) fn nothing() -> Vec<u8> {
    Raw::new(Opcode::Forget, 1, 0, (0, 0, 0)).u64(0).into_vec()
}

/// The number of the one request that is our own and is answered. The kernel's begin at 2.
pub(super) const MARKER: u64 = u64::MAX >> 2;

/// A GETATTR of the root, by which it is known that all before it was looked at.
pub(super) fn marker() -> Vec<u8> {
    let raw = Raw::new(Opcode::Getattr, MARKER, 1, (0, 0, 0));
    raw.u32(0).u32(0).u64(0).into_vec()
}

/// An OPEN for reading.
pub(super) fn open(number: u64, node: u64) -> Vec<u8> {
    let raw = Raw::new(Opcode::Open, number, node, (0, 0, 0));
    raw.u32(0).u32(0).into_vec()
}

/// Has the kernel send again what was read and not answered (`fuse_notify_resend`, `fs/fuse/dev.c`).
pub(super) fn resend() -> [u8; OUT_HEADER] {
    answer(0, NOTIFY_RESEND)
}

/// The answer to a request that is an errno alone.
pub(super) fn refusal(number: u64, errno: i32) -> [u8; OUT_HEADER] {
    answer(number, -errno)
}

fn answer(number: u64, error: i32) -> [u8; OUT_HEADER] {
    let mut bytes = [0; OUT_HEADER];
    // Its length, in 4 bytes.
    bytes[0..4].copy_from_slice(&16u32.to_ne_bytes());
    bytes[4..8].copy_from_slice(&error.to_ne_bytes());
    bytes[8..16].copy_from_slice(&number.to_ne_bytes());
    bytes
}

/// The number that an answer is to, or that a request has.
pub(super) fn number(answer: &[u8]) -> Option<u64> {
    let number = answer.get(8..16)?.try_into().ok()?;
    Some(u64::from_ne_bytes(number))
}
