//! A machine on a bench: inputs in short words, actions as lines, and a time that only tests move.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use livemount_engine::engine::{Engine, VolumeId};
use livemount_engine::snapshot::HashKey;
use livemount_engine::spec::{Source, Spec};
use livemount_hand::{HandError, Unbind};

use super::super::{
    About, Action, Ask, CallId, Input, Machine, MountingId, Notice, Owner, Policy, Request,
};
use crate::pod::PodRef;
use crate::publish::{PublishError, Settings};
use crate::source::Update;
pub(super) use crate::source::memory::{key, object};

/// As a node has it, and with reminders.
pub(super) const POLICY: Policy = Policy {
    forget: Some(Duration::from_mins(10)),
    ask_pods: Some(Duration::from_secs(2)),
    remind: None,
};

pub(super) fn spec(names: &[&str]) -> Spec {
    let mut spec = Spec::of_object(key("none"));
    spec.sources = names
        .iter()
        .map(|name| Source {
            object: key(name),
            items: Vec::new(),
            optional: false,
        })
        .collect();
    spec
}

/// A request for the volume of this name, of the pod `default/<volume>`, that shows these objects.
pub(super) fn request(volume: &str, objects: &[&str]) -> Request {
    let pod = PodRef {
        namespace: "default".into(),
        name: volume.into(),
        uid: format!("uid-{volume}"),
    };
    Request {
        volume: VolumeId::new(volume),
        name: pod.volume_name("config"),
        target: format!("/pods/{volume}").into(),
        over: false,
        owner: Some(Owner {
            pod,
            volume: "config".into(),
        }),
        spec: spec(objects),
        settings: Settings::default(),
    }
}

/// The machine and its time.
pub(super) struct Bench {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    snapshots: BTreeMap<MountingId, std::sync::Arc<livemount_engine::snapshot::Snapshot>>,
}

impl Bench {
    pub(super) fn new(policy: Policy) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(Engine::new(HashKey([7; 16])), policy, now),
            now,
            snapshots: BTreeMap::new(),
        }
    }

    /// Tells an input, and what follows, a line an action.
    pub(super) fn step(&mut self, input: Input) -> Vec<String> {
        let actions = self.machine.step(input, self.now);
        for action in &actions {
            if let Action::Mount {
                mount, snapshot, ..
            } = action
            {
                self.snapshots.insert(*mount, snapshot.clone());
            }
        }
        actions.iter().map(line).collect()
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.step(Input::Tick)
    }

    pub(super) fn call(&mut self, call: u64, ask: Ask) -> Vec<String> {
        self.step(Input::Call(CallId(call), ask))
    }

    /// A publish that waits for 100 s.
    pub(super) fn publish(&mut self, call: u64, request: Request) -> Vec<String> {
        let until = Some(self.now + Duration::from_secs(100));
        let request = Box::new(request);
        self.call(call, Ask::Publish { request, until })
    }

    /// As a node asks for it.
    pub(super) fn unpublish(&mut self, call: u64, volume: &str) -> Vec<String> {
        self.call(
            call,
            Ask::Unpublish {
                volume: VolumeId::new(volume),
                target: format!("/pods/{volume}").into(),
                how: Unbind::Detach,
                clear: true,
            },
        )
    }

    pub(super) fn lost(&mut self, call: u64, volume: &str) -> Vec<String> {
        let volume = VolumeId::new(volume);
        self.call(call, Ask::Lost { volume })
    }

    pub(super) fn applied(&mut self, name: &str, bytes: &str) -> Vec<String> {
        self.step(Input::Source(Update::Applied(object(name, bytes))))
    }

    pub(super) fn deleted(&mut self, name: &str) -> Vec<String> {
        self.step(Input::Source(Update::Deleted(key(name))))
    }

    pub(super) fn failing(&mut self, name: &str, why: &str) -> Vec<String> {
        let (key, why) = (key(name), why.to_owned());
        self.step(Input::Source(Update::Failing { key, why }))
    }

    pub(super) fn mounted(&mut self, volume: &str, mount: u64) -> Vec<String> {
        let mount = MountingId(mount);
        let snapshot = self.snapshots[&mount].clone();
        self.step(Input::Mounted {
            volume: VolumeId::new(volume),
            mount,
            result: Ok(snapshot),
        })
    }

    pub(super) fn not_mounted(&mut self, volume: &str, mount: u64) -> Vec<String> {
        self.step(Input::Mounted {
            volume: VolumeId::new(volume),
            mount: MountingId(mount),
            result: Err(no_thread()),
        })
    }

    pub(super) fn unmounted(&mut self, volume: &str) -> Vec<String> {
        self.step(Input::Unmounted {
            volume: VolumeId::new(volume),
            gone: true,
            result: Ok(()),
        })
    }

    /// A target was cleared that is not where the volume is mounted.
    pub(super) fn cleared(&mut self, volume: &str) -> Vec<String> {
        self.step(Input::Unmounted {
            volume: VolumeId::new(volume),
            gone: false,
            result: Ok(()),
        })
    }

    pub(super) fn not_unmounted(&mut self, volume: &str) -> Vec<String> {
        self.step(Input::Unmounted {
            volume: VolumeId::new(volume),
            gone: false,
            result: Err(HandError::Busy),
        })
    }

    pub(super) fn ended(&mut self, volume: &str, mount: u64) -> Vec<String> {
        self.step(Input::Ended {
            volume: VolumeId::new(volume),
            mount: MountingId(mount),
        })
    }

    /// A volume that shows `object`, by mounting `mount`.
    /// What became of seeing to it that a target shows its volume.
    pub(super) fn rebound(&mut self, volume: &str) -> Vec<String> {
        let volume = VolumeId::new(volume);
        let result = Ok(());
        self.step(Input::Rebound { volume, result })
    }

    pub(super) fn serve(&mut self, volume: &str, object: &str, mount: u64) {
        self.publish(1000 + mount, request(volume, &[object]));
        self.applied(object, "1");
        self.mounted(volume, mount);
    }
}

pub(super) fn no_thread() -> PublishError {
    PublishError::Thread(std::io::Error::from_raw_os_error(11))
}

/// An action as a line.
fn line(action: &Action) -> String {
    match action {
        Action::Watch(key) => format!("watch {}", key.name),
        Action::Unwatch(key) => format!("unwatch {}", key.name),
        Action::Mount {
            volume,
            mount,
            target,
            snapshot,
            ..
        } => {
            let shows = shows(snapshot);
            format!(
                "mount {volume}#{} at {} with {shows}",
                mount.0,
                target.display()
            )
        }
        Action::Rebind { volume, .. } => format!("rebind {volume}"),
        Action::Offer { volume, snapshot } => format!("offer {volume} {}", shows(snapshot)),
        Action::Unmount {
            volume,
            mounted,
            clear,
            ..
        } => match (mounted, clear) {
            (true, Some(_)) => format!("unmount {volume} and clear"),
            (true, None) => format!("unmount {volume}"),
            (false, Some(target)) => format!("clear {}", target.display()),
            (false, None) => format!("nothing for {volume}"),
        },
        Action::Condition { volume, why } => {
            format!("condition {volume}: {}", why.as_deref().unwrap_or("well"))
        }
        Action::Answer(call, Ok(())) => format!("{} ok", call.0),
        Action::Answer(call, Err(error)) => format!("{} failed: {error}", call.0),
        Action::AnswerStats(call, volume) => format!("{} stats of {volume}", call.0),
        Action::AskPods => "ask which pods stay".into(),
        Action::ForgetPod(pod) => format!("forget pod {}", pod.name),
        Action::Say(notice) => format!("say {}", said(notice)),
    }
}

fn shows(snapshot: &livemount_engine::snapshot::Snapshot) -> String {
    let files = snapshot.files();
    let texts = files.map(|(_, file)| String::from_utf8_lossy(&file.bytes).into_owned());
    texts.collect::<Vec<_>>().join(",")
}

fn said(notice: &Notice) -> String {
    let of = |about: &About| about.volume.to_string();
    match notice {
        Notice::Published { about, files, .. } => format!("published {} files={files}", of(about)),
        Notice::PublishFailed { about, .. } => format!("not published {}", of(about)),
        Notice::Warnings { about, warnings } => {
            format!("warnings {} {}", of(about), warnings.len())
        }
        Notice::Waiting { about, lack } => format!("waiting {}: {lack}", of(about)),
        Notice::Refused {
            about, published, ..
        } => format!("refused {} published={published}", of(about)),
        Notice::Recovered { about, published } => {
            format!("recovered {} published={published}", of(about))
        }
        Notice::Unreadable { why, users, .. } => {
            let users: Vec<_> = users.iter().map(|(about, _)| of(about)).collect();
            format!("unreadable for {}: {why}", users.join(","))
        }
        Notice::Lost { about, .. } => format!("lost {}", of(about)),
        Notice::Forgotten { about } => format!("forgotten {}", of(about)),
    }
}
