//! From a volume to its record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livemount_engine::object::{self, Bytes};
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{self, ObjectVersion};

use super::{
    Change, Content, Drain, Entry, FORMAT, Former, Handle, Handles, Identity, Key, Kind, Moment,
    Node, Object, Park, Pinned, Place, Record, Served, Snapshot, VersionDir, VersionDirs, Wall,
};
use crate::armed;
use crate::handles;
use crate::history;
use crate::inodes;
use crate::now::Monotonic;
use crate::number::{HandleNumber, Inode};
use crate::park;
use crate::state::State;
use crate::tree;
use crate::version_dirs;

impl State {
    /// Writes the volume down, and gives the contents that the record speaks of, in its order.
    pub fn record(&self, now: Monotonic) -> (Record, Vec<Bytes>) {
        let Self {
            tree,
            handles,
            armed,
            drain,
            park,
            committing,
            next_ticket,
            version,
            current,
            shown,
            version_dirs,
            committed,
            history,
        } = self;
        let mut writer = Writer {
            now,
            contents: Contents::default(),
            snapshots: Vec::new(),
        };
        let (current, shown) = (writer.snapshot(current), writer.snapshot(shown));
        let version_dirs = writer.version_dirs(version_dirs);
        let mut nodes: Vec<(&Inode, &tree::Node)> = tree.nodes.iter().collect();
        nodes.sort_by_key(|(ino, _)| **ino);
        let nodes = nodes
            .into_iter()
            .map(|(ino, node)| writer.node(*ino, node))
            .collect();
        let handles = writer.handles(handles);
        let park = park.as_ref().map(|park| writer.park(park));
        let snapshots = std::mem::take(&mut writer.snapshots);
        let snapshots = snapshots
            .iter()
            .map(|snapshot| writer.write(snapshot))
            .collect();
        let drain = drain.map(|drain| writer.drain(drain));
        let contents = writer.contents.list;
        let record = Record {
            format: FORMAT,
            key: Key(tree.key.0),
            contents: contents.iter().map(|bytes| bytes.len() as u64).collect(),
            snapshots,
            current,
            shown,
            version: *version,
            committed: wall(*committed),
            nodes,
            files: tree.files,
            stage: tree.stage,
            handles,
            changes: armed.changes.iter().map(change).collect(),
            done: armed.done as u64,
            unsure: armed.unsure,
            drain,
            park,
            committing: *committing,
            next_ticket: *next_ticket,
            version_dirs,
            history: history.0.iter().map(served).collect(),
        };
        (record, contents)
    }
}

/// The contents so far, each allocation once.
#[derive(Default)]
struct Contents {
    list: Vec<Bytes>,
    places: HashMap<(usize, usize), Place>,
}

impl Contents {
    fn place(&mut self, bytes: &Bytes) -> Place {
        // The list keeps the allocation, so that its address means nothing else meanwhile.
        let address = (bytes.as_ptr().addr(), bytes.len());
        *self.places.entry(address).or_insert_with(|| {
            self.list.push(bytes.clone());
            place(self.list.len() - 1)
        })
    }
}

/// A volume has far fewer contents and snapshots than that.
fn place(index: usize) -> Place {
    Place::try_from(index).unwrap_or(Place::MAX)
}

struct Writer {
    now: Monotonic,
    contents: Contents,
    /// The snapshots so far, each once.
    snapshots: Vec<Arc<snapshot::Snapshot>>,
}

impl Writer {
    fn snapshot(&mut self, snapshot: &Arc<snapshot::Snapshot>) -> Place {
        let known = self
            .snapshots
            .iter()
            .position(|known| Arc::ptr_eq(known, snapshot));
        place(known.unwrap_or_else(|| {
            self.snapshots.push(Arc::clone(snapshot));
            self.snapshots.len() - 1
        }))
    }

    fn write(&mut self, snapshot: &snapshot::Snapshot) -> Snapshot {
        let snapshot::Snapshot {
            entries,
            objects,
            root_mode,
            gid,
            digest,
        } = snapshot;
        let entry = |(path, entry): (&RelPath, &snapshot::Entry)| {
            let entry = match entry {
                snapshot::Entry::Dir { mode } => Entry::Dir { mode: *mode },
                snapshot::Entry::File(file) => Entry::File {
                    content: self.contents.place(&file.bytes),
                    mode: file.mode,
                    digest: file.digest.0,
                    object: file.object as u64,
                },
            };
            (text(path), entry)
        };
        Snapshot {
            entries: entries.iter().map(entry).collect(),
            objects: objects.iter().map(object).collect(),
            root_mode: *root_mode,
            gid: *gid,
            digest: digest.0,
        }
    }

    fn node(&mut self, ino: Inode, node: &tree::Node) -> Node {
        let tree::Node {
            identity,
            parent,
            content,
            mode,
            gid,
            mtime,
            linked,
            generation,
            revived,
            lookups,
        } = node;
        let content = match content {
            tree::Content::Dir(children) => {
                let children = children.after(Inode(0));
                Content::Dir(children.map(|(ino, name)| (name.to_owned(), ino)).collect())
            }
            tree::Content::File(bytes) => Content::File(self.contents.place(bytes)),
            tree::Content::Dotdata => Content::Dotdata,
        };
        Node {
            ino,
            identity: identity_of(identity),
            parent: *parent,
            content,
            mode: *mode,
            gid: *gid,
            mtime: wall(*mtime),
            linked: *linked,
            generation: *generation,
            revived: *revived,
            lookups: *lookups,
        }
    }

    fn handles(&mut self, all: &handles::Handles) -> Handles {
        let handles::Handles {
            open,
            serial,
            versions,
            limit,
            // As many as there are in that phase.
            delaying: _,
            dropped,
        } = all;
        let mut open: Vec<(&HandleNumber, &handles::Handle)> = open.iter().collect();
        open.sort_by_key(|(number, _)| **number);
        let open = open.into_iter().map(|(number, handle)| Handle {
            number: *number,
            ino: handle.ino,
            version: handle.version,
            bytes: handle
                .bytes
                .as_ref()
                .map(|bytes| self.contents.place(bytes)),
            opened: self.moment(handle.opened),
            phase: handle.phase,
        });
        let open = open.collect();
        let pinned = versions.iter().map(|(version, pinned)| Pinned {
            version: *version,
            opens: pinned.opens as u64,
            bytes: pinned.bytes,
        });
        Handles {
            open,
            serial: *serial,
            versions: pinned.collect(),
            most_versions: limit.versions as u64,
            most_bytes: limit.bytes,
            dropped: *dropped,
        }
    }

    fn drain(&self, drain: park::Drain) -> Drain {
        Drain {
            began: self.moment(drain.began),
            until: drain.until.map(|until| self.moment(until)),
        }
    }

    fn park(&self, park: &park::Park) -> Park {
        let mut inos: Vec<Inode> = park.inos.iter().copied().collect();
        inos.sort_unstable();
        Park {
            inos,
            until: self.moment(park.until),
            waiting: park.waiting.clone(),
        }
    }

    fn version_dirs(&mut self, dirs: &version_dirs::VersionDirs) -> VersionDirs {
        let version_dirs::VersionDirs {
            seen,
            recent,
            dotdata,
            prepared,
        } = dirs;
        let seen = seen.iter().map(|(version, dir)| VersionDir {
            version: *version,
            inodes: dir.inodes.clone(),
            lookups: dir.lookups,
            held: dir.held,
        });
        let recent = recent.iter().map(|former| Former {
            version: former.version,
            snapshot: self.snapshot(&former.snapshot),
            retired: self.moment(former.retired),
        });
        VersionDirs {
            seen: seen.collect(),
            recent: recent.collect(),
            dotdata: *dotdata,
            prepared: *prepared,
        }
    }

    fn moment(&self, at: Monotonic) -> Moment {
        // Three centuries fit.
        let nanos = |time: Monotonic| i64::try_from(time.0.as_nanos()).unwrap_or(i64::MAX);
        Moment(nanos(at).saturating_sub(nanos(self.now)))
    }
}

fn text(path: &RelPath) -> String {
    path.as_str().to_owned()
}

impl From<SystemTime> for Wall {
    fn from(at: SystemTime) -> Self {
        wall(at)
    }
}

/// A snapshot alone, and its contents.
pub(crate) fn write_snapshot(snapshot: &Arc<snapshot::Snapshot>) -> (Snapshot, Vec<Bytes>) {
    let mut writer = Writer {
        now: Monotonic(Duration::ZERO),
        contents: Contents::default(),
        snapshots: Vec::new(),
    };
    let record = writer.write(snapshot);
    (record, writer.contents.list)
}

fn wall(at: SystemTime) -> Wall {
    let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => Wall {
            seconds: seconds(after.as_secs()),
            nanoseconds: after.subsec_nanos(),
        },
        Err(before) => {
            let before = before.duration();
            let part = before.subsec_nanos();
            Wall {
                seconds: -seconds(before.as_secs()) - i64::from(part > 0),
                nanoseconds: if part > 0 { 1_000_000_000 - part } else { 0 },
            }
        }
    }
}

fn identity_of(identity: &inodes::Identity) -> Identity {
    use inodes::Fixed;
    match identity {
        inodes::Identity::Fixed(Fixed::Root) => Identity::Root,
        inodes::Identity::Fixed(Fixed::Files) => Identity::Files,
        inodes::Identity::Fixed(Fixed::Stage) => Identity::Stage,
        inodes::Identity::Path(kind, path) => Identity::Path(*kind, text(path)),
        inodes::Identity::VersionDir(version, kind, path) => {
            Identity::VersionDir(*version, *kind, path.as_ref().map(text))
        }
        inodes::Identity::Dotdata(version) => Identity::Dotdata(*version),
    }
}

fn change(change: &armed::Change) -> Change {
    match change {
        armed::Change::Rename {
            path,
            stage,
            parent,
        } => Change::Rename {
            path: text(path),
            stage: stage.clone(),
            parent: *parent,
        },
        armed::Change::Ring {
            path,
            ino,
            executable,
        } => Change::Ring {
            path: text(path),
            ino: *ino,
            executable: *executable,
        },
        armed::Change::Unlink { path, parent } => Change::Unlink {
            path: text(path),
            parent: *parent,
        },
        armed::Change::Rmdir { path, parent } => Change::Rmdir {
            path: text(path),
            parent: *parent,
        },
        armed::Change::Dotdata => Change::Dotdata,
    }
}

fn object(version: &ObjectVersion) -> Object {
    let ObjectVersion {
        key:
            object::ObjectKey {
                kind,
                namespace,
                name,
                origin,
            },
        uid,
        resource_version,
        immutable,
        received,
    } = version;
    Object {
        kind: match kind {
            object::Kind::ConfigMap => Kind::ConfigMap,
            object::Kind::Secret => Kind::Secret,
            object::Kind::Pod => Kind::Pod,
        },
        namespace: namespace.clone(),
        name: name.clone(),
        origin: origin.as_str().to_owned(),
        uid: uid.clone(),
        resource_version: resource_version.clone(),
        immutable: *immutable,
        received: received.map(wall),
    }
}

fn served(served: &history::Served) -> Served {
    let history::Served {
        version,
        objects,
        committed,
        first_open,
        last_open,
        // Asked for when it is told.
        held: _,
    } = served;
    Served {
        version: *version,
        objects: objects.iter().map(object).collect(),
        committed: wall(*committed),
        first_open: first_open.map(wall),
        last_open: last_open.map(wall),
    }
}
