//! The source that the command line names, opened: what can be wrong with it is told before anything is
//! started.

use std::sync::Arc;

use super::{MountError, Options, SourceArg};
use crate::source::kube::{self, Cluster};
use crate::source::manifest::{Manifests, SourceError};
use crate::source::{Mailbox, Source};

/// An opened source.
pub(super) enum OpenedSource {
    Manifests(Box<Manifests>),
    /// Asked nothing yet: a server that is away now is no error.
    Cluster,
}

impl OpenedSource {
    /// Opens it. Beside it stands what could not be read of it, which makes it not useless.
    pub(super) fn open(options: &Options) -> Result<(Self, Vec<SourceError>), MountError> {
        match &options.source {
            SourceArg::Manifests(path) => {
                let mut manifests = Manifests::open(path, &options.namespace)?;
                let errors = manifests.file_errors();
                Ok((Self::Manifests(Box::new(manifests)), errors))
            }
            SourceArg::Cluster => Ok((Self::Cluster, Vec::new())),
        }
    }

    /// What was read when it was opened is as new as now. What cannot be read of it by now comes back.
    pub(super) fn catch_up(&mut self) -> Result<Vec<SourceError>, MountError> {
        match self {
            Self::Manifests(manifests) => {
                manifests.catch_up()?;
                Ok(manifests.file_errors())
            }
            Self::Cluster => Ok(Vec::new()),
        }
    }

    /// The manifests, where its objects can be looked through.
    pub(super) fn manifests(&self) -> Option<&Manifests> {
        match self {
            Self::Manifests(manifests) => Some(manifests),
            Self::Cluster => None,
        }
    }

    /// The source at work, which says what it reads into the mailbox.
    pub(super) async fn watch(self, mailbox: Arc<Mailbox>) -> Result<Arc<dyn Source>, MountError> {
        Ok(match self {
            Self::Manifests(manifests) => Arc::new(manifests.source(mailbox)),
            Self::Cluster => {
                let cluster = Cluster::connect(&kube::Options::default()).await?;
                Arc::new(cluster.source(mailbox))
            }
        })
    }
}
