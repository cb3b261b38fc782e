//! The one loop where events and effects meet: readings of the source become events, what the engine
//! answers is done.
//!
//! Until its objects are there the volume is waited for, not refused: who starts it may come before
//! who writes them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::engine::{Effect, Engine, Event, Trouble, VolumeId};
use livemount_engine::object::Object;
use livemount_engine::snapshot::Snapshot;
use livemount_engine::spec::Spec;
use livemount_hand::{HandError, Unbind};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::signals::{Asked, Signals};
use super::{MountError, system};
use crate::observe::{Fact, Facts};
use crate::publish::{Published, Publisher, Settings};
use crate::source::manifest::{Manifests, Objects, Reading, SourceError};

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
    pub(super) origin: PathBuf,
    pub(super) target: PathBuf,
    pub(super) settings: Settings,
    /// Whether the target may hold something.
    pub(super) over: bool,
    pub(super) publisher: Publisher,
    pub(super) published: Option<Published>,
    /// What the publisher was given last.
    pub(super) shown: Option<Arc<Snapshot>>,
    pub(super) facts: Facts,
}

impl Mount {
    /// Serves until a signal or an error.
    pub(super) async fn serve(
        &mut self,
        source: Manifests,
        mut ended: mpsc::Receiver<()>,
    ) -> Result<(), MountError> {
        let mut signals = Signals::new().map_err(system("listen for signals"))?;
        let objects = source.objects();
        let (tell, mut readings) = mpsc::channel(1);
        let again = Arc::new(Notify::new());
        let source = tokio::spawn(source.watch(tell, Arc::clone(&again)));
        // Nothing follows from this before the objects are known.
        self.engine.handle(Event::Publish {
            volume: self.volume.clone(),
            spec: self.spec.clone(),
        });
        self.take(&objects)?;
        let mut remind = Instant::now() + REMIND;
        let mut look = Instant::now() + LOOK;
        loop {
            tokio::select! {
                reading = readings.recv() => match reading {
                    Some(Reading::Objects(objects)) => self.take(&objects)?,
                    Some(Reading::Broken(error)) => {
                        self.facts.tell(Fact::Unreadable { why: error.to_string() });
                    }
                    None => return Err(MountError::Source(SourceError::ended(source).await)),
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
                        info!("SIGHUP: {} is read again", self.origin.display());
                        again.notify_one();
                    }
                },
                () = sleep_until(remind), if self.published.is_none() => {
                    self.say_what_is_waited_for();
                    remind = Instant::now() + REMIND;
                }
            }
        }
    }

    /// Takes over what the source says now. An object that is not in it does not exist.
    ///
    /// What was read at once is shown at once, or not at all: the engine hears of one object after
    /// the other, and what it makes of the first before it knows the last is passed over.
    fn take(&mut self, objects: &Objects) -> Result<(), MountError> {
        let before = self.engine.trouble(&self.volume).cloned();
        let mounted = self.published.is_some();
        for key in self.spec.objects() {
            let effects = self.engine.handle(match objects.get(key) {
                Some(object) => Event::Applied(Object::clone(object)),
                None => Event::Deleted(key.clone()),
            });
            for effect in effects {
                if let Effect::Warned { warnings, .. } = effect {
                    for warning in warnings {
                        warn!(volume = %self.volume, "{warning}");
                    }
                }
            }
        }
        let trouble = self.engine.trouble(&self.volume).cloned();
        if trouble.is_none()
            && let Some(latest) = self.engine.latest(&self.volume).cloned()
        {
            self.show(&latest)?;
        }
        // That it is mounted now is told by `show`.
        if trouble != before && mounted == self.published.is_some() {
            self.tell(trouble);
        }
        Ok(())
    }

    /// Tells how the volume stands, where that has changed.
    fn tell(&self, trouble: Option<Trouble>) {
        let Some(published) = &self.published else {
            return self.say_what_is_waited_for();
        };
        published.set_trouble(trouble.as_ref().map(in_words));
        let volume = Arc::from(self.volume.as_str());
        self.facts.tell(match trouble {
            Some(Trouble::Refused(refusal)) => Fact::Refused { volume, refusal },
            // After its first commit a volume waits for nothing.
            Some(Trouble::Waiting(_)) => return,
            None => Fact::Recovered { volume },
        });
    }

    fn say_what_is_waited_for(&self) {
        if let Some(trouble) = self.engine.trouble(&self.volume) {
            warn!("{} in {}", in_words(trouble), self.origin.display());
        }
    }

    fn show(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), MountError> {
        if self
            .shown
            .as_ref()
            .is_some_and(|shown| Arc::ptr_eq(shown, snapshot))
        {
            return Ok(());
        }
        self.shown = Some(Arc::clone(snapshot));
        let snapshot = Arc::clone(snapshot);
        if let Some(published) = &self.published {
            published.offer(snapshot);
            return Ok(());
        }
        let files = snapshot.files().count();
        let (name, target, settings) = (self.volume.as_str(), &self.target, self.settings);
        let published = if self.over {
            self.publisher
                .publish_over(name, target, snapshot, settings)
        } else {
            self.publisher.publish(name, target, snapshot, settings)
        }?;
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

fn in_words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Waiting(object) => format!("waiting for {object}"),
        Trouble::Refused(refusal) => refusal.to_string(),
    }
}

fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(%error, "the service manager could not be told");
    }
}
