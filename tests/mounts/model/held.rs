//! What somebody keeps open across commits, and what it has to show for as long as it is kept.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek};
use rustix::io::Errno;

use super::any::What;
use super::truth::{Kind, children, names};
use crate::support::served::Tree;

/// What became of a name since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// It is there, and was all the time.
    Stays,
    /// It has gone, and may have come back as another.
    Gone,
    /// It has gone and come back, or not, in a burst, whose offers may be passed over.
    Unsure,
}

/// One thing that is kept open.
pub struct Hold {
    pub path: String,
    pub kind: Kind,
    pub what: What,
    /// What became of the path and of each folder above it.
    names: BTreeMap<String, Name>,
    file: File,
    /// The version that it was opened in.
    then: Tree,
    /// The last bytes that the name had; several where a burst may have passed some over.
    last: Vec<Vec<u8>>,
}

impl Hold {
    /// Opens a name of the volume, as this tree has it.
    pub fn new(volume: &Path, what: What, path: &str, tree: &Tree) -> Self {
        let flags = match what {
            What::Unread | What::Read => OFlags::RDONLY,
            What::Path => OFlags::PATH,
            What::Folder => OFlags::RDONLY | OFlags::DIRECTORY,
            What::VersionDir => OFlags::PATH | OFlags::DIRECTORY,
        };
        let at = match what {
            What::VersionDir => volume.join("..data"),
            _ => volume.join(path),
        };
        let file = openat(CWD, &at, flags | OFlags::CLOEXEC, Mode::empty())
            .unwrap_or_else(|error| panic!("opening {path}: {error}"));
        let hold = Self {
            path: path.to_owned(),
            kind: match what {
                What::Unread | What::Read | What::Path => Kind::File,
                What::Folder | What::VersionDir => Kind::Folder,
            },
            what,
            names: ancestors(path)
                .map(|at| (at.to_owned(), Name::Stays))
                .collect(),
            file: file.into(),
            then: tree.clone(),
            last: Vec::new(),
        };
        if what == What::Read {
            (&hold.file).read_to_end(&mut Vec::new()).expect("reads");
        }
        hold
    }

    /// What became of a name since this was opened at or below it; nothing if it was not. A file that
    /// is held keeps the folder that it was opened in, even when its own name has gone.
    pub fn name(&self, path: &str) -> Option<Name> {
        match self.what {
            What::VersionDir => None,
            _ => self.names.get(path).copied(),
        }
    }

    /// Notes what a step does to the names.
    pub fn follow(&mut self, trees: &[Tree]) {
        let of_path = |tree: &Tree| Some(tree.get(&self.path)?.0.clone());
        if trees[0].contains_key(&self.path) {
            self.last.clear();
        }
        self.last.extend(trees.iter().filter_map(of_path));
        let kinds: Vec<_> = trees.iter().map(names).collect();
        for (path, name) in &mut self.names {
            let kind = if *path == self.path {
                self.kind
            } else {
                Kind::Folder
            };
            let there = |kinds: &BTreeMap<String, Kind>| kinds.get(path) == Some(&kind);
            if *name == Name::Gone || kinds.iter().all(there) {
                continue;
            }
            *name = if trees.len() > 2 {
                Name::Unsure
            } else {
                Name::Gone
            };
        }
    }

    /// Compares it with what it has to show while the volume shows `now`.
    pub fn check(&self, now: &Tree) -> Result<(), String> {
        match self.what {
            What::Unread | What::Read => {
                let bytes = read(&self.file)?;
                same("the handle", &bytes, &self.then[&self.path].0)?;
                self.check_stat(now)
            }
            What::Path => {
                let again = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
                    .map_err(|error| format!("opening again: {error}"))?;
                let bytes = read(&again)?;
                match now.get(&self.path) {
                    Some((current, _)) => same("opened again", &bytes, current)?,
                    None if self.last.contains(&bytes) => {}
                    None => return Err(format!("opened again: {} other bytes", bytes.len())),
                }
                self.check_stat(now)
            }
            What::Folder => self.check_folder(now),
            What::VersionDir => self.check_version_dir(),
        }
    }

    /// fstat tells of the present, whatever was opened.
    fn check_stat(&self, now: &Tree) -> Result<(), String> {
        let meta = self.file.metadata().map_err(|error| error.to_string())?;
        match now.get(&self.path) {
            Some((bytes, _)) if meta.nlink() == 0 || meta.len() != bytes.len() as u64 => Err(
                format!("fstat: {} bytes, {} links", meta.len(), meta.nlink()),
            ),
            None if meta.nlink() != 0 => Err(format!("fstat: {} links of none", meta.nlink())),
            _ => Ok(()),
        }
    }

    fn check_folder(&self, now: &Tree) -> Result<(), String> {
        let listed = list(&self.file);
        match self.names[&self.path] {
            Name::Stays => {
                let mut expected: Vec<String> = children(&names(now), &self.path)
                    .map(|(name, _)| name.to_owned())
                    .collect();
                expected.sort();
                let listed = listed.map_err(|error| format!("listing: {error}"))?;
                if listed != expected {
                    return Err(format!("it lists {listed:?} instead of {expected:?}"));
                }
                Ok(())
            }
            // The kernel lists nothing of a folder that was removed.
            Name::Gone if listed != Err(Errno::NOENT) => Err(format!("it lists {listed:?}")),
            Name::Gone | Name::Unsure => Ok(()),
        }
    }

    fn check_version_dir(&self) -> Result<(), String> {
        let root = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        let mut left = names(&self.then);
        left.remove("");
        let mut found = BTreeMap::new();
        walk(&root, "", &mut found)?;
        if found != left {
            return Err(format!("..data shows {found:?} instead of {left:?}"));
        }
        for (path, (bytes, _)) in &self.then {
            let read = fs::read(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
            same(path, &read, bytes)?;
        }
        Ok(())
    }
}

/// A path and every folder above it that has a name.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0))
}

/// Every name below a folder.
pub fn walk(root: &Path, at: &str, found: &mut BTreeMap<String, Kind>) -> Result<(), String> {
    let said = |error: std::io::Error| format!("listing {at:?}: {error}");
    for entry in fs::read_dir(root.join(at)).map_err(said)? {
        let entry = entry.map_err(said)?;
        let name = entry.file_name();
        let name = name.to_str().ok_or("a name that is no text")?;
        let path = if at.is_empty() {
            name.to_owned()
        } else {
            format!("{at}/{name}")
        };
        let kind = if entry.file_type().map_err(said)?.is_dir() {
            walk(root, &path, found)?;
            Kind::Folder
        } else {
            Kind::File
        };
        if found.insert(path.clone(), kind).is_some() {
            return Err(format!("{path} is listed twice"));
        }
    }
    Ok(())
}

/// Every byte through a handle, wherever it stands.
fn read(file: &File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut part = vec![0; 64 << 10];
    loop {
        let got = file
            .read_at(&mut part, bytes.len() as u64)
            .map_err(|error| format!("reading: {error}"))?;
        if got == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&part[..got]);
    }
}

/// The names that a folder's own handle lists from its start, sorted.
fn list(folder: &File) -> Result<Vec<String>, Errno> {
    seek(folder, SeekFrom::Start(0))?;
    let mut buffer = [MaybeUninit::uninit(); 8 << 10];
    let mut entries = RawDir::new(folder, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        let name = name.into_string().expect("text");
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Fails where bytes differ, without printing them all.
pub fn same(what: &str, found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let at = found
        .iter()
        .zip(expected)
        .take_while(|(a, b)| a == b)
        .count();
    Err(format!(
        "{what}: {} bytes instead of {}, other ones from {at} on",
        found.len(),
        expected.len()
    ))
}
