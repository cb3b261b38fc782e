//! Why a manifest could not be read: its file, then line, object and key, then one sentence.
//!
//! No value and no line of the file is ever quoted, for it may be a Secret's. A key is named where
//! the API would accept it, or where it belongs to a `ConfigMap`: a Secret's illegal key is most
//! likely a value that slipped out of its place, and the line says enough. What can be wrong with
//! the contents is listed in `fault`.

use std::fmt;
use std::io;
use std::path::PathBuf;

use livemount_engine::object::ObjectKey;
use thiserror::Error;
use tokio::task::JoinHandle;

use super::fault::Fault;

/// Why a manifest could not be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// Its contents were refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// It is not there.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// It is there and has no bytes.
    #[error("{}: the file is empty", .0.display())]
    Empty(PathBuf),
    /// It is a folder, a device, a pipe.
    #[error("{}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// It is not at rest, so that half of it might be read.
    #[error("{}: somebody has it open for writing", .0.display())]
    Busy(PathBuf),
    /// The system does not let it be read.
    #[error("{}: cannot be read: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The system does not let it be watched.
    #[error("{}: cannot be watched: {source}{}", .file.display(), advice(.source))]
    Watch {
        /// The file.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The watch ended although nobody asked it to.
    #[error("the manifest is not watched any more")]
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
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => "; the limit fs.inotify.max_user_watches is reached",
        Some(libc::EMFILE) => "; the limit fs.inotify.max_user_instances is reached",
        _ => "",
    }
}

/// A manifest that was refused. Shown as
/// `app.yaml:12: ConfigMap default/app: key "port": the value is a number; …`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ManifestError {
    /// The file, as its reader named it.
    pub file: PathBuf,
    /// What is wrong in it, and where.
    pub flaw: Box<Flaw>,
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

/// A fault and its place within the file, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The object.
    pub object: Option<ObjectKey>,
    /// The key of the object's data.
    pub key: Option<String>,
    /// What is wrong.
    pub fault: Fault,
}

impl Flaw {
    /// A fault of which only the line is known.
    pub(super) fn at(line: usize, fault: Fault) -> Box<Self> {
        Box::new(Self {
            line: Some(line),
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
