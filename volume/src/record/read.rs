//! From a record to the volume.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livemount_engine::object::{self, Bytes};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{self, Digest, HashKey, ObjectVersion};

use super::{
    Change, Content, Drain, Entry, FORMAT, Handles, Identity, Kind, Moment, Node, Object, Park,
    Place, Record, RecordError, Served, Snapshot, VersionDirs, Wall,
};
use crate::armed::{self, Armed};
use crate::handles::{self, Phase, Pins};
use crate::history::{self, History};
use crate::inodes::{self, Fixed};
use crate::now::Monotonic;
use crate::number::Inode;
use crate::park;
use crate::state::State;
use crate::tree::{self, Children, Tree};
use crate::version_dirs;

impl State {
    /// The volume that a record was written of. `contents` are those that were given with it; `now`
    /// is later than the moment of writing by nothing that counts.
    ///
    /// # Errors
    ///
    /// Where the record is of another format, or not one that [`State::record`] could have written.
    pub fn from_record(
        record: Record,
        contents: &[Bytes],
        now: Monotonic,
    ) -> Result<Self, RecordError> {
        if record.format != FORMAT {
            return Err(RecordError::Format(record.format));
        }
        let lengths = contents.iter().map(|bytes| bytes.len() as u64);
        if !lengths.eq(record.contents.iter().copied()) {
            return Err(RecordError::Contents);
        }
        let mut reader = Reader {
            now,
            contents,
            snapshots: Vec::new(),
        };
        for snapshot in record.snapshots {
            let snapshot = reader.read(snapshot)?;
            reader.snapshots.push(Arc::new(snapshot));
        }
        let nodes = record.nodes.into_iter().map(|node| reader.node(node));
        let tree = Tree {
            key: HashKey(record.key.0),
            nodes: nodes.collect::<Result<_, _>>()?,
            files: record.files,
            stage: record.stage,
        };
        let changes = record.changes.into_iter().map(change);
        let served = record.history.into_iter().map(served);
        Ok(Self {
            tree,
            handles: reader.handles(record.handles)?,
            armed: Armed {
                changes: changes.collect::<Result<_, _>>()?,
                done: number(record.done)?,
                unsure: record.unsure,
            },
            drain: record.drain.map(|drain| reader.drain(drain)),
            park: record.park.map(|park| reader.park(park)),
            committing: record.committing,
            next_ticket: record.next_ticket,
            version: record.version,
            current: reader.snapshot(record.current)?,
            shown: reader.snapshot(record.shown)?,
            version_dirs: reader.version_dirs(record.version_dirs)?,
            committed: wall(record.committed)?,
            history: History(served.collect::<Result<_, _>>()?),
        })
    }
}

struct Reader<'a> {
    now: Monotonic,
    contents: &'a [Bytes],
    snapshots: Vec<Arc<snapshot::Snapshot>>,
}

impl Reader<'_> {
    fn content(&self, place: Place) -> Result<Bytes, RecordError> {
        let bytes = usize::try_from(place).ok();
        let bytes = bytes.and_then(|place| self.contents.get(place));
        bytes.cloned().ok_or(RecordError::Wrong("a content"))
    }

    fn snapshot(&self, place: Place) -> Result<Arc<snapshot::Snapshot>, RecordError> {
        let snapshot = usize::try_from(place).ok();
        let snapshot = snapshot.and_then(|place| self.snapshots.get(place));
        snapshot.cloned().ok_or(RecordError::Wrong("a snapshot"))
    }

    fn read(&self, snapshot: Snapshot) -> Result<snapshot::Snapshot, RecordError> {
        let entry = |(at, entry): (String, Entry)| {
            let entry = match entry {
                Entry::Dir { mode } => snapshot::Entry::Dir { mode },
                Entry::File {
                    content,
                    mode,
                    digest,
                    object,
                } => snapshot::Entry::File(snapshot::File {
                    bytes: self.content(content)?,
                    mode,
                    digest: Digest(digest),
                    object: number(object)?,
                }),
            };
            Ok((path(&at)?, entry))
        };
        let entries = snapshot.entries.into_iter().map(entry);
        let objects = snapshot.objects.into_iter().map(object);
        Ok(snapshot::Snapshot {
            entries: entries.collect::<Result<_, _>>()?,
            objects: objects.collect::<Result<_, _>>()?,
            root_mode: snapshot.root_mode,
            gid: snapshot.gid,
            digest: Digest(snapshot.digest),
        })
    }

    fn node(&self, node: Node) -> Result<(Inode, tree::Node), RecordError> {
        let content = match node.content {
            Content::Dir(names) => {
                let mut children = Children::default();
                for (name, ino) in names {
                    children.insert(&name, ino);
                }
                tree::Content::Dir(children)
            }
            Content::File(place) => tree::Content::File(self.content(place)?),
            Content::Dotdata => tree::Content::Dotdata,
        };
        let read = tree::Node {
            identity: identity(node.identity)?,
            parent: node.parent,
            content,
            mode: node.mode,
            gid: node.gid,
            mtime: wall(node.mtime)?,
            linked: node.linked,
            generation: node.generation,
            revived: node.revived,
            lookups: node.lookups,
        };
        Ok((node.ino, read))
    }

    fn handles(&self, all: Handles) -> Result<handles::Handles, RecordError> {
        let delaying = |handle: &&super::Handle| handle.phase == Phase::Delaying;
        let delaying = all.open.iter().filter(delaying).count();
        let open = all.open.into_iter().map(|handle| {
            let bytes = handle.bytes.map(|place| self.content(place)).transpose()?;
            let read = handles::Handle {
                ino: handle.ino,
                version: handle.version,
                bytes,
                opened: self.moment(handle.opened),
                phase: handle.phase,
            };
            Ok((handle.number, read))
        });
        let pinned = all.versions.into_iter().map(|pinned| {
            let opens = number(pinned.opens)?;
            if opens == 0 {
                return Err(RecordError::Wrong("who holds a version"));
            }
            let bytes = pinned.bytes;
            Ok((pinned.version, handles::Pinned { opens, bytes }))
        });
        Ok(handles::Handles {
            open: open.collect::<Result<_, _>>()?,
            serial: all.serial,
            versions: pinned.collect::<Result<_, _>>()?,
            limit: Pins {
                versions: number(all.most_versions)?,
                bytes: all.most_bytes,
            },
            delaying,
            dropped: all.dropped,
        })
    }

    fn drain(&self, drain: Drain) -> park::Drain {
        park::Drain {
            began: self.moment(drain.began),
            until: drain.until.map(|until| self.moment(until)),
        }
    }

    fn park(&self, park: Park) -> park::Park {
        park::Park {
            inos: park.inos.into_iter().collect(),
            until: self.moment(park.until),
            waiting: park.waiting,
        }
    }

    fn version_dirs(&self, dirs: VersionDirs) -> Result<version_dirs::VersionDirs, RecordError> {
        let seen = dirs.seen.into_iter().map(|dir| {
            let seen = version_dirs::VersionDir {
                inodes: dir.inodes,
                lookups: dir.lookups,
                held: dir.held,
            };
            (dir.version, seen)
        });
        let recent = dirs.recent.into_iter().map(|former| {
            Ok(version_dirs::Former {
                version: former.version,
                snapshot: self.snapshot(former.snapshot)?,
                retired: self.moment(former.retired),
            })
        });
        Ok(version_dirs::VersionDirs {
            seen: seen.collect(),
            recent: recent.collect::<Result<_, _>>()?,
            dotdata: dirs.dotdata,
            prepared: dirs.prepared,
        })
    }

    fn moment(&self, Moment(after): Moment) -> Monotonic {
        let distance = Duration::from_nanos(after.unsigned_abs());
        if after >= 0 {
            self.now + distance
        } else {
            Monotonic(self.now.0.saturating_sub(distance))
        }
    }
}

fn number(number: u64) -> Result<usize, RecordError> {
    usize::try_from(number).map_err(|_| RecordError::Wrong("a number"))
}

fn path(path: &str) -> Result<RelPath, RecordError> {
    match RelPath::new(path) {
        Ok(clean) if clean.as_str() == path => Ok(clean),
        _ => Err(RecordError::Wrong("a path")),
    }
}

/// A snapshot alone, with its contents.
pub(crate) fn read_snapshot(
    record: Snapshot,
    contents: &[Bytes],
) -> Result<snapshot::Snapshot, RecordError> {
    let reader = Reader {
        now: Monotonic(Duration::ZERO),
        contents,
        snapshots: Vec::new(),
    };
    reader.read(record)
}

impl Wall {
    /// The time that was written.
    pub(crate) fn time(self) -> Result<SystemTime, RecordError> {
        wall(self)
    }
}

fn wall(at: Wall) -> Result<SystemTime, RecordError> {
    let seconds = Duration::from_secs(at.seconds.unsigned_abs());
    let whole = if at.seconds >= 0 {
        UNIX_EPOCH.checked_add(seconds)
    } else {
        UNIX_EPOCH.checked_sub(seconds)
    };
    let part = Duration::from_nanos(at.nanoseconds.into());
    whole
        .and_then(|whole| whole.checked_add(part))
        .ok_or(RecordError::Wrong("a time"))
}

fn identity(identity: Identity) -> Result<inodes::Identity, RecordError> {
    Ok(match identity {
        Identity::Root => inodes::Identity::Fixed(Fixed::Root),
        Identity::Files => inodes::Identity::Fixed(Fixed::Files),
        Identity::Stage => inodes::Identity::Fixed(Fixed::Stage),
        Identity::Path(kind, at) => inodes::Identity::Path(kind, path(&at)?),
        Identity::VersionDir(version, kind, at) => {
            let at = at.as_deref().map(path).transpose()?;
            inodes::Identity::VersionDir(version, kind, at)
        }
        Identity::Dotdata(version) => inodes::Identity::Dotdata(version),
    })
}

fn change(change: Change) -> Result<armed::Change, RecordError> {
    Ok(match change {
        Change::Rename {
            path: at,
            stage,
            parent,
        } => armed::Change::Rename {
            path: path(&at)?,
            stage,
            parent,
        },
        Change::Ring {
            path: at,
            ino,
            executable,
        } => armed::Change::Ring {
            path: path(&at)?,
            ino,
            executable,
        },
        Change::Unlink { path: at, parent } => armed::Change::Unlink {
            path: path(&at)?,
            parent,
        },
        Change::Rmdir { path: at, parent } => armed::Change::Rmdir {
            path: path(&at)?,
            parent,
        },
        Change::Dotdata => armed::Change::Dotdata,
    })
}

fn object(version: Object) -> Result<ObjectVersion, RecordError> {
    Ok(ObjectVersion {
        key: object::ObjectKey {
            kind: match version.kind {
                Kind::ConfigMap => object::Kind::ConfigMap,
                Kind::Secret => object::Kind::Secret,
                Kind::Pod => object::Kind::Pod,
            },
            namespace: version.namespace,
            name: version.name,
            origin: version.origin.into(),
        },
        uid: version.uid,
        resource_version: version.resource_version,
        immutable: version.immutable,
        received: version.received.map(wall).transpose()?,
    })
}

fn served(served: Served) -> Result<history::Served, RecordError> {
    let objects = served.objects.into_iter().map(object);
    Ok(history::Served {
        version: served.version,
        objects: objects.collect::<Result<_, _>>()?,
        committed: wall(served.committed)?,
        first_open: served.first_open.map(wall).transpose()?,
        last_open: served.last_open.map(wall).transpose()?,
        held: 0,
    })
}
