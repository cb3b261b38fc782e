//! Open handles and the versions that they pin.
//!
//! A handle's number says which version it opened (high half) so that a successor of this process
//! can serve it; which file is in every request. Handles never say anything about names.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use livemount_engine::object::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::FsError;
use crate::now::Monotonic;
use crate::number::{HandleNumber, Inode, VersionNumber};

/// How long after its open an unread handle may still delay a commit: the time in which a program
/// stats what it opened and reads that many bytes (promise 4).
pub(crate) const FRESH: Duration = Duration::from_secs(1);

/// How much of the past open handles may keep (promise 3). Beyond either limit the oldest
/// version is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// The most older versions.
    pub versions: usize,
    /// The most bytes in them: contents and 512 for each name, counted as if versions shared nothing.
    pub bytes: u64,
}

impl Pins {
    /// What a volume keeps where nothing else is asked for: 32 versions, 64 MiB.
    pub const DEFAULT: Self = Self {
        versions: 32,
        bytes: 64 << 20,
    };
}

impl Default for Pins {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What an open gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The handle's number: version in the high half, a serial number in the low one.
    pub number: HandleNumber,
}

/// Through what a READ came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The handle itself: read, pread, readv. It carries a lock owner.
    Handle,
    /// The page cache that all handles of a file share: sendfile, splice, mmap.
    PageCache,
}

#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) ino: Inode,
    pub(crate) version: VersionNumber,
    /// The pinned contents; gone once the version was dropped for the limit.
    pub(crate) bytes: Option<Bytes>,
    pub(crate) opened: Monotonic,
    pub(crate) phase: Phase,
}

/// How far a handle's reader is, as far as a drain cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// A ring's: nothing is read through it.
    Writer,
    /// Not yet read to its end.
    Unread,
    /// The same, and the commit in its drain waits for it.
    Delaying,
    /// Not read to its end within the bound of a commit, so it delays none any more.
    Spent,
    /// Read to its end: its reader knows all that it came for.
    Finished,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Pinned {
    pub(crate) opens: usize,
    pub(crate) bytes: u64,
}

/// All handles of a volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handles {
    pub(crate) open: HashMap<HandleNumber, Handle>,
    pub(crate) serial: u32,
    pub(crate) versions: BTreeMap<VersionNumber, Pinned>,
    pub(crate) limit: Pins,
    /// How many handles the drain still waits for.
    pub(crate) delaying: usize,
    /// How many older versions were dropped for the limit.
    pub(crate) dropped: u64,
}

impl Handles {
    /// None yet, and how many older versions they may keep.
    pub(crate) fn new(limit: Pins) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub(crate) fn open(
        &mut self,
        ino: Inode,
        version: VersionNumber,
        bytes: Option<Bytes>,
        now: Monotonic,
    ) -> HandleNumber {
        let number = loop {
            let number = HandleNumber::new(version, self.serial);
            self.serial = self.serial.wrapping_add(1);
            if !self.open.contains_key(&number) {
                break number;
            }
        };
        // A ring reads nothing, so it pins nothing.
        if bytes.is_some() {
            self.versions.entry(version).or_default().opens += 1;
        }
        self.open.insert(
            number,
            Handle {
                ino,
                version,
                phase: if bytes.is_none() {
                    Phase::Writer
                } else {
                    Phase::Unread
                },
                bytes,
                opened: now,
            },
        );
        number
    }

    /// The pinned contents of a handle. Tells whether it was read to its end now, for the first time, and
    /// whether the drain waits for nobody any more.
    pub(crate) fn read(
        &mut self,
        number: HandleNumber,
        ino: Inode,
        end: u64,
    ) -> Result<(Bytes, bool, bool), FsError> {
        let handle = self.open.get_mut(&number).ok_or(FsError::Stale)?;
        if handle.ino != ino {
            return Err(FsError::Stale);
        }
        let bytes = handle.bytes.clone().ok_or(FsError::Stale)?;
        let (mut ended, mut drained) = (false, false);
        if end >= bytes.len() as u64 {
            let former = std::mem::replace(&mut handle.phase, Phase::Finished);
            ended = former != Phase::Finished;
            drained = former == Phase::Delaying && self.one_less();
        }
        Ok((bytes, ended, drained))
    }

    /// Closes a handle. Tells whether the drain waits for nobody any more.
    pub(crate) fn release(&mut self, number: HandleNumber) -> bool {
        let Some(handle) = self.open.remove(&number) else {
            return false;
        };
        if handle.phase != Phase::Writer {
            self.close(handle.version);
        }
        handle.phase == Phase::Delaying && self.one_less()
    }

    /// The drain waits for one handle less. Tells whether that was the last.
    fn one_less(&mut self) -> bool {
        self.delaying -= 1;
        self.delaying == 0
    }

    /// Marks the handles that a commit has to wait for. Returns until when the last of them is fresh.
    pub(crate) fn begin_drain(
        &mut self,
        now: Monotonic,
        changes: impl Fn(Inode) -> bool,
    ) -> Option<Monotonic> {
        let mut until = None;
        for handle in self.open.values_mut() {
            let stale = handle.opened + FRESH;
            if handle.phase == Phase::Unread && stale > now && changes(handle.ino) {
                handle.phase = Phase::Delaying;
                self.delaying += 1;
                until = until.max(Some(stale));
            }
        }
        until
    }

    pub(crate) fn delaying(&self) -> usize {
        self.delaying
    }

    /// Ends the drain. Those still unread have had their delay; returns how many.
    pub(crate) fn end_drain(&mut self) -> usize {
        let unread = self.delaying;
        if unread > 0 {
            for handle in self.open.values_mut() {
                if handle.phase == Phase::Delaying {
                    handle.phase = Phase::Spent;
                }
            }
        }
        self.delaying = 0;
        unread
    }

    /// Takes back what [`Handles::begin_drain`] has marked.
    pub(crate) fn give_up_drain(&mut self) {
        let delaying = |handle: &&mut Handle| handle.phase == Phase::Delaying;
        for handle in self.open.values_mut().filter(delaying) {
            handle.phase = Phase::Unread;
        }
        self.delaying = 0;
    }

    /// How many handles and folders hold a version.
    pub(crate) fn held(&self, version: VersionNumber) -> usize {
        self.versions.get(&version).map_or(0, |pinned| pinned.opens)
    }

    /// Counts whoever holds a version's folder as one more open.
    pub(crate) fn hold(&mut self, version: VersionNumber, bytes: u64) {
        let pinned = self.versions.entry(version).or_default();
        pinned.opens += 1;
        pinned.bytes = bytes;
    }

    /// Nobody holds that folder any more.
    pub(crate) fn unhold(&mut self, version: VersionNumber) {
        self.close(version);
    }

    fn close(&mut self, version: VersionNumber) {
        if let Some(pinned) = self.versions.get_mut(&version) {
            pinned.opens -= 1;
            if pinned.opens == 0 {
                self.versions.remove(&version);
            }
        }
    }

    /// Moves on to the next version: the former becomes an older one that holds `bytes`, and the
    /// oldest go where the limit is passed; their handles read ESTALE from then on. Tells which went.
    pub(crate) fn retire(&mut self, former: VersionNumber, bytes: u64) -> Vec<VersionNumber> {
        match self.versions.get_mut(&former) {
            Some(pinned) if pinned.opens > 0 => pinned.bytes = bytes,
            _ => {
                self.versions.remove(&former);
            }
        }
        let limit = self.limit;
        let over = |versions: &BTreeMap<VersionNumber, Pinned>| {
            versions.len() > limit.versions
                || versions.values().map(|pinned| pinned.bytes).sum::<u64>() > limit.bytes
        };
        let mut dropped = Vec::new();
        while over(&self.versions) {
            let Some((oldest, _)) = self.versions.pop_first() else {
                break;
            };
            for handle in self.open.values_mut().filter(|h| h.version == oldest) {
                handle.bytes = None;
            }
            self.dropped += 1;
            dropped.push(oldest);
        }
        dropped
    }

    /// How many versions before `current` are held, and how many bytes these hold.
    pub(crate) fn pinned(&self, current: VersionNumber) -> (u64, u64) {
        let older = self.versions.range(..current);
        older.fold((0, 0), |(versions, bytes), (_, pinned)| {
            (versions + 1, bytes + pinned.bytes)
        })
    }

    /// How many handles are open on versions before `current`, rings not counted.
    pub(crate) fn older(&self, current: VersionNumber) -> usize {
        self.open
            .values()
            .filter(|handle| handle.version != current && handle.phase != Phase::Writer)
            .count()
    }
}
