//! What the engine hears and what it asks for: closed lists, so that all that can change a volume's
//! contents stands in one place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::object::{Object, ObjectKey};
use crate::render::{Refusal, Warning};
use crate::snapshot::Snapshot;
use crate::spec::Spec;

/// What names a volume for its whole life. Cheap to clone; its text has no meaning here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct VolumeId(Arc<str>);

impl From<String> for VolumeId {
    fn from(id: String) -> Self {
        Self::new(id)
    }
}

impl From<VolumeId> for String {
    fn from(id: VolumeId) -> Self {
        id.as_str().to_owned()
    }
}

impl VolumeId {
    /// Takes the name as it is.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// All that the engine hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A volume is wanted. With the spec that it has, this changes nothing; with another one the
    /// volume keeps what it shows until the new one renders.
    Publish {
        /// The volume.
        volume: VolumeId,
        /// What it asks for.
        spec: Spec,
    },
    /// A volume is wanted that shows something already, as another process left it. It shows that until
    /// what it asks for has been read.
    TakeOver {
        /// The volume.
        volume: VolumeId,
        /// What it asks for.
        spec: Spec,
        /// What it shows.
        shown: Arc<Snapshot>,
    },
    /// A volume is no longer wanted. An unknown one is none.
    Unpublish {
        /// The volume.
        volume: VolumeId,
    },
    /// This is the object now. The order of these events is the order of truth: who sends them has
    /// already dropped what is older. Ignored where nobody watches the object.
    Applied(Object),
    /// The object is known not to exist: it was deleted, or the first consistent read found none.
    /// Ignored where nobody watches the object.
    Deleted(ObjectKey),
    /// Several objects that were read at once, nothing where one does not exist. No volume shows some
    /// of them without the others.
    Read(BTreeMap<ObjectKey, Option<Object>>),
}

/// All that the engine asks for or tells. Where a volume stands is what the last of `Commit`,
/// `Recovered`, `Waiting` and `Refused` said of it; before the first of these its objects are being
/// read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The first volume needs this object: read it and follow it. Told again for an immutable object
    /// that a further volume needs: read it afresh.
    Watch(ObjectKey),
    /// No volume needs this object any more. What is heard of it until the next `Watch` is ignored;
    /// what a former watch still has under way must not arrive after that.
    Unwatch(ObjectKey),
    /// The volume shall show this. A later one replaces one that has not been carried out. Where only
    /// the objects' versions differ from the one before, nothing changes in the files.
    Commit {
        /// The volume.
        volume: VolumeId,
        /// What it shall show.
        snapshot: Arc<Snapshot>,
    },
    /// The volume renders, but perhaps not to what was meant. Told when the list changes, before the
    /// commit that it belongs to; an empty list ends the former one.
    Warned {
        /// The volume.
        volume: VolumeId,
        /// All that there is to warn of.
        warnings: Vec<Warning>,
    },
    /// The volume cannot be rendered; it keeps what it shows, if anything. Told once until it changes.
    Refused {
        /// The volume.
        volume: VolumeId,
        /// Why.
        refusal: Refusal,
    },
    /// A refused volume renders again. Stands after its commit, and alone where what renders is what
    /// the volume shows.
    Recovered {
        /// The volume.
        volume: VolumeId,
    },
    /// The volume has never shown anything, and needs an object that does not exist yet. Told once
    /// until it changes.
    Waiting {
        /// The volume.
        volume: VolumeId,
        /// The first such object in the spec's order.
        object: ObjectKey,
    },
}

/// Why a volume does not show the newest of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has never shown anything and needs this object, which does not exist yet.
    Waiting(ObjectKey),
    /// It cannot be rendered and keeps what it shows, if anything.
    Refused(Refusal),
}
