//! The engine: which volume needs which object, and what each volume shall show.
//!
//! A plain state machine with one writer: an event goes in, the effects it has come out, in order.
//! It owns the specs, the objects that some volume uses, and each volume's latest snapshot. It does
//! not know what is mounted, whether a commit has been carried out, or where objects come from, and
//! it compares no versions: the source says what is true now.
//!
//! Deletion and return are the kubelet's (`SetUpAt`, `pkg/volume/configmap/configmap.go`): an object that
//! is not optional leaves the volume as it is, an optional one takes its files with it, and uids are not
//! compared. An immutable object that a volume has shown stays in it for the volume's life, as the
//! kubelet stops looking at it; every new volume reads it afresh, which the kubelet's does not.

mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use event::{Condition, Effect, Event, VolumeId};

use crate::object::{Bytes, Object, ObjectKey};
use crate::render::{Refusal, Rendered, Warning, render};
use crate::snapshot::{HashKey, ObjectVersion, Snapshot};
use crate::spec::Spec;

/// The state machine.
#[derive(Debug)]
pub struct Engine {
    key: HashKey,
    volumes: BTreeMap<VolumeId, Volume>,
    watched: BTreeMap<ObjectKey, Watched>,
}

/// A published volume.
#[derive(Debug)]
struct Volume {
    spec: Spec,
    /// The last good one: what `Commit` said last.
    latest: Option<Arc<Snapshot>>,
    /// The immutable objects that it has shown.
    frozen: BTreeMap<ObjectKey, Arc<Object>>,
    /// What was told and still holds.
    condition: Option<Condition>,
    warnings: Vec<Warning>,
}

/// An object that some volume uses.
#[derive(Debug, Default)]
struct Watched {
    truth: Truth,
    volumes: BTreeSet<VolumeId>,
}

/// What is known of an object.
#[derive(Debug, Default)]
enum Truth {
    /// Nothing was heard since the watch began.
    #[default]
    Unknown,
    /// It does not exist.
    Absent,
    /// It is this.
    Present(Arc<Object>),
}

impl Engine {
    /// An engine without volumes. The key goes into every digest, and must stay the same for as long
    /// as any snapshot does.
    pub fn new(key: HashKey) -> Self {
        Self {
            key,
            volumes: BTreeMap::new(),
            watched: BTreeMap::new(),
        }
    }

    /// Takes an event in and says what follows from it, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Publish { volume, spec } => self.publish(&volume, &spec, &mut effects),
            Event::TakeOver {
                volume,
                spec,
                shown,
            } => {
                let volume_of = Volume::taken_over(spec.clone(), &shown);
                self.volumes.insert(volume.clone(), volume_of);
                self.watch(&volume, &spec, &mut effects);
                self.refresh(&volume, &mut effects);
            }
            Event::Unpublish { volume } => {
                if let Some(Volume { spec, .. }) = self.volumes.remove(&volume) {
                    self.unwatch(&volume, spec.objects(), &mut effects);
                }
            }
            Event::Applied(object) => {
                let users = self.apply(object);
                self.refresh_all(&users, &mut effects);
            }
            Event::Deleted(key) => {
                let users = self.delete(&key);
                self.refresh_all(&users, &mut effects);
            }
            Event::Read(readings) => {
                let mut users = BTreeSet::new();
                for (key, object) in readings {
                    users.append(&mut match object {
                        Some(object) => self.apply(object),
                        None => self.delete(&key),
                    });
                }
                self.refresh_all(&users, &mut effects);
            }
        }
        effects
    }

    /// What the volume shall show: the last good snapshot. Nothing before its first commit.
    pub fn latest(&self, volume: &VolumeId) -> Option<&Arc<Snapshot>> {
        self.volumes.get(volume)?.latest.as_ref()
    }

    /// Why the volume does not show the newest of its objects, as it was told.
    pub fn condition(&self, volume: &VolumeId) -> Option<&Condition> {
        self.volumes.get(volume)?.condition.as_ref()
    }

    fn publish(&mut self, id: &VolumeId, spec: &Spec, effects: &mut Vec<Effect>) {
        let former = match self.volumes.get_mut(id) {
            Some(volume) if volume.spec == *spec => return,
            Some(volume) => Some(std::mem::replace(&mut volume.spec, spec.clone())),
            None => {
                self.volumes.insert(id.clone(), Volume::new(spec.clone()));
                None
            }
        };
        self.watch(id, spec, effects);
        self.refresh(id, effects);
        if let Some(former) = former {
            let unused = &former.objects() - &spec.objects();
            self.unwatch(id, unused, effects);
        }
    }

    fn watch(&mut self, id: &VolumeId, spec: &Spec, effects: &mut Vec<Effect>) {
        for key in spec.objects() {
            let watched = self.watched.entry(key.clone()).or_insert_with(|| {
                effects.push(Effect::Watch(key.clone()));
                Watched::default()
            });
            let new = watched.volumes.insert(id.clone());
            if new && matches!(&watched.truth, Truth::Present(object) if object.immutable) {
                // Nobody has looked at it since; whoever shows it is frozen and does not miss it.
                watched.truth = Truth::Unknown;
                effects.push(Effect::Watch(key.clone()));
            }
        }
    }

    fn unwatch(&mut self, id: &VolumeId, keys: BTreeSet<&ObjectKey>, effects: &mut Vec<Effect>) {
        for key in keys {
            let Some(watched) = self.watched.get_mut(key) else {
                continue;
            };
            watched.volumes.remove(id);
            if watched.volumes.is_empty() {
                self.watched.remove(key);
                effects.push(Effect::Unwatch(key.clone()));
            }
        }
    }

    /// Takes an object in. Tells whose volumes may show something else now.
    fn apply(&mut self, mut object: Object) -> BTreeSet<VolumeId> {
        let Some(watched) = self.watched.get_mut(&object.key) else {
            return BTreeSet::new();
        };
        if let Truth::Present(earlier) = &watched.truth {
            object.share_values(earlier);
            // A list read again costs its volumes nothing.
            if object.says_the_same(earlier) {
                return BTreeSet::new();
            }
        }
        watched.truth = Truth::Present(Arc::new(object));
        watched.volumes.clone()
    }

    fn delete(&mut self, key: &ObjectKey) -> BTreeSet<VolumeId> {
        let Some(watched) = self.watched.get_mut(key) else {
            return BTreeSet::new();
        };
        watched.truth = Truth::Absent;
        watched.volumes.clone()
    }

    fn refresh_all(&mut self, ids: &BTreeSet<VolumeId>, effects: &mut Vec<Effect>) {
        for id in ids {
            self.refresh(id, effects);
        }
    }

    /// Renders the volume from what is known, unless something is not known yet.
    fn refresh(&mut self, id: &VolumeId, effects: &mut Vec<Effect>) {
        let Some(volume) = self.volumes.get_mut(id) else {
            return;
        };
        let truth = |key: &ObjectKey| {
            self.watched
                .get(key)
                .map_or(&Truth::Unknown, |watched| &watched.truth)
        };
        let frozen = &volume.frozen;
        // Optional objects too: a volume must not lose files because one was not read yet.
        let mut objects = volume.spec.sources.iter().map(|source| &source.object);
        if objects.any(|key| !frozen.contains_key(key) && matches!(truth(key), Truth::Unknown)) {
            return;
        }
        let present = |key: &ObjectKey| match (frozen.get(key), truth(key)) {
            (Some(object), _) | (None, Truth::Present(object)) => Some(object),
            (None, Truth::Unknown | Truth::Absent) => None,
        };
        let find = |key: &ObjectKey| present(key).map(|object| &**object);
        match render(&volume.spec, find, &self.key, volume.latest.as_deref()) {
            Ok(mut rendered) => {
                let objects = volume.spec.objects();
                let immutable = |key: &&ObjectKey| {
                    let object = present(key).filter(|object| object.immutable)?;
                    if let Truth::Present(now) = truth(key)
                        && now.data() != object.data()
                    {
                        let object = object.key.clone();
                        rendered.warnings.push(Warning::Immutable { object });
                    }
                    Some((object.key.clone(), Arc::clone(object)))
                };
                let frozen = objects.iter().filter_map(immutable).collect();
                volume.frozen = frozen;
                volume.show(id, rendered, effects);
            }
            Err(refusal) => volume.refuse(id, refusal, effects),
        }
    }
}

impl Volume {
    fn new(spec: Spec) -> Self {
        Self {
            spec,
            latest: None,
            frozen: BTreeMap::new(),
            condition: None,
            warnings: Vec::new(),
        }
    }

    /// One that shows this already. Of the immutable objects in it, it has what it shows of them: it never
    /// asks for more.
    fn taken_over(spec: Spec, shown: &Arc<Snapshot>) -> Self {
        let frozen = shown.objects.iter().enumerate();
        let frozen = frozen.filter(|(_, object)| object.immutable);
        let frozen = frozen.map(|(index, object)| {
            let frozen = Arc::new(shown_of(&spec, shown, index, object));
            (object.key.clone(), frozen)
        });
        Self {
            frozen: frozen.collect(),
            latest: Some(Arc::clone(shown)),
            ..Self::new(spec)
        }
    }

    fn show(&mut self, id: &VolumeId, rendered: Rendered, effects: &mut Vec<Effect>) {
        let volume = || id.clone();
        let Rendered { snapshot, warnings } = rendered;
        if self.warnings != warnings {
            self.warnings.clone_from(&warnings);
            effects.push(Effect::Warned {
                volume: volume(),
                warnings,
            });
        }
        let differs = |latest: &Arc<Snapshot>| {
            latest.digest != snapshot.digest || latest.objects != snapshot.objects
        };
        if self.latest.as_ref().is_none_or(differs) {
            let snapshot = Arc::new(snapshot);
            self.latest = Some(Arc::clone(&snapshot));
            effects.push(Effect::Commit {
                volume: volume(),
                snapshot,
            });
        }
        if let Some(Condition::Refused(_)) = self.condition.take() {
            effects.push(Effect::Recovered { volume: volume() });
        }
    }

    fn refuse(&mut self, id: &VolumeId, refusal: Refusal, effects: &mut Vec<Effect>) {
        let condition = match refusal {
            Refusal::Missing { object } if self.latest.is_none() => Condition::Waiting(object),
            refusal => Condition::Refused(refusal),
        };
        if self.condition.as_ref() == Some(&condition) {
            return;
        }
        self.condition = Some(condition.clone());
        let volume = id.clone();
        effects.push(match condition {
            Condition::Waiting(object) => Effect::Waiting { volume, object },
            Condition::Refused(refusal) => Effect::Refused { volume, refusal },
        });
    }
}

/// An object, as far as a snapshot shows it. A value that another one hides is empty: it is hidden again.
fn shown_of(spec: &Spec, shown: &Snapshot, index: usize, version: &ObjectVersion) -> Object {
    let mut data = BTreeMap::new();
    let sources = spec.sources.iter();
    for source in sources.filter(|source| source.object == version.key) {
        for item in &source.items {
            data.entry(item.key.clone())
                .or_insert_with(|| Bytes::from(""));
        }
    }
    let sources = spec.sources.iter();
    for source in sources.filter(|source| source.object == version.key) {
        for (path, entry) in &shown.entries {
            let Some(file) = entry.as_file().filter(|file| file.object == index) else {
                continue;
            };
            let mut items = source.items.iter();
            let key = if source.items.is_empty() {
                Some(path.as_str())
            } else {
                let item = items.find(|item| item.path == *path);
                item.map(|item| item.key.as_str())
            };
            if let Some(key) = key {
                data.insert(key.to_owned(), file.bytes.clone());
            }
        }
    }
    Object::shown(version, data)
}

#[cfg(test)]
mod tests;
