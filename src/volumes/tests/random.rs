//! Any sequence of inputs against what must always hold: each call is answered exactly once; a volume has
//! one mount or unmount under way at the most; nothing is mounted that nobody wants; nothing is left when
//! all are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livemount_engine::engine::{Engine, VolumeId};
use livemount_engine::object::ObjectKey;
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_hand::{HandError, Unbind};
use proptest::prelude::*;

use super::super::{Action, Ask, CallId, Input, Machine, MountingId, Request};
use super::bench::{POLICY, key, no_thread, object, request};
use crate::source::Update;

/// What may happen next.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        volume: u8,
        elsewhere: bool,
        millis: Option<u32>,
    },
    Unpublish {
        volume: u8,
        clear: bool,
    },
    Lost {
        volume: u8,
    },
    Stats {
        volume: u8,
    },
    Applied {
        object: u8,
        bytes: u8,
    },
    Deleted {
        object: u8,
    },
    Failing {
        object: u8,
    },
    Working {
        object: u8,
    },
    /// What is under way for the volume ends, well or not.
    Done {
        volume: u8,
        well: bool,
    },
    /// A connection ends, if it is not an older one.
    Ended {
        volume: u8,
        old: bool,
    },
    Staying {
        volumes: Vec<u8>,
    },
    Pass {
        millis: u32,
    },
}

const VOLUMES: u8 = 4;
const OBJECTS: u8 = 3;

fn any_step() -> impl Strategy<Value = Step> {
    let volume = || 0..VOLUMES;
    let name = || 0..OBJECTS;
    prop_oneof![
        5 => (volume(), prop::bool::weighted(0.1), prop::option::of(0..200_000u32))
            .prop_map(|(volume, elsewhere, millis)| Step::Publish { volume, elsewhere, millis }),
        3 => (volume(), any::<bool>()).prop_map(|(volume, clear)| Step::Unpublish { volume, clear }),
        1 => volume().prop_map(|volume| Step::Lost { volume }),
        1 => volume().prop_map(|volume| Step::Stats { volume }),
        5 => (name(), 0..4u8).prop_map(|(object, bytes)| Step::Applied { object, bytes }),
        2 => name().prop_map(|object| Step::Deleted { object }),
        1 => name().prop_map(|object| Step::Failing { object }),
        1 => name().prop_map(|object| Step::Working { object }),
        8 => (volume(), prop::bool::weighted(0.8)).prop_map(|(volume, well)| Step::Done { volume, well }),
        2 => (volume(), any::<bool>()).prop_map(|(volume, old)| Step::Ended { volume, old }),
        1 => prop::collection::vec(volume(), 0..4).prop_map(|volumes| Step::Staying { volumes }),
        2 => (0..900_000u32).prop_map(|millis| Step::Pass { millis }),
    ]
}

fn id(volume: u8) -> VolumeId {
    VolumeId::new(volume.to_string())
}

fn name(object: u8) -> String {
    format!("o{object}")
}

fn request_of(volume: u8) -> Request {
    let objects = [name(volume % OBJECTS), name((volume + 1) % OBJECTS)];
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    let mut request = request(&volume.to_string(), &objects);
    for (source, path) in request.spec.sources.iter_mut().zip(["x", "y"]) {
        source.items = vec![livemount_engine::spec::Item {
            key: "file".into(),
            path: livemount_engine::path::RelPath::new(path).expect("a path"),
            mode: None,
            divisor: None,
        }];
    }
    request
}

/// What is under way for a volume.
enum Work {
    Mount(MountingId, Arc<Snapshot>),
    Rebind,
    /// Whether a mount is meant.
    Unmount {
        mounted: bool,
    },
}

/// Everything outside the machine.
struct World {
    machine: Machine,
    now: Instant,
    calls: u64,
    open: BTreeSet<CallId>,
    /// Answers of `Stats` stand for themselves.
    work: BTreeMap<VolumeId, Work>,
    mounted: BTreeMap<VolumeId, MountingId>,
    /// Where each was last to be mounted.
    targets: BTreeMap<VolumeId, PathBuf>,
    watched: BTreeSet<ObjectKey>,
    asked_pods: bool,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(Engine::new(HashKey([7; 16])), POLICY, now),
            now,
            calls: 0,
            open: BTreeSet::new(),
            work: BTreeMap::new(),
            mounted: BTreeMap::new(),
            targets: BTreeMap::new(),
            watched: BTreeSet::new(),
            asked_pods: false,
        }
    }

    /// A predecessor has left this one.
    fn take_over(&mut self, volume: u8) {
        let request = request_of(volume);
        let (id, target) = (request.volume.clone(), request.target.clone());
        let shown = Arc::new(Snapshot::empty(&HashKey([7; 16])));
        let (mount, actions) = self.machine.take_over(request, shown, self.now);
        self.mounted.insert(id.clone(), mount);
        self.targets.insert(id, target);
        for action in actions {
            self.act(action);
        }
    }

    fn call(&mut self, ask: Ask) {
        self.calls += 1;
        let call = CallId(self.calls);
        self.open.insert(call);
        self.tell(Input::Call(call, ask));
    }

    fn tell(&mut self, input: Input) {
        for action in self.machine.step(input, self.now) {
            self.act(action);
        }
        if let Some(due) = self.machine.due() {
            assert!(due > self.now, "what is due is done: {:?}", self.now - due);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Watch(key) => drop(self.watched.insert(key)),
            Action::Unwatch(key) => assert!(self.watched.remove(&key), "{key} was not watched"),
            Action::Mount {
                volume,
                mount,
                target,
                snapshot,
                ..
            } => {
                assert!(!self.mounted.contains_key(&volume), "{volume} is mounted");
                self.targets.insert(volume.clone(), target);
                let busy = self
                    .work
                    .insert(volume.clone(), Work::Mount(mount, snapshot));
                assert!(busy.is_none(), "{volume} is busy");
            }
            Action::Unmount {
                volume,
                mounted,
                clear,
                abandon,
                ..
            } => {
                if mounted {
                    assert!(
                        self.mounted.contains_key(&volume),
                        "{volume} is not mounted"
                    );
                    let elsewhere = clear.is_some_and(|target| target != self.targets[&volume]);
                    assert!(!elsewhere, "{volume} is mounted at another target");
                }
                if abandon {
                    self.mounted.remove(&volume);
                }
                let busy = self.work.insert(volume.clone(), Work::Unmount { mounted });
                assert!(busy.is_none(), "{volume} is busy");
            }
            Action::Rebind { volume, .. } => {
                assert!(
                    self.mounted.contains_key(&volume),
                    "{volume} is not mounted"
                );
                let busy = self.work.insert(volume.clone(), Work::Rebind);
                assert!(busy.is_none(), "{volume} is busy");
            }
            Action::Offer { volume, .. } | Action::Condition { volume, .. } => {
                assert!(
                    self.mounted.contains_key(&volume),
                    "{volume} is not mounted"
                );
            }
            Action::Answer(call, _) | Action::AnswerStats(call, _) => {
                assert!(self.open.remove(&call), "{call:?} was answered already");
            }
            Action::AskPods => {
                assert!(!self.asked_pods, "one question at a time");
                self.asked_pods = true;
            }
            Action::ForgetPod(_) | Action::Say(_) => {}
        }
    }

    /// What is under way for a volume ends.
    fn done(&mut self, volume: &VolumeId, well: bool) {
        let volume = volume.clone();
        match self.work.remove(&volume) {
            None => {}
            Some(Work::Mount(mount, snapshot)) => {
                let result = if well {
                    self.mounted.insert(volume.clone(), mount);
                    Ok(snapshot)
                } else {
                    Err(no_thread())
                };
                self.tell(Input::Mounted {
                    volume,
                    mount,
                    result,
                });
            }
            Some(Work::Rebind) => {
                let result = if well { Ok(()) } else { Err(HandError::Busy) };
                self.tell(Input::Rebound { volume, result });
            }
            Some(Work::Unmount { mounted }) => {
                if well && mounted {
                    self.mounted.remove(&volume);
                }
                self.tell(Input::Unmounted {
                    volume,
                    gone: well && mounted,
                    result: if well { Ok(()) } else { Err(HandError::Busy) },
                });
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish {
                volume,
                elsewhere,
                millis,
            } => {
                let mut request = request_of(volume);
                if elsewhere {
                    request.target = "/elsewhere".into();
                }
                let until = millis.map(|millis| self.now + Duration::from_millis(millis.into()));
                self.call(Ask::Publish {
                    request: Box::new(request),
                    until,
                });
            }
            Step::Unpublish { volume, clear } => self.call(Ask::Unpublish {
                volume: id(volume),
                target: format!("/pods/{volume}").into(),
                how: Unbind::Detach,
                clear,
            }),
            Step::Lost { volume } => self.call(Ask::Lost { volume: id(volume) }),
            Step::Stats { volume } => self.call(Ask::Stats {
                volume: id(volume),
                target: format!("/pods/{volume}").into(),
            }),
            Step::Applied { object: at, bytes } => {
                let object = object(&name(at), &bytes.to_string());
                self.tell(Input::Source(Update::Applied(object)));
            }
            Step::Deleted { object } => {
                self.tell(Input::Source(Update::Deleted(key(&name(object)))));
            }
            Step::Failing { object } => self.tell(Input::Source(Update::Failing {
                key: key(&name(object)),
                why: "no".into(),
            })),
            Step::Working { object } => {
                self.tell(Input::Source(Update::Working(key(&name(object)))));
            }
            Step::Done { volume, well } => self.done(&id(volume), well),
            Step::Ended { volume, old } => {
                if let Some(mount) = self.mounted.get(&id(volume)) {
                    let mount = MountingId(mount.0.saturating_sub(u64::from(old)));
                    let volume = id(volume);
                    self.tell(Input::Ended { volume, mount });
                }
            }
            Step::Staying { volumes } => {
                if std::mem::take(&mut self.asked_pods) {
                    let staying = volumes.iter().map(|volume| format!("uid-{volume}"));
                    self.tell(Input::Staying(Some(staying.collect())));
                }
            }
            Step::Pass { millis } => {
                self.now += Duration::from_millis(millis.into());
                self.tell(Input::Tick);
            }
        }
    }

    /// All are unpublished, wherever they are, and what is under way ends well.
    fn end(mut self) {
        for round in 0..4 {
            while let Some(volume) = self.work.keys().next().cloned() {
                self.done(&volume, true);
            }
            if round == 3 {
                break;
            }
            for volume in 0..VOLUMES {
                for target in [format!("/pods/{volume}"), "/elsewhere".to_owned()] {
                    self.call(Ask::Unpublish {
                        volume: id(volume),
                        target: target.into(),
                        how: Unbind::Detach,
                        clear: true,
                    });
                }
            }
        }
        assert_eq!(self.open, BTreeSet::new(), "calls without an answer");
        assert_eq!(
            self.mounted,
            BTreeMap::new(),
            "mounted, and nobody wants it"
        );
        assert_eq!(
            self.watched,
            BTreeSet::new(),
            "watched, and nobody wants it"
        );
        assert!(self.machine.is_empty(), "something is left");
        assert_eq!((self.machine.waiting(), self.machine.failing()), (0, 0));
        assert_eq!(self.machine.due(), None, "something is due, of nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_call_is_answered_once_and_nothing_is_left(
        left in prop::collection::btree_set(0..VOLUMES, 0..3),
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut world = World::new();
        for volume in left {
            world.take_over(volume);
        }
        for step in steps {
            world.take(step);
        }
        world.end();
    }
}
