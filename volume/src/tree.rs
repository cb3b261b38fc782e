//! The names and inodes that a volume shows, and those that only an open handle, a bind or a watch
//! still knows.
//!
//! The tree changes inside the RENAME, UNLINK and RMDIR handlers alone: the kernel must find a name
//! absent before its rename and present before its unlink, or it turns the call into a no-op and
//! nobody hears of the change. The tree knows nothing of handles and versions.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use livemount_engine::object::Bytes;
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::HashKey;

use crate::error::FsError;
use crate::inodes::{FileType, Fixed, Identity, ROOT, number, usable};
use crate::number::Inode;

/// A folder's children twice: by name for LOOKUP, by number for a READDIR whose offsets stay right
/// while names come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    by_name: HashMap<Box<str>, Inode>,
    by_number: BTreeMap<Inode, Box<str>>,
}

impl Children {
    pub(crate) fn get(&self, name: &str) -> Option<Inode> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn after(&self, number: Inode) -> impl Iterator<Item = (Inode, &str)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.by_number
            .range((Excluded(number), Unbounded))
            .map(|(ino, name)| (*ino, &**name))
    }

    fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn insert(&mut self, name: &str, ino: Inode) {
        self.by_name.insert(name.into(), ino);
        self.by_number.insert(ino, name.into());
    }

    fn remove(&mut self, name: &str) -> Option<Inode> {
        let ino = self.by_name.remove(name)?;
        self.by_number.remove(&ino);
        Some(ino)
    }
}

/// What an inode holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Dir(Children),
    File(Bytes),
    /// `..data`, which leads to the current version's folder.
    Dotdata,
}

/// One inode.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) identity: Identity,
    /// The folder that holds the name; its own number for the root.
    pub(crate) parent: Inode,
    pub(crate) content: Content,
    /// Permission bits.
    pub(crate) mode: u16,
    pub(crate) gid: u32,
    pub(crate) mtime: SystemTime,
    /// Whether a name leads here. Without one the inode answers with link count 0 until the kernel
    /// forgets it.
    pub(crate) linked: bool,
    /// Tells an inode from an earlier one of the same number.
    pub(crate) generation: u64,
    /// Whether it came back while the kernel still knew it.
    pub(crate) revived: bool,
    /// How often the kernel was told of this inode and has not yet forgotten.
    pub(crate) lookups: u64,
}

impl Node {
    pub(crate) fn file_type(&self) -> FileType {
        match self.content {
            Content::Dir(_) => FileType::Dir,
            Content::File(_) => FileType::File,
            Content::Dotdata => FileType::Symlink,
        }
    }
}

/// What a new name is made of.
pub(crate) struct NewNode {
    pub(crate) content: Content,
    pub(crate) mode: u16,
    pub(crate) gid: u32,
    pub(crate) mtime: SystemTime,
}

/// All inodes of a volume.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) key: HashKey,
    pub(crate) nodes: HashMap<Inode, Node>,
    /// The volume's own folder, `/files`.
    pub(crate) files: Inode,
    /// The folder of staged names, `/stage`.
    pub(crate) stage: Inode,
}

impl Tree {
    /// A tree with `/`, `/files` and `/stage`, and no name of the volume.
    pub(crate) fn new(key: HashKey, root_mode: u16, gid: u32, now: SystemTime) -> Self {
        let dir = |identity, mode| Node {
            identity,
            parent: ROOT,
            content: Content::Dir(Children::default()),
            mode,
            gid,
            mtime: now,
            linked: true,
            generation: 0,
            revived: false,
            lookups: 0,
        };
        let mut tree = Self {
            key,
            nodes: HashMap::new(),
            files: ROOT,
            stage: ROOT,
        };
        tree.nodes
            .insert(ROOT, dir(Identity::Fixed(Fixed::Root), 0o700));
        tree.files = tree.attach_fixed("files", dir(Identity::Fixed(Fixed::Files), root_mode));
        tree.stage = tree.attach_fixed("stage", dir(Identity::Fixed(Fixed::Stage), 0o700));
        tree
    }

    fn attach_fixed(&mut self, name: &str, node: Node) -> Inode {
        let ino = self.free_number(&node.identity);
        self.nodes.insert(ino, node);
        if let Some(Content::Dir(children)) = self.nodes.get_mut(&ROOT).map(|n| &mut n.content) {
            children.insert(name, ino);
        }
        ino
    }

    /// The number for an identity: the one that it has, or that is free.
    fn free_number(&self, identity: &Identity) -> Inode {
        let mut attempt = 0;
        loop {
            let ino = number(&self.key, identity, attempt);
            let taken = |node: &Node| node.identity != *identity;
            if usable(ino) && !self.nodes.get(&ino).is_some_and(taken) {
                return ino;
            }
            attempt += 1;
        }
    }

    pub(crate) fn get(&self, ino: Inode) -> Result<&Node, FsError> {
        self.nodes.get(&ino).ok_or(FsError::Stale)
    }

    pub(crate) fn get_mut(&mut self, ino: Inode) -> Result<&mut Node, FsError> {
        self.nodes.get_mut(&ino).ok_or(FsError::Stale)
    }

    pub(crate) fn children(&self, ino: Inode) -> Result<&Children, FsError> {
        match &self.get(ino)?.content {
            Content::Dir(children) => Ok(children),
            Content::File(_) | Content::Dotdata => Err(FsError::NotDir),
        }
    }

    fn children_mut(&mut self, ino: Inode) -> Result<&mut Children, FsError> {
        match &mut self.get_mut(ino)?.content {
            Content::Dir(children) => Ok(children),
            Content::File(_) | Content::Dotdata => Err(FsError::NotDir),
        }
    }

    pub(crate) fn child(&self, parent: Inode, name: &str) -> Result<Inode, FsError> {
        self.children(parent)?.get(name).ok_or(FsError::NoName)
    }

    /// The number behind a path of the volume that is shown now.
    pub(crate) fn resolve(&self, path: &RelPath) -> Result<Inode, FsError> {
        self.resolve_below(self.files, path)
    }

    /// The number behind a path below a folder.
    pub(crate) fn resolve_below(&self, folder: Inode, path: &RelPath) -> Result<Inode, FsError> {
        path.as_str()
            .split('/')
            .try_fold(folder, |folder, name| self.child(folder, name))
    }

    /// Puts a name into a folder: a staged one, one of the first snapshot, one of a version directory. A path's
    /// identity is where the name will be in the volume, wherever it is staged.
    pub(crate) fn insert(
        &mut self,
        parent: Inode,
        name: &str,
        identity: Identity,
        new: NewNode,
    ) -> Result<Inode, FsError> {
        if self.children(parent)?.get(name).is_some() {
            return Err(FsError::Exists);
        }
        let ino = self.insert_unnamed(parent, identity, new);
        self.children_mut(parent)?.insert(name, ino);
        Ok(ino)
    }

    /// Makes an inode that no listing shows.
    pub(crate) fn insert_unnamed(
        &mut self,
        parent: Inode,
        identity: Identity,
        new: NewNode,
    ) -> Inode {
        let ino = self.free_number(&identity);
        let former = self.nodes.get(&ino).filter(|node| node.lookups > 0);
        let lookups = former.map_or(0, |node| node.lookups);
        // A file that comes back while somebody still holds it is the same inode, watches and binds
        // included. A folder cannot be: the kernel marked the held one dead at rmdir (`S_DEAD`,
        // `fs/namei.c`), nothing would ever appear in it again. A new generation makes the kernel
        // leave that one to its holders (`fuse_iget`, `fs/fuse/inode.c`).
        let dead = former.filter(|node| node.file_type() == FileType::Dir);
        let generation = dead.map_or(0, |node| node.generation + 1);
        let revived = former.is_some() && dead.is_none();
        self.nodes.insert(
            ino,
            Node {
                identity,
                parent,
                content: new.content,
                mode: new.mode,
                gid: new.gid,
                mtime: new.mtime,
                linked: true,
                generation,
                revived,
                lookups,
            },
        );
        ino
    }

    /// The inode with this identity, where it exists.
    pub(crate) fn find(&self, identity: &Identity) -> Option<Inode> {
        let ino = self.free_number(identity);
        self.nodes.contains_key(&ino).then_some(ino)
    }

    /// Takes inodes out of the table, whoever knows them: they are stale from then on.
    pub(crate) fn drop_all(&mut self, inodes: impl IntoIterator<Item = Inode>) {
        for ino in inodes {
            self.nodes.remove(&ino);
        }
    }

    /// Moves a name, as RENAME does. Never over another.
    pub(crate) fn rename(
        &mut self,
        from: (Inode, &str),
        to: (Inode, &str),
        now: SystemTime,
    ) -> Result<(), FsError> {
        let ino = self.child(from.0, from.1)?;
        if self.children(to.0)?.get(to.1).is_some() {
            return Err(FsError::Exists);
        }
        self.children_mut(from.0)?.remove(from.1);
        self.children_mut(to.0)?.insert(to.1, ino);
        self.get_mut(ino)?.parent = to.0;
        self.changed(to.0, now);
        Ok(())
    }

    /// Takes a name away, as UNLINK and RMDIR do. The inode stays while the kernel knows it.
    pub(crate) fn remove(
        &mut self,
        parent: Inode,
        name: &str,
        kind: FileType,
        now: SystemTime,
    ) -> Result<(), FsError> {
        let ino = self.child(parent, name)?;
        match (&self.get(ino)?.content, kind) {
            (Content::Dir(_), FileType::File) => return Err(FsError::IsDir),
            (Content::File(_) | Content::Dotdata, FileType::Dir) => return Err(FsError::NotDir),
            (Content::Dir(children), FileType::Dir) if !children.is_empty() => {
                return Err(FsError::NotEmpty);
            }
            _ => {}
        }
        self.children_mut(parent)?.remove(name);
        self.changed(parent, now);
        self.unname(ino);
        Ok(())
    }

    /// Drops every name below a folder, with all that it holds: staged names that were never renamed
    /// in.
    pub(crate) fn discard_below(&mut self, folder: Inode) {
        let names: Vec<Box<str>> = self
            .children(folder)
            .map(|children| children.by_name.keys().cloned().collect())
            .unwrap_or_default();
        for name in names {
            let Ok(ino) = self.child(folder, &name) else {
                continue;
            };
            self.discard_below(ino);
            if let Ok(children) = self.children_mut(folder) {
                children.remove(&name);
            }
            self.unname(ino);
        }
    }

    /// Notes that no name leads to an inode any more.
    pub(crate) fn unname(&mut self, ino: Inode) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.linked = false;
            if node.lookups == 0 {
                self.nodes.remove(&ino);
            }
        }
    }

    /// Notes that a folder's names changed.
    pub(crate) fn changed(&mut self, folder: Inode, now: SystemTime) {
        if let Some(node) = self.nodes.get_mut(&folder) {
            node.mtime = node.mtime.max(now);
        }
    }

    /// Notes that the kernel was told of an inode.
    pub(crate) fn looked_up(&mut self, ino: Inode) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups += 1;
        }
    }

    /// Notes that the kernel forgot an inode; one without a name goes with its last lookup.
    pub(crate) fn forget(&mut self, ino: Inode, count: u64) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups == 0 && !node.linked {
            self.nodes.remove(&ino);
        }
    }

    /// How many inodes are known, those without a name included.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}
