//! The one loop where events and effects meet: readings of the source become events, what the engine
//! answers is done.
//!
//! Until its objects are there the volume is waited for, not refused: who starts it may come before
//! who writes them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::engine::{Condition, Effect, Engine, Event, VolumeId};
use livemount_engine::object::{Object, ObjectKey};
use livemount_engine::render::Refusal;
use livemount_engine::snapshot::Snapshot;
use livemount_engine::spec::Spec;
use livemount_hand::{HandError, Unbind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::feed::{Feed, News};
use super::signals::{Asked, Signals};
use super::{MountError, system};
use crate::observe::{Fact, Facts};
use crate::publish::{NewVolume, Published, Publisher, Settings};
use crate::source::kube::Said;
use crate::source::manifest::Objects;

/// How long a busy mount is waited for at the end.
const BUSY: Duration = Duration::from_secs(5);
/// How often a busy mount is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How often it is looked whether the connection is still there.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is said what is waited for.
const REMIND: Duration = Duration::from_secs(5);

/// A volume that is served, or that is to be.
pub(super) struct Mount {
    pub(super) engine: Engine,
    pub(super) volume: VolumeId,
    pub(super) spec: Spec,
    /// Where its objects come from.
    pub(super) origin: String,
    pub(super) feed: Feed,
    pub(super) target: PathBuf,
    pub(super) settings: Settings,
    /// Whether the target may hold something.
    pub(super) over: bool,
    pub(super) publisher: Publisher,
    pub(super) published: Option<Published>,
    pub(super) facts: Facts,
}

impl Mount {
    /// Serves until a signal or an error. `objects` are those that were read already.
    pub(super) async fn serve(
        &mut self,
        objects: Option<Objects>,
        mut ended: mpsc::Receiver<()>,
    ) -> Result<(), MountError> {
        let mut signals = Signals::new().map_err(system("listen for signals"))?;
        self.handle(Event::Publish {
            volume: self.volume.clone(),
            spec: self.spec.clone(),
        })?;
        if let Some(objects) = objects {
            self.take(&objects)?;
        }
        let mut remind = Instant::now() + REMIND;
        let mut look = Instant::now() + LOOK;
        loop {
            tokio::select! {
                news = self.feed.next() => match news? {
                    News::Objects(objects) => self.take(&objects)?,
                    News::Said(Said::Applied(object)) => self.handle(Event::Applied(object))?,
                    News::Said(Said::Deleted(key)) => self.handle(Event::Deleted(key))?,
                    News::Said(Said::Failing { .. } | Said::Working(_)) => {}
                    News::Unreadable(why) => {
                        let serving = self.published.is_some();
                        self.facts.tell(Fact::Unreadable { why, serving });
                    }
                },
                // The word may be lost where the log is stuck; the look at it is not.
                () = sleep_until(look) => {
                    look = Instant::now() + LOOK;
                    if self.published.as_ref().is_some_and(Published::ended) {
                        self.leave(Unbind::Detach)?;
                        return Err(MountError::Ended(self.target.clone()));
                    }
                }
                Some(()) = ended.recv() => {
                    self.leave(Unbind::Detach)?;
                    return Err(MountError::Ended(self.target.clone()));
                }
                asked = signals.next() => match asked {
                    Asked::Stop => return self.stop(&mut signals).await,
                    Asked::Again => {
                        info!("SIGHUP: {} is read again", self.origin);
                        self.feed.again();
                    }
                },
                () = sleep_until(remind), if self.published.is_none() => {
                    self.say_what_is_waited_for();
                    remind = Instant::now() + REMIND;
                }
            }
        }
    }

    /// Takes over what the source says now, all at once. An object that is not in it does not exist.
    fn take(&mut self, objects: &Objects) -> Result<(), MountError> {
        let object = |key: &ObjectKey| objects.get(key).map(|object| Object::clone(object));
        let keys = self.spec.objects().into_iter();
        let read = keys.map(|key| (key.clone(), object(key))).collect();
        self.handle(Event::Read(read))
    }

    fn handle(&mut self, event: Event) -> Result<(), MountError> {
        let mounted = self.published.is_some();
        for effect in self.engine.handle(event) {
            match effect {
                Effect::Watch(key) => self.feed.watch(key),
                Effect::Unwatch(key) => self.feed.unwatch(&key),
                Effect::Commit { snapshot, .. } => self.show(snapshot)?,
                Effect::Warned { warnings, .. } => {
                    for warning in warnings {
                        warn!(volume = %self.volume, "{warning}");
                    }
                }
                Effect::Waiting { .. } => self.say_what_is_waited_for(),
                Effect::Refused { volume, refusal } => self.refused(&volume, refusal),
                // That it is mounted now was told by `show`.
                Effect::Recovered { .. } if !mounted => {}
                Effect::Recovered { volume } => {
                    self.set_condition(None);
                    let volume = Arc::from(volume.as_str());
                    self.facts.tell(Fact::Recovered { volume });
                }
            }
        }
        Ok(())
    }

    fn refused(&self, volume: &VolumeId, refusal: Refusal) {
        if self.published.is_none() {
            return self.say_what_is_waited_for();
        }
        self.set_condition(Some(refusal.to_string()));
        let volume = Arc::from(volume.as_str());
        self.facts.tell(Fact::Refused { volume, refusal });
    }

    fn set_condition(&self, condition: Option<String>) {
        if let Some(published) = &self.published {
            published.set_condition(condition);
        }
    }

    fn say_what_is_waited_for(&self) {
        if let Some(condition) = self.engine.condition(&self.volume) {
            warn!("{} in {}", in_words(condition), self.origin);
        }
    }

    fn show(&mut self, snapshot: Arc<Snapshot>) -> Result<(), MountError> {
        if let Some(published) = &self.published {
            published.offer(snapshot);
            return Ok(());
        }
        let files = snapshot.files().count();
        let new = NewVolume {
            name: self.volume.as_str(),
            target: &self.target,
            over: self.over,
            first: snapshot,
            settings: self.settings,
        };
        // Its end is heard of by `ended`.
        let published = self.publisher.publish(new, |_| {})?;
        let objects: Vec<String> = self
            .spec
            .objects()
            .iter()
            .map(ToString::to_string)
            .collect();
        let (objects, target) = (objects.join(", "), self.target.display());
        info!(files, "serving {objects} at {target}");
        self.published = Some(published);
        ready();
        Ok(())
    }

    fn leave(&self, how: Unbind) -> Result<(), HandError> {
        self.published
            .as_ref()
            .map_or(Ok(()), |published| published.unpublish(how))
    }

    /// Unmounts; where somebody uses the mount, waits for them a while and detaches it then, or at a
    /// second signal.
    async fn stop(&self, signals: &mut Signals) -> Result<(), MountError> {
        // The service manager is not always there to hear it.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let give_up = tokio::time::sleep(BUSY);
        tokio::pin!(give_up);
        let mut told = false;
        loop {
            match self.leave(Unbind::IfIdle) {
                Err(HandError::Busy) => {}
                other => return Ok(other?),
            }
            if !told {
                let target = self.target.display();
                warn!("{target} is in use; waiting up to {} s", BUSY.as_secs());
                told = true;
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = &mut give_up => break,
                () = signals.stop() => break,
            }
        }
        warn!("{} is still in use; detached", self.target.display());
        Ok(self.leave(Unbind::Detach)?)
    }
}

fn in_words(condition: &Condition) -> String {
    match condition {
        Condition::Waiting(object) => format!("waiting for {object}"),
        Condition::Refused(refusal) => refusal.to_string(),
    }
}

fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%error, "the service manager could not be told");
    }
}
