//! What the filesystem asks of a volume: one function for each request.

use std::ops::Range;
use std::time::SystemTime;

use livemount_engine::object::Bytes;
use livemount_engine::snapshot::{Digest, ObjectVersion};

use crate::armed::Change;
use crate::error::FsError;
use crate::handles::{Opened, Reader};
use crate::history::Served;
use crate::inodes::{FileType, Identity};
use crate::now::{Monotonic, Now};
use crate::number::{HandleNumber, Inode, Ticket, VersionNumber};
use crate::park::{LetGo, OpenAnswer};
use crate::state::State;
use crate::tree::{Content, Node, Tree};
use crate::version_dirs::DOTDATA;

/// An inode's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// The inode's number.
    pub ino: Inode,
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
    pub version: VersionNumber,
    /// When the inode last changed.
    pub committed: SystemTime,
}

/// One line of a folder's listing.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The inode's number.
    pub ino: Inode,
    /// Where a listing that stopped behind this line goes on.
    pub offset: u64,
    /// Folder or file.
    pub kind: FileType,
    /// The name.
    pub name: &'a str,
}

/// What a READ gives.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadAnswer {
    /// The whole contents.
    pub bytes: Bytes,
    /// The part that was asked for.
    pub part: Range<usize>,
    /// Whether the handle was read to its end now, for the first time.
    pub ended: bool,
    /// Whether the drain waits for nobody any more.
    pub drained: bool,
}

fn attr(ino: Inode, node: &Node) -> Attr {
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

impl State {
    /// LOOKUP: the inode behind a name, which the kernel knows from then on.
    ///
    /// # Errors
    ///
    /// [`FsError::NoName`]; [`FsError::NotDir`] below a file, [`FsError::Stale`] below what is gone.
    pub fn lookup(&mut self, parent: Inode, name: &str, now: Monotonic) -> Result<Looked, FsError> {
        // The rename of a staged name may fail, and the kernel must not remember it then.
        let mut lasting = parent != self.tree.stage;
        let ino = if parent == self.tree.files && name.starts_with("..") {
            lasting = false;
            self.reserved(name, now)?
        } else if parent == self.tree.stage && name == DOTDATA && self.armed.awaits_dotdata() {
            lasting = false;
            self.prepare_dotdata(self.version)
        } else {
            self.tree.child(parent, name)?
        };
        self.looked_up(ino);
        let attr = self.attr(ino)?;
        let generation = self.tree.get(ino)?.generation;
        Ok(Looked {
            attr,
            generation,
            lasting,
        })
    }

    /// GETATTR.
    ///
    /// # Errors
    ///
    /// [`FsError::Stale`].
    pub fn attr(&self, ino: Inode) -> Result<Attr, FsError> {
        let mut attr = attr(ino, self.tree.get(ino)?);
        if attr.kind == FileType::Symlink {
            attr.size = self.dotdata_target().len() as u64;
            attr.mtime = self.committed;
        }
        Ok(attr)
    }

    /// READLINK: `..data` alone is a link.
    ///
    /// # Errors
    ///
    /// [`FsError::NotALink`], [`FsError::Stale`].
    pub fn readlink(&self, ino: Inode) -> Result<String, FsError> {
        match self.tree.get(ino)?.content {
            Content::Dotdata => Ok(self.dotdata_target()),
            Content::Dir(_) | Content::File(_) => Err(FsError::NotALink),
        }
    }

    /// What there is to say of an inode beyond its attributes. Nothing of one whose name is gone.
    ///
    /// # Errors
    ///
    /// [`FsError::NoAttr`] of one that has no label, [`FsError::Stale`].
    pub fn label(&self, ino: Inode) -> Result<Label, FsError> {
        let node = self.tree.get(ino)?;
        let path = match &node.identity {
            Identity::Path(_, path) if node.linked => Some(path),
            _ => None,
        };
        let file = path.and_then(|path| self.current.file(path.as_str()));
        let objects = match file {
            Some(file) => self
                .current
                .objects
                .get(file.object)
                .into_iter()
                .cloned()
                .collect(),
            None if ino == self.tree.files => self.current.objects.clone(),
            None => return Err(FsError::NoAttr),
        };
        Ok(Label {
            objects,
            digest: file.map_or(self.current.digest, |file| file.digest),
            version: self.version,
            committed: node.mtime,
        })
    }

    /// OPEN. A parked one is answered by whatever lets it go: [`State::unpark`] or
    /// [`State::unpark_due`].
    pub fn open(&mut self, ino: Inode, write: bool, now: Now) -> OpenAnswer {
        if let Some(park) = &mut self.park
            && !write
            && park.inos.contains(&ino)
        {
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            park.waiting.push((ticket, ino));
            return OpenAnswer::Parked(ticket);
        }
        OpenAnswer::Now(self.open_now(ino, write, now))
    }

    fn open_now(&mut self, ino: Inode, write: bool, now: Now) -> Result<Opened, FsError> {
        let Content::File(bytes) = &self.tree.get(ino)?.content else {
            return Err(FsError::IsDir);
        };
        if write && !self.armed.rings(ino) && !self.armed.rang(ino) {
            return Err(FsError::ReadOnly);
        }
        let bytes = (!write).then(|| bytes.clone());
        let version = self.version_seen(ino).unwrap_or(self.version);
        if !write {
            self.history.opened(version, now.wall);
        }
        let number = self.handles.open(ino, version, bytes, now.monotonic);
        Ok(Opened { number })
    }

    /// READ: the bytes of the pinned version through the handle, of the current one through the page
    /// cache. The page cache belongs to all handles of a file; filled from a pin it would hand an old
    /// version to a new handle.
    ///
    /// # Errors
    ///
    /// [`FsError::Stale`] where the inode is gone, or the version that the handle pinned was dropped;
    /// [`FsError::IsDir`].
    pub fn read(
        &mut self,
        ino: Inode,
        handle: HandleNumber,
        range: (u64, u32),
        reader: Reader,
    ) -> Result<ReadAnswer, FsError> {
        let (offset, size) = range;
        let end = offset.saturating_add(size.into());
        let (bytes, ended, drained) = match reader {
            Reader::Handle => self.handles.read(handle, ino, end)?,
            Reader::PageCache => match &self.tree.get(ino)?.content {
                Content::File(bytes) => (bytes.clone(), false, false),
                Content::Dir(_) | Content::Dotdata => return Err(FsError::IsDir),
            },
        };
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let part = clamp(offset)..clamp(end);
        Ok(ReadAnswer {
            bytes,
            part,
            ended,
            drained,
        })
    }

    /// RELEASE. Tells whether the drain waits for nobody any more.
    pub fn release(&mut self, handle: HandleNumber) -> bool {
        self.handles.release(handle)
    }

    /// READDIR from an offset; `fill` says when its buffer is full. Offsets are inode numbers, so a
    /// name that stays is listed exactly once while others come and go.
    ///
    /// # Errors
    ///
    /// [`FsError::NotDir`], [`FsError::Stale`].
    pub fn list(
        &self,
        ino: Inode,
        offset: u64,
        mut fill: impl FnMut(&Listed<'_>) -> bool,
    ) -> Result<(), FsError> {
        let parent = self.tree.get(ino)?.parent;
        let children = self.tree.children(ino)?;
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
        for (child, name) in children.after(Inode(offset.max(2))) {
            let line = Listed {
                ino: child,
                offset: child.0,
                kind: self.tree.get(child)?.file_type(),
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
        self.history.all(|version| self.handles.held(version))
    }

    /// How many inodes there are, and how many bytes the current version holds.
    pub fn usage(&self) -> (u64, u64) {
        (self.tree.len() as u64, self.shown.bytes())
    }

    /// WRITE, or SETATTR of the mtime alone: the ring. Its bytes are ignored.
    ///
    /// # Errors
    ///
    /// [`FsError::ReadOnly`], unless this very ring is armed.
    pub fn ring(&mut self, ino: Inode) -> Result<Attr, FsError> {
        if self.armed.rang(ino) && !self.armed.rings(ino) {
            return self.attr(ino);
        }
        if !self.armed.rings(ino) {
            return Err(FsError::ReadOnly);
        }
        self.armed.advance();
        self.attr(ino)
    }

    /// RENAME: a staged name appears, complete from its first moment.
    ///
    /// # Errors
    ///
    /// [`FsError::ReadOnly`], unless this very rename is armed; [`FsError::Exists`].
    pub fn rename(&mut self, from: (Inode, &str), to: (Inode, &str)) -> Result<(), FsError> {
        if from.1 == DOTDATA {
            return self.rename_dotdata(from, to);
        }
        let stage_folder = self.tree.stage;
        let this = |change: &Change| {
            matches!(change, Change::Rename { path, stage, parent }
                if from == (stage_folder, stage) && to == (*parent, path.name()))
        };
        self.change(this, |tree, now| tree.rename(from, to, now))
    }

    fn rename_dotdata(&mut self, from: (Inode, &str), to: (Inode, &str)) -> Result<(), FsError> {
        let places = ((self.tree.stage, DOTDATA), (self.tree.files, DOTDATA));
        if self.armed.repeated() == Some(&Change::Dotdata) && (from, to) == places {
            return Ok(());
        }
        if self.armed.live() != Some(&Change::Dotdata) || (from, to) != places {
            return Err(FsError::ReadOnly);
        }
        self.replace_dotdata(self.version);
        self.armed.advance();
        Ok(())
    }

    /// UNLINK.
    ///
    /// # Errors
    ///
    /// [`FsError::ReadOnly`], unless this very removal is armed.
    pub fn unlink(&mut self, folder: Inode, leaf: &str) -> Result<(), FsError> {
        let this = |change: &Change| {
            matches!(change, Change::Unlink { path, parent }
                if (folder, leaf) == (*parent, path.name()))
        };
        self.change(this, |tree, now| {
            tree.remove(folder, leaf, FileType::File, now)
        })
    }

    /// RMDIR.
    ///
    /// # Errors
    ///
    /// [`FsError::ReadOnly`], unless this very removal is armed; [`FsError::NotEmpty`].
    pub fn rmdir(&mut self, folder: Inode, leaf: &str) -> Result<(), FsError> {
        let this = |change: &Change| {
            matches!(change, Change::Rmdir { path, parent }
                if (folder, leaf) == (*parent, path.name()))
        };
        self.change(this, |tree, now| {
            tree.remove(folder, leaf, FileType::Dir, now)
        })
    }

    /// Does the live change of a name, where it is `this`, and moves on to the next. The one before it, where
    /// its answer may not have reached the kernel, is done already.
    fn change(
        &mut self,
        this: impl Fn(&Change) -> bool,
        change: impl FnOnce(&mut Tree, SystemTime) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        if !self.armed.live().is_some_and(&this) {
            return if self.armed.repeated().is_some_and(this) {
                Ok(())
            } else {
                Err(FsError::ReadOnly)
            };
        }
        change(&mut self.tree, self.committed)?;
        self.armed.advance();
        Ok(())
    }

    /// Lets the opens go that the commit held back.
    #[must_use = "each that is let go waits for its answer"]
    pub fn unpark(&mut self, now: Now) -> LetGo {
        let waiting = self.park.take().map(|park| park.waiting);
        let waiting = waiting.unwrap_or_default().into_iter();
        waiting
            .map(|(ticket, ino)| (ticket, self.open_now(ino, false, now)))
            .collect()
    }

    /// Until when opens are held back, where any are: then it is time for [`State::unpark`], whatever the
    /// commit does.
    pub fn parks_until(&self) -> Option<Monotonic> {
        self.park.as_ref().map(|park| park.until)
    }

    /// Lets parked opens go whose time is over.
    #[must_use = "each that is let go waits for its answer"]
    pub fn unpark_due(&mut self, now: Now) -> LetGo {
        match self.parks_until() {
            Some(until) if until <= now.monotonic => self.unpark(now),
            _ => Vec::new(),
        }
    }
}
