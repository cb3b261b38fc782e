//! Memory that outlives this process: a memfd, mapped once.
//!
//! The one place where memory is shared with another process. Nobody else writes to it while it is
//! mapped here: the keeper, which holds the descriptor, never looks into it, and it gives it to one
//! process at a time, after the former has ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::error::StoreError;

/// A mapped memfd. Only pages that were written to cost memory.
#[derive(Debug)]
pub(super) struct SharedMemory {
    at: NonNull<u8>,
    len: usize,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone and to no thread; what is behind `&self` are atomics
// and reads, what writes takes `&mut self`.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New memory of `len` bytes, all zero.
    pub(super) fn new(name: &str, len: usize) -> Result<Self, StoreError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL;
        let file = match memfd_create(name, flags) {
            // Linux 6.3 brought the flag.
            Err(rustix::io::Errno::INVAL) => memfd_create(name, MemfdFlags::CLOEXEC),
            made => made,
        };
        let file = file.map_err(StoreError::system("make shared memory"))?;
        ftruncate(&file, len as u64).map_err(StoreError::system("size shared memory"))?;
        Self::map(file, len)
    }

    /// The memory behind a descriptor, which must be of `len` bytes.
    pub(super) fn open(file: OwnedFd, len: usize) -> Result<Self, StoreError> {
        let found = fstat(&file).map_err(StoreError::system("look at shared memory"))?;
        // Of another size it would end in a SIGBUS.
        if u64::try_from(found.st_size).ok() != Some(len as u64) {
            return Err(StoreError::Layout);
        }
        Self::map(file, len)
    }

    /// The first `len` bytes of the memory behind a descriptor, which must have them.
    pub(super) fn part(file: OwnedFd, len: usize) -> Result<Self, StoreError> {
        let found = fstat(&file).map_err(StoreError::system("look at shared memory"))?;
        if u64::try_from(found.st_size).unwrap_or_default() < len as u64 {
            return Err(StoreError::Layout);
        }
        Self::map(file, len)
    }

    fn map(file: OwnedFd, len: usize) -> Result<Self, StoreError> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses: it lies over nothing.
        let at = unsafe { mmap(null_mut(), len, access, MapFlags::SHARED, &file, 0) };
        let at = at.map_err(StoreError::system("map shared memory"))?;
        let at = NonNull::new(at.cast()).ok_or(StoreError::Layout)?;
        Ok(Self { at, len, file })
    }

    /// What holds the memory.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped for as long as this value lives. Nobody writes to them meanwhile:
        // here that takes `&mut self` or an atomic, of whose words nobody keeps a slice; elsewhere nobody
        // does (see above).
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    /// All of it, to be written to.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` says that nobody else here has a part of it.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }

    /// The number at a place, which must be a multiple of 8 within the memory. What was written before
    /// it was set is there for whoever reads it, however the writer ended.
    pub(super) fn number(&self, place: usize) -> u64 {
        self.word(place).load(Ordering::Acquire)
    }

    /// Sets the number at a place.
    pub(super) fn set_number(&self, place: usize, number: u64) {
        self.word(place).store(number, Ordering::Release);
    }

    fn word(&self, place: usize) -> &AtomicU64 {
        assert!(
            place.is_multiple_of(8) && place + 8 <= self.len,
            "a word of the header"
        );
        // SAFETY: within the mapping and aligned, as was just made sure of; the mapping begins at a page.
        unsafe { AtomicU64::from_ptr(self.at.as_ptr().add(place).cast()) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing that was lent of it is alive any more.
        let _unmapped = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
    }
}
