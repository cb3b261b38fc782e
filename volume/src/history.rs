//! Which version was served when, and who still reads an older one: what an on-call engineer asks.
//!
//! The last versions are remembered by number, object and time, never by content.

use std::collections::VecDeque;
use std::time::SystemTime;

use livemount_engine::snapshot::ObjectVersion;

use crate::number::VersionNumber;

/// How many versions before the current one are told, held or not.
const TOLD: usize = 32;

/// One version that is or was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its number, 1 for the volume's first.
    pub version: VersionNumber,
    /// The objects that it shows.
    pub objects: Vec<ObjectVersion>,
    /// When it became current.
    pub committed: SystemTime,
    /// When a file of it was first opened.
    pub first_open: Option<SystemTime>,
    /// When a file of it was last opened.
    pub last_open: Option<SystemTime>,
    /// How many handles and folders hold it now.
    pub held: usize,
}

/// The versions of a volume, the newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(pub(crate) VecDeque<Served>);

impl History {
    /// A version becomes current.
    pub(crate) fn committed(
        &mut self,
        version: VersionNumber,
        objects: Vec<ObjectVersion>,
        at: SystemTime,
        held: impl Fn(VersionNumber) -> bool,
    ) {
        // The last ones, and those that somebody holds, of which there are as many as the volume's
        // `Pins` allow.
        let mut kept = 0;
        self.0.retain(|served| {
            kept += 1;
            kept <= TOLD || held(served.version)
        });
        self.0.push_front(Served {
            version,
            objects,
            committed: at,
            first_open: None,
            last_open: None,
            held: 0,
        });
    }

    /// The current version's objects have other versions now, with the same contents.
    pub(crate) fn relabelled(&mut self, objects: Vec<ObjectVersion>) {
        if let Some(current) = self.0.front_mut() {
            current.objects = objects;
        }
    }

    /// A file of a version is opened.
    pub(crate) fn opened(&mut self, version: VersionNumber, at: SystemTime) {
        if let Some(served) = self.0.iter_mut().find(|served| served.version == version) {
            served.first_open.get_or_insert(at);
            served.last_open = Some(at);
        }
    }

    /// All that is remembered, the newest first.
    pub(crate) fn all(&self, held: impl Fn(VersionNumber) -> usize) -> Vec<Served> {
        let mut all: Vec<Served> = self.0.iter().cloned().collect();
        for served in &mut all {
            served.held = held(served.version);
        }
        all
    }
}
