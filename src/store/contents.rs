//! The contents of all volumes, in one file that outlives this process.
//!
//! A content is there once, however many volumes show it. It is kept for as long as the record or the
//! journal of some volume speaks of it; then its memory is given back to the kernel, so that a value
//! that nobody can ask for any more is nowhere.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use livemount_engine::object::Bytes;
use parking_lot::Mutex;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SeekFrom, fallocate, fstat, ftruncate, memfd_create, seek,
};
use rustix::io::{Errno, pread, pwrite};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::extents::Extents;

/// How large the file can become; what is not written costs nothing.
const SIZE: u64 = 1 << 40;

/// No content is larger, in bytes: no object holds as much, nor does anything that is made of one.
const MOST: u64 = 1 << 28;

/// Where a content is, in the contents' file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// The contents' file. Clones are the same.
#[derive(Clone, Debug)]
pub struct Contents(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: OwnedFd,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    extents: Extents,
    /// By the address of the bytes, which `Kept` keeps from meaning anything else.
    known: HashMap<(usize, usize), Weak<Kept>>,
    /// What a predecessor stored, while it is read.
    found: HashMap<Place, Weak<Kept>>,
    settled: bool,
}

/// A content that is stored, for as long as somebody has this.
#[derive(Debug)]
pub struct Kept {
    pub(super) bytes: Bytes,
    pub(super) place: Place,
    of: Arc<Inner>,
}

fn address(bytes: &Bytes) -> (usize, usize) {
    (bytes.as_ptr().addr(), bytes.len())
}

impl Contents {
    /// A new file without contents.
    ///
    /// # Errors
    ///
    /// The machine gives no memory.
    pub fn new() -> Result<Self, StoreError> {
        let file = memfd_create("livemount-contents", MemfdFlags::CLOEXEC)
            .map_err(StoreError::system("make the contents' memory"))?;
        ftruncate(&file, SIZE).map_err(StoreError::system("size the contents' memory"))?;
        let table = Table {
            settled: true,
            ..Table::default()
        };
        Ok(Self::of(file, table))
    }

    /// A predecessor's file. Nothing may be stored before [`Contents::settle`].
    ///
    /// # Errors
    ///
    /// It is not one of ours.
    pub fn open(file: OwnedFd) -> Result<Self, StoreError> {
        let found = fstat(&file).map_err(StoreError::system("look at the contents' memory"))?;
        if u64::try_from(found.st_size).ok() != Some(SIZE) {
            return Err(StoreError::Layout);
        }
        Ok(Self::of(file, Table::default()))
    }

    fn of(file: OwnedFd, table: Table) -> Self {
        Self(Arc::new(Inner {
            file,
            table: Mutex::new(table),
        }))
    }

    /// What holds the file.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }

    /// All that a predecessor stored and that is still of use has been read: the rest is given back.
    ///
    /// # Errors
    ///
    /// The machine does not take it back.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.settle_from(0)
    }

    /// The same where some of it could not be read, which may be of use to whoever comes next: all that is
    /// there stays, until a successor has read everything.
    ///
    /// # Errors
    ///
    /// The machine does not tell what is there.
    pub fn settle_beside_unread(&self) -> Result<(), StoreError> {
        self.settle_from(self.0.end()?)
    }

    fn settle_from(&self, unread: u64) -> Result<(), StoreError> {
        let mut table = self.0.table.lock();
        let table = &mut *table;
        let found = std::mem::take(&mut table.found);
        let places = found.iter().filter(|(_, kept)| kept.strong_count() > 0);
        let places = places.map(|(place, _)| (place.offset, place.len)).collect();
        table.extents = Extents::found(places);
        table.extents.fill(unread);
        table.settled = true;
        for gap in table.extents.gaps(SIZE) {
            self.0.give_back(gap.offset, gap.len)?;
        }
        Ok(())
    }

    /// Stores contents; those that are stored already cost nothing.
    ///
    /// # Errors
    ///
    /// The machine gives no memory, or what a predecessor stored has not been read yet and something is new.
    /// None of them is stored then that was not before.
    pub fn put(&self, contents: &[Bytes]) -> Result<Vec<Arc<Kept>>, StoreError> {
        let inner = &self.0;
        let mut new: HashMap<(usize, usize), Arc<Kept>> = HashMap::new();
        let mut kept = Vec::with_capacity(contents.len());
        let table = inner.table.lock();
        for bytes in contents {
            kept.push(table.known.get(&address(bytes)).and_then(Weak::upgrade));
        }
        drop(table);
        let missing = || {
            contents
                .iter()
                .zip(&kept)
                .filter(|(_, kept)| kept.is_none())
        };
        let mut total = 0;
        let mut places: HashMap<(usize, usize), u64> = HashMap::new();
        for (bytes, _) in missing() {
            if !bytes.is_empty() && !places.contains_key(&address(bytes)) {
                places.insert(address(bytes), total);
                total += bytes.len() as u64;
            }
        }
        let base = if places.is_empty() {
            0
        } else {
            let mut table = inner.table.lock();
            if !table.settled {
                // It would be written over what others have stored.
                return Err(StoreError::NoContent);
            }
            table.extents.take(total, places.len())
        };
        let mut failure = None;
        for (bytes, _) in missing() {
            if new.contains_key(&address(bytes)) {
                continue;
            }
            let offset = places
                .get(&address(bytes))
                .map_or(0, |within| base + within);
            let place = Place {
                offset,
                len: bytes.len() as u64,
            };
            // From here on it leaves its part when it is dropped.
            new.insert(
                address(bytes),
                Arc::new(Kept {
                    bytes: bytes.clone(),
                    place,
                    of: Arc::clone(inner),
                }),
            );
            if failure.is_none() {
                failure = inner.write(bytes, offset).err();
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let mut table = inner.table.lock();
        for (address, kept) in &new {
            table.known.insert(*address, Arc::downgrade(kept));
        }
        drop(table);
        let all = contents.iter().zip(kept);
        Ok(all
            .filter_map(|(bytes, known)| known.or_else(|| new.get(&address(bytes)).cloned()))
            .collect())
    }

    /// A content that a predecessor stored.
    pub(super) fn get(&self, place: Place) -> Result<Arc<Kept>, StoreError> {
        let mut table = self.0.table.lock();
        if let Some(kept) = table.found.get(&place).and_then(Weak::upgrade) {
            return Ok(kept);
        }
        let end = place.offset.checked_add(place.len);
        if place.len > MOST || end.is_none_or(|end| end > SIZE) || table.settled {
            return Err(StoreError::NoContent);
        }
        let mut bytes = vec![0; usize::try_from(place.len).unwrap_or_default()];
        let mut done = 0;
        while done < bytes.len() {
            let read = pread(&self.0.file, &mut bytes[done..], place.offset + done as u64)
                .map_err(StoreError::system("read a content"))?;
            if read == 0 {
                return Err(StoreError::NoContent);
            }
            done += read;
        }
        let kept = Arc::new(Kept {
            bytes: Bytes::from(bytes),
            place,
            of: Arc::clone(&self.0),
        });
        table.found.insert(place, Arc::downgrade(&kept));
        table
            .known
            .insert(address(&kept.bytes), Arc::downgrade(&kept));
        Ok(kept)
    }

    /// How much memory the contents take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.table.lock().extents.bytes()
    }
}

impl Inner {
    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        let mut done = 0;
        while done < bytes.len() {
            done += pwrite(&self.file, &bytes[done..], offset + done as u64)
                .map_err(StoreError::system("store a content"))?;
        }
        Ok(())
    }

    /// Where the last content ends, to the page.
    fn end(&self) -> Result<u64, StoreError> {
        let mut end = 0;
        loop {
            match seek(&self.file, SeekFrom::Data(end)) {
                Ok(data) => {
                    end = seek(&self.file, SeekFrom::Hole(data))
                        .map_err(StoreError::system("look for stored contents"))?;
                }
                Err(Errno::NXIO) => return Ok(end),
                Err(errno) => return Err(StoreError::system("look for stored contents")(errno)),
            }
        }
    }

    fn give_back(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, flags, offset, len)
            .map_err(StoreError::system("give contents' memory back"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut table = self.of.table.lock();
        let address = address(&self.bytes);
        let known = table.known.get(&address);
        if known.is_some_and(|known| known.strong_count() == 0) {
            table.known.remove(&address);
        }
        if self.place.len == 0 || !table.settled {
            return;
        }
        if let Some(unused) = table.extents.leave(self.place.offset) {
            // Under the lock, so that nobody has begun to use it again.
            match self.of.give_back(unused.offset, unused.len) {
                Ok(()) => table.extents.free(&unused),
                // Kept from everybody rather than given to somebody with the old bytes in it.
                Err(error) => tracing::warn!(%error, "stored contents stay"),
            }
        }
    }
}
