//! What the filesystem asks of a volume. Each answer takes the volume's lock once and briefly.

use std::time::{Instant, SystemTime};

use livemount_engine::object::Bytes;
use livemount_engine::snapshot::{Digest, ObjectVersion};
use parking_lot::MutexGuard;

use super::armed::ArmedOp;
use super::error::FsError;
use super::handles::{Opened, Reader};
use super::history::Served;
use super::inodes::{FileType, Identity};
use super::park::Opener;
use super::state::{State, Volume};
use super::tree::{Content, Node, Tree};
use super::version_dirs::DOTDATA;

/// An inode's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The inode's number.
    pub ino: u64,
    /// Folder or file.
    pub kind: FileType,
    /// Bytes; 0 for a folder.
    pub size: u64,
    /// Permission bits.
    pub mode: u16,
    /// The owning group.
    pub gid: u32,
    /// The time of the last change; also atime and ctime.
    pub mtime: SystemTime,
    /// 0 once the name is gone.
    pub nlink: u32,
}

/// What LOOKUP found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Its attributes.
    pub attr: Attr,
    /// Tells the inode from an earlier one of the same number.
    pub generation: u64,
    /// Whether the kernel may believe the name and the attributes for as long as it likes; `..data`
    /// and `..<n>` are asked for each time.
    pub lasting: bool,
}

/// What there is to say of an inode beyond its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The object that a file came from; all of them for the volume's root.
    pub objects: Vec<ObjectVersion>,
    /// The keyed hash of the contents.
    pub digest: Digest,
    /// The current version.
    pub version: u32,
    /// When the inode last changed.
    pub committed: SystemTime,
}

/// One line of a folder's listing.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The inode's number.
    pub ino: u64,
    /// Where a listing that stopped behind this line goes on.
    pub offset: u64,
    /// Folder or file.
    pub kind: FileType,
    /// The name.
    pub name: &'a str,
}

fn attr(ino: u64, node: &Node) -> Attr {
    let (size, links) = match &node.content {
        Content::Dir(_) => (0, 2),
        // Two for a file that came back while it was held. At one the kernel would destroy the
        // watches of all who hold it when its new name goes again, though the old ones were let be
        // (`dentry_unlink_inode`, `fs/dcache.c`).
        Content::File(bytes) => (bytes.len() as u64, 1 + u32::from(node.revived)),
        Content::Dotdata => (0, 1),
    };
    Attr {
        ino,
        kind: node.file_type(),
        size,
        mode: node.mode,
        gid: node.gid,
        mtime: node.mtime,
        nlink: if node.linked { links } else { 0 },
    }
}

impl Volume {
    /// LOOKUP: the inode behind a name, which the kernel knows from then on.
    pub fn lookup(&self, parent: u64, name: &str) -> Result<Looked, FsError> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        // The rename of a staged name may fail, and the kernel must not remember it then.
        let mut lasting = parent != state.tree.stage;
        let ino = if parent == state.tree.files && name.starts_with("..") {
            lasting = false;
            state.reserved(name)?
        } else if parent == state.tree.stage && name == DOTDATA && state.armed.awaits_dotdata() {
            lasting = false;
            state.prepare_dotdata(state.version)
        } else {
            state.tree.child(parent, name)?
        };
        state.looked_up(ino);
        let attr = state.attr(ino)?;
        let generation = state.tree.get(ino)?.generation;
        Ok(Looked {
            attr,
            generation,
            lasting,
        })
    }

    /// FORGET: the kernel drops so many of its lookups.
    pub fn forget(&self, ino: u64, count: u64) {
        self.state.lock().forget(ino, count);
    }

    /// GETATTR.
    pub fn attr(&self, ino: u64) -> Result<Attr, FsError> {
        self.state.lock().attr(ino)
    }

    /// READLINK: `..data` alone is a link.
    pub fn readlink(&self, ino: u64) -> Result<String, FsError> {
        let state = self.state.lock();
        match state.tree.get(ino)?.content {
            Content::Dotdata => Ok(state.dotdata_target()),
            Content::Dir(_) | Content::File(_) => Err(FsError::NotALink),
        }
    }

    /// What there is to say of an inode beyond its attributes. Nothing of one whose name is gone.
    pub fn label(&self, ino: u64) -> Result<Label, FsError> {
        let state = self.state.lock();
        let node = state.tree.get(ino)?;
        let path = match &node.identity {
            Identity::Path(_, path) if node.linked => Some(path),
            _ => None,
        };
        let file = path.and_then(|path| state.current.file(path.as_str()));
        let objects = match file {
            Some(file) => state
                .current
                .objects
                .get(file.object)
                .into_iter()
                .cloned()
                .collect(),
            None if ino == state.tree.files => state.current.objects.clone(),
            None => return Err(FsError::NoAttr),
        };
        Ok(Label {
            objects,
            digest: file.map_or(state.current.digest, |file| file.digest),
            version: state.version,
            committed: node.mtime,
        })
    }

    /// OPEN. The answer comes at once, or when the commit that changes this file has let it go.
    pub fn open(
        &self,
        ino: u64,
        write: bool,
        answer: impl FnOnce(Result<Opened, FsError>) + Send + 'static,
    ) {
        let mut state = self.state.lock();
        if let Some(park) = &mut state.park
            && !write
            && park.inos.contains(&ino)
        {
            park.waiting.push((ino, Box::new(answer)));
            return;
        }
        let opened = state.open(ino, write);
        drop(state);
        answer(opened);
    }

    /// READ: the bytes of the pinned version through the handle, of the current one through the page
    /// cache. The page cache belongs to all handles of a file; filled from a pin it would hand an old
    /// version to a new handle.
    pub fn read(
        &self,
        ino: u64,
        handle: u64,
        range: (u64, u32),
        reader: Reader,
    ) -> Result<(Bytes, std::ops::Range<usize>), FsError> {
        let (offset, size) = range;
        let end = offset.saturating_add(size.into());
        let mut state = self.state.lock();
        let bytes = match reader {
            Reader::Handle => {
                let (bytes, drained) = state.handles.read(handle, ino, end)?;
                if drained {
                    self.drained.notify_all();
                }
                bytes
            }
            Reader::PageCache => match &state.tree.get(ino)?.content {
                Content::File(bytes) => bytes.clone(),
                Content::Dir(_) | Content::Dotdata => return Err(FsError::IsDir),
            },
        };
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let part = clamp(offset)..clamp(end);
        Ok((bytes, part))
    }

    /// RELEASE.
    pub fn release(&self, handle: u64) {
        let mut state = self.state.lock();
        if state.handles.release(handle) {
            self.drained.notify_all();
        }
    }

    /// READDIR from an offset; `fill` says when its buffer is full. Offsets are inode numbers, so a
    /// name that stays is listed exactly once while others come and go.
    pub fn list(
        &self,
        ino: u64,
        offset: u64,
        mut fill: impl FnMut(&Listed<'_>) -> bool,
    ) -> Result<(), FsError> {
        let state = self.state.lock();
        let parent = state.tree.get(ino)?.parent;
        let children = state.tree.children(ino)?;
        for (number, at, name) in [(ino, 1, "."), (parent, 2, "..")] {
            let line = Listed {
                ino: number,
                offset: at,
                kind: FileType::Dir,
                name,
            };
            if offset < at && fill(&line) {
                return Ok(());
            }
        }
        for (child, name) in children.after(offset.max(2)) {
            let line = Listed {
                ino: child,
                offset: child,
                kind: state.tree.get(child)?.file_type(),
                name,
            };
            if fill(&line) {
                break;
            }
        }
        Ok(())
    }

    /// The versions that are and were served, the current one first.
    pub fn served(&self) -> Vec<Served> {
        let state = self.state.lock();
        state.history.all(|version| state.handles.held(version))
    }

    /// How many inodes there are, and how many bytes the current version holds.
    pub fn usage(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.tree.len() as u64, state.shown.bytes())
    }

    /// WRITE, or SETATTR of the mtime alone: the ring. Its bytes are ignored.
    pub fn ring(&self, ino: u64) -> Result<Attr, FsError> {
        let mut state = self.state.lock();
        if state.armed.live() != Some(&ArmedOp::Ring { ino }) {
            return Err(FsError::ReadOnly);
        }
        state.armed.advance();
        state.attr(ino)
    }

    /// RENAME: a staged name appears, complete from its first moment.
    pub fn rename(&self, from: (u64, &str), to: (u64, &str)) -> Result<(), FsError> {
        if from.1 == DOTDATA {
            return self.replace_dotdata(from, to);
        }
        self.armed(
            |state| {
                matches!(state.armed.live(), Some(ArmedOp::Rename { stage, parent, name })
                    if from == (state.tree.stage, stage) && to == (*parent, name))
            },
            |tree, now| tree.rename(from, to, now),
        )
    }

    fn replace_dotdata(&self, from: (u64, &str), to: (u64, &str)) -> Result<(), FsError> {
        let mut state = self.state.lock();
        let places = ((state.tree.stage, DOTDATA), (state.tree.files, DOTDATA));
        if state.armed.live() != Some(&ArmedOp::Dotdata) || (from, to) != places {
            return Err(FsError::ReadOnly);
        }
        let version = state.version;
        state.replace_dotdata(version);
        state.armed.advance();
        Ok(())
    }

    /// UNLINK.
    pub fn unlink(&self, folder: u64, leaf: &str) -> Result<(), FsError> {
        self.armed(
            |state| {
                matches!(state.armed.live(), Some(ArmedOp::Unlink { parent, name })
                    if (folder, leaf) == (*parent, name))
            },
            |tree, now| tree.remove(folder, leaf, FileType::File, now),
        )
    }

    /// RMDIR.
    pub fn rmdir(&self, folder: u64, leaf: &str) -> Result<(), FsError> {
        self.armed(
            |state| {
                matches!(state.armed.live(), Some(ArmedOp::Rmdir { parent, name })
                    if (folder, leaf) == (*parent, name))
            },
            |tree, now| tree.remove(folder, leaf, FileType::Dir, now),
        )
    }

    fn armed(
        &self,
        is_live: impl FnOnce(&State) -> bool,
        change: impl FnOnce(&mut Tree, SystemTime) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let mut state = self.state.lock();
        if !is_live(&state) {
            return Err(FsError::ReadOnly);
        }
        let now = state.committed;
        change(&mut state.tree, now)?;
        state.armed.advance();
        Ok(())
    }

    /// Lets parked opens go whose time is over.
    pub(super) fn unpark_due(&self, now: Instant) {
        let state = self.state.lock();
        if state.park.as_ref().is_some_and(|park| park.until <= now) {
            Self::let_go(state);
        }
    }

    /// Ends the park and answers all who waited in it, without the lock.
    pub(super) fn let_go(mut state: MutexGuard<'_, State>) {
        let waiting = state
            .park
            .take()
            .map(|park| park.waiting)
            .unwrap_or_default();
        let answers: Vec<(Opener, _)> = waiting
            .into_iter()
            .map(|(ino, answer)| {
                let opened = state.open(ino, false);
                (answer, opened)
            })
            .collect();
        drop(state);
        for (answer, opened) in answers {
            answer(opened);
        }
    }
}

impl State {
    fn open(&mut self, ino: u64, write: bool) -> Result<Opened, FsError> {
        let Content::File(bytes) = &self.tree.get(ino)?.content else {
            return Err(FsError::IsDir);
        };
        if write && self.armed.live() != Some(&ArmedOp::Ring { ino }) {
            return Err(FsError::ReadOnly);
        }
        let bytes = (!write).then(|| bytes.clone());
        let version = self.version_seen(ino).unwrap_or(self.version);
        if !write {
            self.history.opened(version, SystemTime::now());
        }
        let number = self.handles.open(ino, version, bytes, Instant::now());
        Ok(Opened { number })
    }

    fn attr(&self, ino: u64) -> Result<Attr, FsError> {
        let mut attr = attr(ino, self.tree.get(ino)?);
        if attr.kind == FileType::Symlink {
            attr.size = self.dotdata_target().len() as u64;
            attr.mtime = self.committed;
        }
        Ok(attr)
    }
}
