//! Volume sources in the words of a pod spec: `configMap`, `secret` and `projected`, verbatim.
//!
//! Takes what the API takes and the kubelet serves, and refuses the rest with a sentence that names
//! file, line and field; a mistyped field is never passed over. Pure: a text in, a spec out. Who reads the
//! text, and whether the objects are there, is for others.

mod downward;
mod elements;
mod error;
mod items;
mod mountpoints;
mod volume;

#[cfg(test)]
mod downward_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use std::path::Path;

use livemount_engine::object::Origin;
use livemount_engine::spec::Spec;

use crate::yaml::{Documents, Mapping, Node, Value, ValueType, YamlFlaw};
use error::VolumeSourceFlaw;
pub use error::{VolumeSourceError, VolumeSourceFault};
pub use mountpoints::{MountpointError, mountpoints};
use volume::Reader;

/// The largest text that is read: the largest request that the API takes, in which a whole pod has
/// to find room.
pub const MAX_BYTES: usize = 3 << 20;

/// Which of the volume sources that are served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeSourceType {
    /// One `ConfigMap`.
    ConfigMap,
    /// One Secret.
    Secret,
    /// Several of both, and of what the pod tells of itself.
    Projected,
}

impl VolumeSourceType {
    const ALL: [Self; 3] = [Self::ConfigMap, Self::Secret, Self::Projected];

    /// The field of a volume that holds it.
    pub fn field(self) -> &'static str {
        match self {
            Self::ConfigMap => "configMap",
            Self::Secret => "secret",
            Self::Projected => "projected",
        }
    }
}

/// Whose volume it is: where the names in it belong.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The source that tells its objects.
    pub origin: &'a Origin,
    /// The namespace of its objects.
    pub namespace: &'a str,
    /// The pod that mounts it, where it is one that does; then `projected` may hold its `downwardAPI`.
    pub pod: Option<&'a str>,
}

/// Reads a volume as it stands under `volumes:` of a pod spec: a mapping with one of `configMap`,
/// `secret` and `projected`, and perhaps a `name`, which is not looked at. The file is named in the
/// error and nothing else.
///
/// # Errors
///
/// The first fault, in the order of the text; what depends on several items comes last.
pub fn parse_volume(file: &Path, text: &[u8], scope: Scope<'_>) -> Result<Spec, VolumeSourceError> {
    read(file, text, |mapping, line| {
        Reader::new(scope).volume(mapping, line)
    })
}

/// Reads what stands below `configMap:`, `secret:` or `projected:`.
///
/// # Errors
///
/// As of [`parse_volume`].
pub fn parse_volume_source(
    file: &Path,
    source_type: VolumeSourceType,
    text: &[u8],
    scope: Scope<'_>,
) -> Result<Spec, VolumeSourceError> {
    read(file, text, |mapping, line| {
        Reader::new(scope).volume_source(source_type, mapping, line)
    })
}

/// Gives the text's only mapping to somebody who makes a spec of it.
fn read(
    file: &Path,
    text: &[u8],
    spec: impl FnOnce(&Mapping<'_>, usize) -> Result<Spec, VolumeSourceFlaw>,
) -> Result<Spec, VolumeSourceError> {
    let read = || {
        let mut documents = Documents::new(text, MAX_BYTES)?;
        let first =
            next(&mut documents)?.ok_or(VolumeSourceFlaw::of_all(VolumeSourceFault::Nothing))?;
        if let Some(second) = next(&mut documents)? {
            return Err(VolumeSourceFlaw::at(
                second.line,
                VolumeSourceFault::SecondDocument,
            ));
        }
        match &first.value {
            Value::Mapping(mapping) => spec(mapping, first.line),
            _ => Err(VolumeSourceFlaw::at(
                first.line,
                VolumeSourceFault::NotAMapping(first.value_type()),
            )),
        }
    };
    read().map_err(|flaw| VolumeSourceError::new(file, flaw))
}

/// The next document that is not empty.
fn next<'a>(documents: &mut Documents<'a>) -> Result<Option<std::rc::Rc<Node<'a>>>, YamlFlaw> {
    while let Some(root) = documents.next()? {
        if root.value_type() != ValueType::Null {
            return Ok(Some(root));
        }
    }
    Ok(None)
}
