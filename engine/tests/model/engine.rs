//! Random events against a model that renders everything anew after each of them.

use std::collections::{BTreeMap, BTreeSet};

use livemount_engine::engine::{Effect, Engine, Event, VolumeId};
use livemount_engine::object::{Object, ObjectKey};
use livemount_engine::spec::Spec;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::any::{self, Files, KEY};
use crate::render::{files, folders};

fn event() -> impl Strategy<Value = Event> {
    let volume = || prop_oneof!["v", "w", "x"].prop_map(VolumeId::new);
    prop_oneof![
        2 => (volume(), any::spec()).prop_map(|(volume, spec)| Event::Publish { volume, spec }),
        1 => volume().prop_map(|volume| Event::Unpublish { volume }),
        6 => any::object().prop_map(Event::Applied),
        3 => any::key().prop_map(Event::Deleted),
        2 => (vec(any::object(), 0..3), vec(any::key(), 0..2)).prop_map(|(objects, keys)| {
            let gone = keys.into_iter().map(|key| (key, None));
            let there = objects.into_iter().map(|object| (object.key.clone(), Some(object)));
            Event::Read(gone.chain(there).collect())
        }),
    ]
}

/// What a volume shows: its files, folders, root mode and group.
type Shown = (Files, BTreeSet<String>, u16, u32);

/// The whole truth, in maps.
#[derive(Default)]
struct Model {
    specs: BTreeMap<VolumeId, Spec>,
    /// Objects of watched keys: nothing for those known not to exist.
    known: BTreeMap<ObjectKey, Option<Object>>,
    shown: BTreeMap<VolumeId, Shown>,
    /// Whether the last attempt to render failed.
    failed: BTreeSet<VolumeId>,
}

impl Model {
    fn wanted(&self) -> BTreeSet<ObjectKey> {
        let sources = self.specs.values().flat_map(|spec| &spec.sources);
        sources.map(|source| source.object.clone()).collect()
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Publish { volume, spec } => {
                self.specs.insert(volume, spec);
            }
            Event::TakeOver {
                volume,
                spec,
                shown,
            } => {
                let (root, gid) = (shown.root_mode, shown.gid);
                let shows = (files(&shown), folders(&shown), root, gid);
                self.shown.insert(volume.clone(), shows);
                self.specs.insert(volume, spec);
            }
            Event::Unpublish { volume } => {
                self.specs.remove(&volume);
                self.shown.remove(&volume);
                self.failed.remove(&volume);
            }
            Event::Applied(object) => {
                self.known.insert(object.key.clone(), Some(object));
            }
            Event::Deleted(key) => {
                self.known.insert(key, None);
            }
            Event::Read(objects) => self.known.extend(objects),
        }
        let wanted = self.wanted();
        self.known.retain(|key, _| wanted.contains(key));
        let present = self
            .known
            .iter()
            .filter_map(|(k, o)| Some((k.clone(), o.clone()?)));
        let present: BTreeMap<_, _> = present.collect();
        for (volume, spec) in &self.specs {
            if !spec
                .sources
                .iter()
                .all(|source| self.known.contains_key(&source.object))
            {
                continue;
            }
            if let Some(files) = any::naive(spec, &present) {
                let root = if spec.fs_group.is_some() {
                    0o2777
                } else {
                    0o777
                };
                let folders = any::folders(spec, &files);
                let shown = (files, folders, root, spec.fs_group.unwrap_or(0));
                self.shown.insert(volume.clone(), shown);
                self.failed.remove(volume);
            } else {
                self.failed.insert(volume.clone());
            }
        }
    }
}

fn is_refusal(effect: &Effect) -> bool {
    matches!(effect, Effect::Refused { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn each_volume_shows_its_last_good(events in vec(event(), 0..40)) {
        let mut engine = Engine::new(KEY);
        let mut model = Model::default();
        let mut watched = BTreeSet::new();
        let mut shown: BTreeMap<VolumeId, Shown> = BTreeMap::new();
        let mut labels = BTreeMap::new();
        let mut failed: BTreeSet<VolumeId> = BTreeSet::new();
        let mut told: BTreeMap<VolumeId, Effect> = BTreeMap::new();
        for event in events {
            if let Event::Unpublish { volume } = &event {
                shown.remove(volume);
                labels.remove(volume);
                failed.remove(volume);
                told.remove(volume);
            }
            model.hear(event.clone());
            for effect in engine.handle(event) {
                match &effect {
                    Effect::Watch(key) => prop_assert!(watched.insert(key.clone())),
                    Effect::Unwatch(key) => prop_assert!(watched.remove(key)),
                    Effect::Commit { volume, snapshot } => {
                        let (root, gid) = (snapshot.root_mode, snapshot.gid);
                        let now = (files(snapshot), folders(snapshot), root, gid);
                        // The first is a commit even when empty; each later one differs, if only in
                        // the objects that it comes from.
                        let was = shown.insert(volume.clone(), now.clone());
                        let from = labels.insert(volume.clone(), snapshot.objects.clone());
                        prop_assert!(was != Some(now) || from.as_ref() != Some(&snapshot.objects));
                        if !told.get(volume).is_some_and(is_refusal) {
                            told.remove(volume);
                            failed.remove(volume);
                        }
                    }
                    Effect::Recovered { volume } => {
                        let ended = told.remove(volume);
                        prop_assert!(ended.as_ref().is_some_and(is_refusal));
                        prop_assert!(failed.remove(volume));
                    }
                    Effect::Refused { volume, .. } | Effect::Waiting { volume, .. } => {
                        let waits = matches!(effect, Effect::Waiting { .. });
                        prop_assert!(!waits || !shown.contains_key(volume));
                        failed.insert(volume.clone());
                        let before = told.insert(volume.clone(), effect.clone());
                        prop_assert_ne!(before, Some(effect), "told twice");
                    }
                    Effect::Warned { .. } => {}
                }
            }
            prop_assert_eq!(&shown, &model.shown);
            prop_assert_eq!(&failed, &model.failed);
            prop_assert_eq!(&watched, &model.wanted());
            for volume in ["v", "w", "x"].map(VolumeId::new) {
                let latest = engine.latest(&volume).map(|snapshot| files(snapshot));
                prop_assert_eq!(latest, shown.get(&volume).map(|shown| shown.0.clone()));
                prop_assert_eq!(engine.condition(&volume).is_some(), failed.contains(&volume));
            }
        }
    }
}
