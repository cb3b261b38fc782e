//! Why a source could not be read: its file, then line, object and key, then one sentence.
//!
//! No value and no line of the file is ever quoted, for it may be a Secret's. A key is named where
//! the API would accept it, or where it belongs to a `ConfigMap`: a Secret's illegal key is most
//! likely a value that slipped out of its place, and the line says enough. What can be wrong with
//! the contents is listed in `fault`, which of the machine's limits was met in `limit`.

use std::fmt;
use std::io;
use std::path::PathBuf;

use livemount_engine::object::ObjectKey;
use thiserror::Error;
use tokio::task::JoinHandle;

use super::fault::ManifestFault;
use super::limit::Limit;
use crate::yaml::YamlFlaw;

/// Why a source could not be read, or not all of it.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A file's contents were refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Two files tell one object. Shown as
    /// `b.yaml:1: ConfigMap default/app: told twice, first at a.yaml:7`.
    #[error("{}: {object}: told twice, first at {}", .locations[1], .locations[0])]
    Duplicate {
        /// The object.
        object: ObjectKey,
        /// Where it is told.
        locations: Box<[Location; 2]>,
    },
    /// It is not there.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// The directory is not there any more.
    #[error("{}: there is no such folder", .0.display())]
    NoDirectory(PathBuf),
    /// It is there and has no bytes.
    #[error("{}: the file is empty", .0.display())]
    Empty(PathBuf),
    /// It is a directory, a device, a pipe.
    #[error("{}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// It is not at rest, so that half of it might be read.
    #[error("{}: somebody has it open for writing", .0.display())]
    Busy(PathBuf),
    /// The system does not let it be read.
    #[error("{}: cannot be read: {source}{}", .file.display(), Limit::advice(.limit.as_ref()))]
    Read {
        /// The file or directory.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
        /// The limit that was met, if one was.
        limit: Option<Limit>,
    },
    /// The system does not let it be watched.
    #[error("{}: cannot be watched: {source}{}", .file.display(), Limit::advice(.limit.as_ref()))]
    Watch {
        /// The file or directory.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
        /// The limit that was met, if one was.
        limit: Option<Limit>,
    },
    /// The watch ended although nobody asked it to.
    #[error("the source is not watched any more")]
    Ended,
}

impl SourceError {
    /// Why the task of a watch has ended.
    pub async fn ended(task: JoinHandle<Result<(), Self>>) -> Self {
        match task.await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => Self::Ended,
        }
    }

    pub(super) fn read(file: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Read {
            file: file.into(),
            limit: Limit::of_opening(&source),
            source,
        }
    }

    pub(super) fn watch(file: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Watch {
            file: file.into(),
            limit: Limit::of_watching(&source),
            source,
        }
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file, as its reader named it.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A manifest that was refused. Shown as
/// `app.yaml:12: ConfigMap default/app: key "port": the value is a number; …`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ManifestError {
    /// The file, as its reader named it.
    pub file: PathBuf,
    /// What is wrong in it, and where.
    pub flaw: Box<ManifestFlaw>,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.flaw.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(object) = &self.flaw.object {
            write!(f, "{object}: ")?;
        }
        if let Some(key) = &self.flaw.key {
            write!(f, "key {key:?}: ")?;
        }
        self.flaw.fault.fmt(f)
    }
}

/// A fault and its location within the file, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFlaw {
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The object.
    pub object: Option<ObjectKey>,
    /// The key of the object's data.
    pub key: Option<String>,
    /// What is wrong.
    pub fault: ManifestFault,
}

impl ManifestFlaw {
    /// A fault of which only the line is known.
    pub(super) fn at(line: usize, fault: impl Into<ManifestFault>) -> Box<Self> {
        Self::new(Some(line), fault.into())
    }

    fn new(line: Option<usize>, fault: ManifestFault) -> Box<Self> {
        Box::new(Self {
            line,
            object: None,
            key: None,
            fault,
        })
    }

    /// The same, in an object.
    pub(super) fn of(mut self: Box<Self>, object: &ObjectKey) -> Box<Self> {
        self.object = Some(object.clone());
        self
    }

    /// The same, at a key of an object.
    pub(super) fn key(mut self: Box<Self>, key: &str) -> Box<Self> {
        self.key = Some(key.to_owned());
        self
    }
}

impl From<YamlFlaw> for Box<ManifestFlaw> {
    fn from(flaw: YamlFlaw) -> Self {
        ManifestFlaw::new(flaw.line, flaw.fault.into())
    }
}
