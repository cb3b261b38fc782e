//! Why a volume source was refused: its file, line and field, then one sentence.
//!
//! Field paths are those of the API. A key is named where it is legal; no other text of the file
//! ever is, since nobody knows what was given for a volume source by mistake.

use std::fmt;
use std::path::{Path, PathBuf};

use livemount_engine::downward::{FieldError, ResourceError};
use livemount_engine::object::KeyError;
use livemount_engine::path::PathError;
use livemount_engine::shorten::{IN_A_SENTENCE, shorten};
use thiserror::Error;

use crate::yaml::{ValueType, YamlFault, YamlFlaw};

/// A volume source that was refused. Shown as
/// `volume.yaml:7: configMap.items[1].path: key "app.conf": a path must be relative`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct VolumeSourceError {
    /// The file, as its reader named it.
    pub file: PathBuf,
    /// The line, counted from 1, where there is one.
    pub line: Option<usize>,
    /// The path of the field, unless the sentence names it.
    pub field: Option<String>,
    /// What is wrong.
    pub fault: VolumeSourceFault,
}

impl VolumeSourceError {
    pub(super) fn new(file: &Path, flaw: VolumeSourceFlaw) -> Self {
        let VolumeSourceFlaw { line, field, fault } = flaw;
        Self {
            file: file.to_owned(),
            line,
            field,
            fault: *fault,
        }
    }
}

impl fmt::Display for VolumeSourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        self.fault.fmt(f)
    }
}

/// A fault and its location within the text.
#[derive(Debug)]
pub(super) struct VolumeSourceFlaw {
    line: Option<usize>,
    field: Option<String>,
    fault: Box<VolumeSourceFault>,
}

impl VolumeSourceFlaw {
    /// A fault of the whole text.
    pub(super) fn of_all(fault: VolumeSourceFault) -> Self {
        Self {
            line: None,
            field: None,
            fault: Box::new(fault),
        }
    }

    /// A fault on a line.
    pub(super) fn at(line: usize, fault: VolumeSourceFault) -> Self {
        Self {
            line: Some(line),
            ..Self::of_all(fault)
        }
    }

    /// The same, in a field.
    pub(super) fn of(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }
}

impl From<YamlFlaw> for VolumeSourceFlaw {
    fn from(flaw: YamlFlaw) -> Self {
        Self {
            line: flaw.line,
            ..Self::of_all(VolumeSourceFault::Yaml(flaw.fault))
        }
    }
}

/// What is wrong with a volume source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VolumeSourceFault {
    /// It is wrong whatever it speaks of.
    #[error(transparent)]
    Yaml(#[from] YamlFault),
    /// A text without a document.
    #[error("there is no volume in it; write one of configMap, secret and projected")]
    Nothing,
    /// More than one document.
    #[error("a second document; a volume is one")]
    SecondDocument,
    /// Something else than a mapping.
    #[error(
        "not a volume: it is {0} where a mapping with configMap, secret or projected should be"
    )]
    NotAMapping(ValueType),
    /// None of the sources that are served here.
    #[error("not a volume: it has none of configMap, secret and projected")]
    NoSource,
    /// Several of them.
    #[error("a volume has one of configMap, secret and projected, not several")]
    Several,
    /// An entry of `sources` with nothing in it.
    #[error("it has none of {}", listed(.0))]
    NoProjection(&'static [&'static str]),
    /// An entry of `sources` with several things in it.
    #[error("it has one of {}, not several; write a source for each", listed(.0))]
    SeveralProjections(&'static [&'static str]),
    /// A source whose values are a pod's.
    #[error("{0} is served to pods only: its values are the pod's own")]
    PodsOnly(&'static str),
    /// A source whose values the API signs.
    #[error("{0} is not served; use a volume of its own for it")]
    NotServed(&'static str),
    /// A field that is not there.
    #[error("this field is unknown; {}", known(.0))]
    UnknownField(&'static [&'static str]),
    /// A field that has to be there.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// An item's key that no object can have.
    #[error("{0}")]
    Key(KeyError),
    /// An item of a downward API that names nothing, or both a field and a resource.
    #[error("it has one of fieldRef and resourceFieldRef")]
    FieldOrResource,
    /// A field's version of the API.
    #[error("the version of a pod is v1")]
    ApiVersion,
    /// A field that no volume may show.
    #[error("{0}")]
    Field(FieldError),
    /// A resource or a divisor that no volume may show.
    #[error("{0}")]
    Resource(ResourceError),
    /// An item's path that is none inside a volume.
    #[error("{}{why}", key.as_deref().map(of_key).unwrap_or_default())]
    Path {
        /// The item's key, where it has one.
        key: Option<String>,
        /// The rule that the path breaks.
        why: PathError,
    },
    /// The same path again, in a projected volume.
    #[error("conflicting duplicate paths: the item on line {0} has the same")]
    DuplicatePath(usize),
    /// A path that leads through a file.
    #[error("it leads through the file of the item on line {0}")]
    FileAndFolder(usize),
    /// A mode that is no whole number.
    #[error("a mode is a whole number: 0644, or 420, which is the same")]
    NotAMode,
    /// A mode out of range.
    #[error("a mode is between 0 and 0777, which is 511; write it with a leading 0, as in 0644")]
    ModeRange,
    /// More items than any pod could hold.
    #[error("it names more than {} bytes of keys and paths", super::MAX_BYTES)]
    TooMuch,
}

fn known(fields: &[&str]) -> String {
    let verb = if fields.len() == 1 { "is" } else { "are" };
    format!("there {verb} {}", listed(fields))
}

fn listed(names: &[&str]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.concat(),
    }
}

fn of_key(key: &str) -> String {
    format!("key {:?}: ", shorten(key, IN_A_SENTENCE))
}
