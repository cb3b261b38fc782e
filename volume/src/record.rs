//! A volume written down: the whole of its state as plain data, for a process that goes on with it.
//!
//! The record holds no contents: it tells them apart by their place in a table that goes beside it, so
//! that how bytes travel is the business of whoever carries them, and a value is never where only
//! names are expected. Times of the clock that never goes back are told relative to the moment of
//! writing. What is written is in order, so that equal volumes are equal records.
//!
//! A reader takes a record of its own [`FORMAT`] alone. What a record says is checked as far as reading
//! on could go wrong by it; that it was written by this crate is for its carrier to know.

mod read;
mod write;

pub(crate) use read::read_snapshot;
pub(crate) use write::write_snapshot;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::handles::Phase;
use crate::inodes::FileType;
use crate::number::{HandleNumber, Inode, Ticket, VersionNumber};
use crate::state::Committing;

/// The form in which records are written. Another one for every change of what they hold.
pub const FORMAT: u32 = 1;

/// A volume's state, all but its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    // First in every format: it says how to read on.
    format: u32,
    key: Key,
    /// Their lengths.
    contents: Vec<u64>,
    snapshots: Vec<Snapshot>,
    current: Place,
    shown: Place,
    version: VersionNumber,
    committed: Wall,
    nodes: Vec<Node>,
    files: Inode,
    stage: Inode,
    handles: Handles,
    changes: Vec<Change>,
    done: u64,
    /// The last one that was done may be asked for again.
    unsure: bool,
    drain: Option<Drain>,
    park: Option<Park>,
    committing: Committing,
    next_ticket: u64,
    version_dirs: VersionDirs,
    history: Vec<Served>,
}

impl Record {
    /// How long each of the contents is that belong beside it, in bytes.
    pub fn lengths(&self) -> &[u64] {
        &self.contents
    }
}

/// A place in a table: `Record::snapshots`, or the contents beside the record.
type Place = u32;

/// The key of the hashes. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Key([u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A time of day, before 1970 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wall {
    seconds: i64,
    nanoseconds: u32,
}

/// A moment, in nanoseconds after the one of writing; less than none for one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moment(i64);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    entries: Vec<(String, Entry)>,
    objects: Vec<Object>,
    root_mode: u16,
    gid: u32,
    digest: u128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    Dir {
        mode: u16,
    },
    File {
        content: Place,
        mode: u16,
        digest: u128,
        object: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    ConfigMap,
    Secret,
    Pod,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Object {
    kind: Kind,
    namespace: String,
    name: String,
    origin: String,
    uid: Option<String>,
    resource_version: Option<String>,
    immutable: bool,
    received: Option<Wall>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    ino: Inode,
    identity: Identity,
    parent: Inode,
    content: Content,
    mode: u16,
    gid: u32,
    mtime: Wall,
    linked: bool,
    generation: u64,
    revived: bool,
    lookups: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Identity {
    Root,
    Files,
    Stage,
    Path(FileType, String),
    VersionDir(VersionNumber, FileType, Option<String>),
    Dotdata(VersionNumber),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Content {
    Dir(Vec<(String, Inode)>),
    File(Place),
    Dotdata,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Handles {
    open: Vec<Handle>,
    serial: u32,
    versions: Vec<Pinned>,
    /// The limits.
    most_versions: u64,
    most_bytes: u64,
    dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    number: HandleNumber,
    ino: Inode,
    version: VersionNumber,
    bytes: Option<Place>,
    opened: Moment,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pinned {
    version: VersionNumber,
    opens: u64,
    bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Change {
    Rename {
        path: String,
        stage: String,
        parent: Inode,
    },
    Ring {
        path: String,
        ino: Inode,
        executable: bool,
    },
    Unlink {
        path: String,
        parent: Inode,
    },
    Rmdir {
        path: String,
        parent: Inode,
    },
    Dotdata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Drain {
    began: Moment,
    until: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Park {
    inos: Vec<Inode>,
    until: Moment,
    waiting: Vec<(Ticket, Inode)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct VersionDirs {
    seen: Vec<VersionDir>,
    recent: Vec<Former>,
    dotdata: VersionNumber,
    prepared: VersionNumber,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct VersionDir {
    version: VersionNumber,
    inodes: Vec<Inode>,
    lookups: u64,
    held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Former {
    version: VersionNumber,
    snapshot: Place,
    retired: Moment,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Served {
    version: VersionNumber,
    objects: Vec<Object>,
    committed: Wall,
    first_open: Option<Wall>,
    last_open: Option<Wall>,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It was written in another form.
    #[error("the record is of format {0}, not {FORMAT}")]
    Format(u32),
    /// The contents beside it are not those that it was written with.
    #[error("the contents beside the record are not its own")]
    Contents,
    /// It contradicts itself.
    #[error("the record is wrong about {0}")]
    Wrong(&'static str),
}
