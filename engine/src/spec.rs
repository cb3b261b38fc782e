//! Specs: what a volume asks for, parsed once and validated here.
//!
//! A spec is data. It knows no object's contents; `render::render` brings the two together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::downward::Divisor;
use crate::object::ObjectKey;
use crate::path::RelPath;

/// Permission bits of a file, 0 to 0o777; no set-user-id, set-group-id or sticky bit
/// (`ValidateMode`, kubernetes `validation.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Mode(u16);

impl TryFrom<u32> for Mode {
    type Error = ModeError;

    fn try_from(bits: u32) -> Result<Self, ModeError> {
        Self::new(bits)
    }
}

impl From<Mode> for u32 {
    fn from(mode: Mode) -> Self {
        mode.0.into()
    }
}

impl Mode {
    /// What the API sets where nothing is said: 0644 (`defaults.go`).
    pub const DEFAULT: Self = Self(0o644);

    /// Checks the range.
    ///
    /// # Errors
    ///
    /// It is more than 0777.
    pub fn new(bits: u32) -> Result<Self, ModeError> {
        match u16::try_from(bits) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(ModeError(bits)),
        }
    }

    /// The bits.
    pub fn bits(self) -> u16 {
        self.0
    }
}

/// A mode outside 0 to 0777.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a mode is between 0 and 0777, not 0{0:o}")]
pub struct ModeError(pub u32);

/// One key of an object put at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The key in the object; of a Pod, what [`downward`](crate::downward) calls a field.
    pub key: String,
    /// Where its value goes.
    pub path: RelPath,
    /// The file's mode; the volume's default where nothing is said.
    pub mode: Option<Mode>,
    /// What a pod's resource is counted in. Every item for a resource has one, and no other item.
    pub divisor: Option<Divisor>,
}

/// One object that a volume shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Which object.
    pub object: ObjectKey,
    /// Which of its keys, and where; none means every key under its own name.
    pub items: Vec<Item>,
    /// Whether a missing object or key is simply not there instead of an error.
    pub optional: bool,
}

/// What a volume asks for. Later sources overwrite earlier ones on an equal path, as in a projected
/// volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The objects, in order.
    pub sources: Vec<Source>,
    /// The mode of files for which no item says another.
    pub default_mode: Mode,
    /// The group that owns every file, as a pod's `fsGroup` (`SetVolumeOwnership`,
    /// `pkg/volume/volume_linux.go`).
    pub fs_group: Option<u32>,
    /// Folders that hold nothing: other volumes are mounted on them.
    pub mountpoints: Vec<RelPath>,
}

impl Spec {
    /// Every key of one object under its own name, with the API's defaults.
    pub fn of_object(object: ObjectKey) -> Self {
        Self {
            sources: vec![Source {
                object,
                items: Vec::new(),
                optional: false,
            }],
            default_mode: Mode::DEFAULT,
            fs_group: None,
            mountpoints: Vec::new(),
        }
    }

    /// Every object that the spec reads, each once.
    pub fn objects(&self) -> BTreeSet<&ObjectKey> {
        self.sources.iter().map(|source| &source.object).collect()
    }
}
