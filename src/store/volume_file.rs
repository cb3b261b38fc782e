//! One volume's file: a record of its state, and a journal of the steps since.
//!
//! There are two sides, each with room for a record and the journal after it; one is active. A new
//! record is written to the other, which is then made the active one by setting one word. A step is
//! written behind the journal's end, which then is moved by setting one word. So whatever moment the
//! writer is killed at, the active side holds a whole record and whole steps.
//!
//! Nothing here is asked of the kernel but memory, so a step may be written where no system call may be
//! made: under the volume's lock.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use livemount_engine::object::Bytes;
use livemount_engine::snapshot::Snapshot;
use livemount_volume::{
    Answered, FORMAT, Monotonic, ParkedOpen, Record, RecordError, Replay, Replayed, SnapshotRecord,
    State, Step,
};
use serde::{Deserialize, Serialize};

use super::contents::{Contents, Kept, Place};
use super::error::StoreError;
use super::memory::SharedMemory;

/// First in the file. Another one for another layout; what is in it has a format of its own.
const MAGIC: u64 = u64::from_le_bytes(*b"livemnt1");
/// Bytes before the sides.
const HEADER: usize = 4096;
/// Room of each side. What is not used costs nothing.
const SIDE: usize = 64 << 20;
/// A journal of this many bytes is worth a new record, and longer where the record is larger.
const JOURNAL: usize = 128 << 10;
/// Room for the longest step: two names of 255 bytes and numbers; a list of failed changes is longer.
const STEP: usize = 1 << 20;

/// Words of the header.
const AT_MAGIC: usize = 0;
const AT_ACTIVE: usize = 8;
const fn at_record(side: usize) -> usize {
    16 + side * 16
}
const fn at_journal(side: usize) -> usize {
    24 + side * 16
}

/// What stands before the bytes of an entry of a journal: its length, then what it is.
const PREFIX: usize = 5;
const IS_STEP: u8 = 0;
const IS_NEXT: u8 = 1;

/// What a record is stored with.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    /// What the publisher has to know of the volume beside its state. Before the format, for it can be read
    /// where the record cannot.
    about: &'a [u8],
    format: u32,
    /// When it was written.
    now: u64,
    contents: Vec<Place>,
    requests: Requests,
    record: Record,
}

/// What is known of requests that a successor may be asked again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Requests {
    /// The opens that are parked.
    pub parked: Vec<ParkedOpen>,
    /// What a predecessor had done for requests, while the kernel may still ask them again.
    pub answered: Answered,
}

/// A snapshot that steps speak of.
#[derive(Serialize, Deserialize)]
struct StoredNext {
    contents: Vec<Place>,
    snapshot: SnapshotRecord,
}

/// A snapshot whose contents are stored, and that can be written to a journal without a system call.
#[derive(Debug)]
pub struct NextSnapshot {
    bytes: Vec<u8>,
    kept: Vec<Arc<Kept>>,
}

impl NextSnapshot {
    /// Stores a snapshot's contents.
    ///
    /// # Errors
    ///
    /// The machine gives no memory.
    pub fn store(contents: &Contents, snapshot: &Arc<Snapshot>) -> Result<Self, StoreError> {
        let (snapshot, bytes) = SnapshotRecord::write(snapshot);
        let kept = contents.put(&bytes)?;
        let stored = StoredNext {
            contents: kept.iter().map(|kept| kept.place).collect(),
            snapshot,
        };
        let bytes = postcard::to_stdvec(&stored).map_err(|_| StoreError::Undecodable)?;
        Ok(Self { bytes, kept })
    }
}

/// What a former record and journal spoke of. Dropped where no lock is held: memory may go back to the
/// kernel.
#[derive(Debug, Default)]
#[must_use = "to be dropped where no lock is held"]
pub struct Superseded(#[allow(dead_code, reason = "it is there to be dropped")] Vec<Arc<Kept>>);

/// What a predecessor left.
#[derive(Debug)]
pub struct Found {
    /// What the publisher wrote of the volume beside its state.
    pub about: Vec<u8>,
    /// The volume and its file, or why it cannot be read.
    pub volume: Result<(Replayed, VolumeFile), StoreError>,
}

/// One volume's file.
#[derive(Debug)]
pub struct VolumeFile {
    memory: SharedMemory,
    contents: Contents,
    about: Vec<u8>,
    /// The active side: 0 or 1.
    side: usize,
    record: usize,
    journal: usize,
    /// What record and journal speak of.
    kept: Vec<Arc<Kept>>,
    /// The snapshot of the commit that has not been made current, which a new record does not hold.
    next: Option<Arc<NextSnapshot>>,
}

impl VolumeFile {
    /// A new file, without a record yet.
    ///
    /// # Errors
    ///
    /// The machine gives no memory.
    pub fn new(contents: &Contents, about: Vec<u8>) -> Result<Self, StoreError> {
        let memory = SharedMemory::new("livemount-volume", HEADER + 2 * SIDE)?;
        memory.set_number(AT_MAGIC, MAGIC);
        Ok(Self {
            memory,
            contents: contents.clone(),
            about,
            side: 1,
            record: 0,
            journal: 0,
            kept: Vec::new(),
            next: None,
        })
    }

    /// A predecessor's file, and what it says. Nothing is changed in it.
    ///
    /// # Errors
    ///
    /// Not even what the publisher wrote can be read.
    pub fn open(file: OwnedFd, contents: &Contents) -> Result<Found, StoreError> {
        let memory = SharedMemory::open(file, HEADER + 2 * SIDE)?;
        if memory.number(AT_MAGIC) != MAGIC {
            return Err(StoreError::Layout);
        }
        let side = match memory.number(AT_ACTIVE) {
            1 => 0,
            2 => 1,
            _ => return Err(StoreError::Undecodable),
        };
        let length = |place| usize::try_from(memory.number(place)).unwrap_or(usize::MAX);
        let (record, journal) = (length(at_record(side)), length(at_journal(side)));
        if record.checked_add(journal).is_none_or(|all| all > SIDE) {
            return Err(StoreError::Undecodable);
        }
        let begin = HEADER + side * SIDE;
        let bytes = &memory.bytes()[begin..begin + record + journal];
        let about = head(bytes)?.0.to_vec();
        let mut reading = Reading {
            contents,
            kept: Vec::new(),
        };
        let replay = reading.record(&bytes[..record]);
        let replayed = replay.and_then(|replay| reading.journal(&bytes[record..], replay));
        let kept = reading.kept;
        let file = Self {
            contents: contents.clone(),
            about: about.clone(),
            side,
            record,
            journal,
            kept,
            next: None,
            memory,
        };
        Ok(Found {
            about,
            volume: replayed.map(|replayed| (replayed, file)),
        })
    }

    /// What holds the file.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.descriptor()
    }

    /// Where the contents are.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// What the publisher has to know of the volume beside its state. Written with the next record.
    pub fn set_about(&mut self, about: Vec<u8>) {
        self.about = about;
    }

    /// Writes the volume down anew and begins an empty journal.
    ///
    /// # Errors
    ///
    /// There is no room, or no memory. What was written before stays.
    pub fn write(
        &mut self,
        state: &State,
        requests: Requests,
        now: Monotonic,
    ) -> Result<Superseded, StoreError> {
        let (record, contents) = state.record(now);
        // All of them are stored already, but for those of a first snapshot.
        let kept = self.contents.put(&contents)?;
        let stored = Stored {
            about: &self.about,
            format: FORMAT,
            now: u64::try_from(now.0.as_nanos()).unwrap_or(u64::MAX),
            contents: kept.iter().map(|kept| kept.place).collect(),
            requests,
            record,
        };
        let side = 1 - self.side;
        let begin = HEADER + side * SIDE;
        let room = &mut self.memory.bytes_mut()[begin..begin + SIDE - STEP];
        let record = match postcard::to_slice(&stored, room) {
            Ok(written) => written.len(),
            Err(_) => return Err(StoreError::TooLarge { bytes: SIDE }),
        };
        self.memory.set_number(at_record(side), record as u64);
        self.memory.set_number(at_journal(side), 0);
        self.memory.set_number(AT_ACTIVE, side as u64 + 1);
        (self.side, self.record, self.journal) = (side, record, 0);
        let former = std::mem::replace(&mut self.kept, kept);
        if let Some(next) = self.next.clone() {
            self.write_next(&next)?;
        }
        Ok(Superseded(former))
    }

    /// Writes the snapshot that the next steps speak of.
    ///
    /// # Errors
    ///
    /// There is no room: [`VolumeFile::write`] makes some.
    pub fn next(&mut self, next: NextSnapshot) -> Result<(), StoreError> {
        let next = Arc::new(next);
        self.next = Some(Arc::clone(&next));
        self.write_next(&next)
    }

    fn write_next(&mut self, next: &NextSnapshot) -> Result<(), StoreError> {
        let bytes = next.bytes.len();
        let room = self.room();
        let Some(place) = room.get_mut(PREFIX..PREFIX + bytes) else {
            return Err(StoreError::TooLarge { bytes });
        };
        place.copy_from_slice(&next.bytes);
        self.kept.extend(next.kept.iter().cloned());
        self.entered(IS_NEXT, bytes);
        Ok(())
    }

    /// The snapshot that was written last is in the record from now on.
    pub fn shown(&mut self) {
        self.next = None;
    }

    /// Writes a step down, which is done from then on.
    ///
    /// # Errors
    ///
    /// There is no room: [`VolumeFile::write`] makes some.
    pub fn step(&mut self, step: &Step<'_>) -> Result<(), StoreError> {
        let room = self.room();
        let place = room.get_mut(PREFIX..).unwrap_or_default();
        let written = match postcard::to_slice(step, place) {
            Ok(written) => written.len(),
            Err(_) => return Err(StoreError::TooLarge { bytes: SIDE }),
        };
        self.entered(IS_STEP, written);
        Ok(())
    }

    /// Says that the file is not to be believed any more: the volume goes on without it.
    pub fn invalidate(self) {
        self.memory.set_number(AT_ACTIVE, 0);
    }

    /// Whether the journal has become so long that a new record is worth its while.
    pub fn is_long(&self) -> bool {
        self.journal > JOURNAL.max(2 * self.record)
    }

    /// Whether a new record would let go of what only the journal speaks of.
    pub fn is_stale(&self) -> bool {
        self.journal > 0
    }

    fn room(&mut self) -> &mut [u8] {
        let begin = HEADER + self.side * SIDE;
        let end = begin + self.record + self.journal;
        &mut self.memory.bytes_mut()[end..begin + SIDE]
    }

    /// The bytes of an entry are there: it counts.
    fn entered(&mut self, what: u8, bytes: usize) {
        // At most a side.
        let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let room = self.room();
        room[..4].copy_from_slice(&length);
        room[4] = what;
        self.journal += PREFIX + bytes;
        let (place, journal) = (at_journal(self.side), self.journal as u64);
        self.memory.set_number(place, journal);
    }
}

impl Drop for VolumeFile {
    /// Contents that the file still speaks of stay: whoever opens it next reads them, however this process
    /// comes to its end. They go when the file is no longer believed.
    fn drop(&mut self) {
        if self.memory.number(AT_ACTIVE) != 0 {
            self.kept.drain(..).for_each(std::mem::forget);
        }
    }
}

/// Whether records count as of another form, for tests: `LIVEMOUNT_WITHOUT=RECORD`.
fn without_records() -> bool {
    std::env::var_os("LIVEMOUNT_WITHOUT").is_some_and(|without| without == "RECORD")
}

/// What stands before a record in every format: what the publisher wrote, and the format.
fn head(bytes: &[u8]) -> Result<(&[u8], u32), StoreError> {
    let head = postcard::take_from_bytes(bytes);
    head.map(|(head, _)| head)
        .map_err(|_| StoreError::Undecodable)
}

/// Reads what a predecessor wrote. It is believed as little as bytes from elsewhere: what does not fit is
/// an error.
struct Reading<'a> {
    contents: &'a Contents,
    kept: Vec<Arc<Kept>>,
}

impl Reading<'_> {
    fn record(&mut self, bytes: &[u8]) -> Result<Replay, StoreError> {
        let (_, format) = head(bytes)?;
        if format != FORMAT || without_records() {
            return Err(RecordError::Format(format).into());
        }
        let stored: Stored<'_> =
            postcard::from_bytes(bytes).map_err(|_| StoreError::Undecodable)?;
        let contents = self.get(&stored.contents)?;
        let now = Monotonic(std::time::Duration::from_nanos(stored.now));
        let state = State::from_record(stored.record, &contents, now)?;
        let Requests { parked, answered } = stored.requests;
        Ok(Replay::new(state, parked, answered))
    }

    fn journal(&mut self, mut bytes: &[u8], mut replay: Replay) -> Result<Replayed, StoreError> {
        while !bytes.is_empty() {
            let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
                return Err(StoreError::Undecodable);
            };
            let [a, b, c, d, what] = *prefix;
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            let Some((entry, rest)) = rest.split_at_checked(length) else {
                return Err(StoreError::Undecodable);
            };
            match what {
                IS_STEP => {
                    let step = postcard::from_bytes(entry).map_err(|_| StoreError::Undecodable)?;
                    replay.step(&step)?;
                }
                IS_NEXT => {
                    let next: StoredNext =
                        postcard::from_bytes(entry).map_err(|_| StoreError::Undecodable)?;
                    let contents = self.get(&next.contents)?;
                    replay.next(Arc::new(next.snapshot.read(&contents)?));
                }
                _ => return Err(StoreError::Undecodable),
            }
            bytes = rest;
        }
        Ok(replay.done())
    }

    fn get(&mut self, places: &[Place]) -> Result<Vec<Bytes>, StoreError> {
        let mut contents = Vec::new();
        for place in places {
            let kept = self.contents.get(*place)?;
            contents.push(kept.bytes.clone());
            self.kept.push(kept);
        }
        Ok(contents)
    }
}
