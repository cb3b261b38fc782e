//! What the volume is to show: a volume source that was written for it, or one object.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use livemount_engine::object::ObjectKey;
use livemount_engine::spec::Spec;
use thiserror::Error;

use super::select::{self, SelectError};
use super::{MountError, Options};
use crate::source::manifest::{Manifests, SourceError};
use crate::volume_source::{self, Scope, VolumeSourceError};
use crate::yaml;

/// Why a volume source cannot be used.
#[derive(Debug, Error)]
pub enum SpecError {
    /// It cannot be read.
    #[error("{}: cannot be read: {source}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It was refused.
    #[error(transparent)]
    VolumeSource(#[from] VolumeSourceError),
}

/// What the volume is to show, by which name. `file_errors` are the files of the source that could not
/// be read.
pub(super) fn resolve(
    options: &Options,
    source: Option<&Manifests>,
    file_errors: &mut Vec<SourceError>,
) -> Result<(String, Spec), MountError> {
    if source.is_none()
        && let Err(why) = yaml::name::label(&options.namespace)
    {
        let (namespace, why) = (options.namespace.clone(), why.to_string());
        return Err(SelectError::Namespace { namespace, why }.into());
    }
    let (name, mut spec) = if let Some(file) = &options.volume {
        let scope = Scope {
            origin: &options.source.origin(),
            namespace: &options.namespace,
            pod: None,
        };
        let spec = read(file, scope)?;
        (name_of(&options.mountpoint, &spec), spec)
    } else {
        let key = object(options, source, file_errors)?;
        (key.name.clone(), Spec::of_object(key))
    };
    spec.fs_group = options.fs_group;
    Ok((name, spec))
}

/// The one object that is meant. In a folder and in a cluster it need not be there yet, if it is named.
fn object(
    options: &Options,
    source: Option<&Manifests>,
    file_errors: &mut Vec<SourceError>,
) -> Result<ObjectKey, MountError> {
    if let Some((kind, name)) = &options.select
        && source.is_none_or(Manifests::is_directory)
    {
        return Ok(ObjectKey {
            kind: *kind,
            namespace: options.namespace.clone(),
            name: name.clone(),
            origin: options.source.origin(),
        });
    }
    let Some(source) = source else {
        return Err(SelectError::Unnamed.into());
    };
    let objects = source.objects();
    let selected = select::select(
        source.path(),
        objects.keys(),
        &options.namespace,
        options.select.as_ref(),
    );
    match selected {
        // What is meant may be in the file that could not be read, and so may a second one.
        Ok(_) | Err(SelectError::Nothing(_)) if !file_errors.is_empty() => {
            Err(file_errors.swap_remove(0).into())
        }
        selected => Ok(selected?),
    }
}

fn read(file: &Path, scope: Scope<'_>) -> Result<Spec, SpecError> {
    let failed = |source| SpecError::Read {
        file: file.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let most = volume_source::MAX_BYTES as u64 + 1;
    File::open(file)
        .and_then(|opened| opened.take(most).read_to_end(&mut text))
        .map_err(failed)?;
    Ok(volume_source::parse_volume(file, &text, scope)?)
}

/// What the log calls the volume: as its only object, or else as its mountpoint.
fn name_of(mountpoint: &Path, spec: &Spec) -> String {
    match &spec.sources[..] {
        [only] => only.object.name.clone(),
        _ => mountpoint.file_name().map_or_else(
            || "volume".into(),
            |name| name.to_string_lossy().into_owned(),
        ),
    }
}
