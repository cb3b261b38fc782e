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

/// Reads a volume as it stands under `volumes:` of a pod spec: a mapping with one of `configMap`,
/// `secret` and `projected`, and perhaps a `name`, which is not looked at. The origin is named in
/// the error and nothing else; the objects are those of the namespace.
///
/// # Errors
///
/// The first fault, in the order of the text; what depends on several items comes last.
pub fn parse_volume(
    origin: &Path,
    text: &[u8],
    namespace: &str,
) -> Result<Spec, VolumeSourceError> {
    read(origin, text, |mapping, line| {
        Reader::new(namespace, None).volume(mapping, line)
    })
}

/// Reads what stands below `configMap:`, `secret:` or `projected:`. The objects are those of the
/// namespace. With the name of the pod that mounts the volume, `projected` may hold that pod's
/// `downwardAPI`.
///
/// # Errors
///
/// As of [`parse_volume`].
pub fn parse_volume_source(
    origin: &Path,
    source_type: VolumeSourceType,
    text: &[u8],
    namespace: &str,
    pod: Option<&str>,
) -> Result<Spec, VolumeSourceError> {
    read(origin, text, |mapping, line| {
        Reader::new(namespace, pod).volume_source(source_type, mapping, line)
    })
}

/// Gives the text's only mapping to somebody who makes a spec of it.
fn read(
    origin: &Path,
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
    read().map_err(|flaw| VolumeSourceError::new(origin, flaw))
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
