//! Where a volume's objects come from: manifests, or an API server. The loop hears one kind of news.

use std::sync::Arc;

use livemount_engine::object::ObjectKey;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::MountError;
use crate::source::kube::{Cluster, Heard, KubeError, KubeSource, Options, Said};
use crate::source::manifest::{Manifests, Objects, Reading, SourceError};

/// What there is to hear.
pub(super) enum News {
    /// All that the manifests hold now.
    Objects(Objects),
    /// One object, from an API server.
    Said(Said),
    /// Something cannot be read: why, in one sentence.
    Unreadable(String),
}

/// A source at work.
pub(super) enum Feed {
    Manifests {
        readings: mpsc::Receiver<Reading>,
        again: Arc<Notify>,
        /// Until its end was told.
        watch: Option<JoinHandle<Result<(), SourceError>>>,
    },
    Cluster {
        source: KubeSource,
        heard: Heard,
    },
}

impl Feed {
    /// Manifests that were opened, with what they hold.
    pub(super) fn of_manifests(source: Manifests) -> (Self, Objects) {
        let objects = source.objects();
        let (tell, readings) = mpsc::channel(1);
        let again = Arc::new(Notify::new());
        let watch = tokio::spawn(source.watch(tell, Arc::clone(&again)));
        let feed = Self::Manifests {
            readings,
            again,
            watch: Some(watch),
        };
        (feed, objects)
    }

    /// The API server that this machine's kubeconfig names, or that of the pod this runs in.
    pub(super) async fn of_cluster() -> Result<Self, KubeError> {
        let cluster = Cluster::connect(&Options::default()).await?;
        let (source, heard) = cluster.source();
        Ok(Self::Cluster { source, heard })
    }

    /// What comes next. May be given up at any time and asked again.
    ///
    /// # Errors
    ///
    /// Nothing will come any more.
    pub(super) async fn next(&mut self) -> Result<News, MountError> {
        match self {
            Self::Manifests {
                readings, watch, ..
            } => match (readings.recv().await, watch) {
                (Some(Reading::Objects(objects)), _) => Ok(News::Objects(objects)),
                (Some(Reading::Broken(error)), _) => Ok(News::Unreadable(error.to_string())),
                (None, watch) => Err(match watch.take() {
                    Some(watch) => SourceError::ended(watch).await,
                    None => SourceError::Ended,
                }
                .into()),
            },
            Self::Cluster { heard, .. } => match heard.next().await {
                Some(Said::Failing { why, .. }) => Ok(News::Unreadable(why)),
                Some(said) => Ok(News::Said(said)),
                None => Err(SourceError::Ended.into()),
            },
        }
    }

    /// Somebody needs an object. Manifests are read whole, whoever needs what.
    pub(super) fn watch(&self, key: ObjectKey) {
        if let Self::Cluster { source, .. } = self {
            source.watch(key);
        }
    }

    /// Nobody needs it any more.
    pub(super) fn unwatch(&self, key: &ObjectKey) {
        if let Self::Cluster { source, .. } = self {
            source.unwatch(key);
        }
    }

    /// Reads everything anew. Whether an API server has told its newest is not ours to doubt.
    pub(super) fn again(&self) {
        if let Self::Manifests { again, .. } = self {
            again.notify_one();
        }
    }
}
