//! Does what the machine asks for, and brings back what became of it. Decides nothing.
//!
//! The one loop of a daemon: calls, what sources say, results and time go into the machine one after the
//! other. Mounts and unmounts run on threads apart, since they wait for the kernel; nothing here ever
//! blocks a thread of the runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use livemount_engine::engine::{Engine, VolumeId};
use livemount_engine::snapshot::Snapshot;
use livemount_hand::{Hand, HandError};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::handle::{Gauges, Reply};
use super::{
    Action, Ask, CallError, CallId, Input, Machine, MountingId, Policy, Request, Stats, Voice,
    Volumes,
};
use crate::observe::Facts;
use crate::observe::http::Heartbeat;
use crate::publish::{
    ConnectionEnd, Continued, Left, NewVolume, PublishError, Published, Publisher,
};
use crate::source::{SourceEnded, Sources, Updates};

/// How often it is shown that the loop comes round.
const BEAT: Duration = Duration::from_secs(5);

/// Who tells which of this node's pods stay, by uid; nothing where it cannot be told.
pub type AskPods =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Option<BTreeSet<String>>> + Send>> + Send>;

/// What the driver works with.
pub struct Parts {
    /// Where objects come from.
    pub sources: Sources,
    /// What these say.
    pub updates: Updates,
    /// Who mounts.
    pub publisher: Publisher,
    /// Who clears targets.
    pub hand: Hand,
    /// Where facts go.
    pub facts: Facts,
    /// Who speaks.
    pub voice: Voice,
    /// Who is asked which pods stay.
    pub pods: Option<AskPods>,
    /// Where the loop shows that it comes round.
    pub heartbeat: Option<Heartbeat>,
}

/// What comes back from a thread or a task.
enum Done {
    Mounted {
        volume: VolumeId,
        mount: MountingId,
        snapshot: Arc<Snapshot>,
        result: Result<Published, PublishError>,
    },
    Other(Input),
}

/// The loop.
pub struct Driver {
    parts: Parts,
    machine: Machine,
    published: BTreeMap<VolumeId, Arc<Published>>,
    /// What a predecessor has left that could not be read, until it is rendered.
    unreadable: BTreeMap<VolumeId, Left>,
    calls: mpsc::Receiver<(Ask, Reply)>,
    replies: BTreeMap<CallId, Reply>,
    last_call: CallId,
    gauges: Arc<Gauges>,
    tell: mpsc::UnboundedSender<Done>,
    done: mpsc::UnboundedReceiver<Done>,
}

impl Driver {
    /// Where volumes are asked for, and the loop, which serves them once it [runs](Self::run). The engine has
    /// no volumes yet.
    pub fn new(engine: Engine, policy: Policy, parts: Parts) -> (Volumes, Self) {
        let (volumes, calls, gauges) = Volumes::new();
        // As many wait as there are threads at work, each of which tells once.
        let (tell, done) = mpsc::unbounded_channel();
        let driver = Self {
            machine: Machine::new(engine, policy, Instant::now()),
            parts,
            published: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            calls,
            replies: BTreeMap::new(),
            last_call: CallId(0),
            gauges,
            tell,
            done,
        };
        (volumes, driver)
    }

    /// Takes up a volume that another process has left. Must not be known yet.
    pub fn take_up(&mut self, continued: Continued, request: Request) {
        let shown = continued.shown();
        let volume = request.volume.clone();
        let (mount, actions) = self.machine.take_over(request, shown, Instant::now());
        let on_end = telling_end(self.tell.clone(), volume.clone(), mount);
        let published = self.parts.publisher.take_up(continued, on_end);
        self.published.insert(volume, Arc::new(published));
        self.gauges.mounted.store(true, Ordering::Relaxed);
        for action in actions {
            self.act(action);
        }
    }

    /// Has a volume rendered that another process has left and of which what it was could not be read.
    pub fn render_anew(&mut self, left: Left, request: Request) {
        self.unreadable.insert(request.volume.clone(), left);
        // Nobody waits for the answer: who does asks again.
        self.last_call = CallId(self.last_call.0 + 1);
        let ask = Ask::Publish {
            request: Box::new(request),
            until: None,
        };
        self.step(Input::Call(self.last_call, ask));
    }

    /// Serves until nobody can call any more, or a source ends.
    ///
    /// # Errors
    ///
    /// A source has ended: nothing served would change any more.
    pub async fn run(mut self) -> Result<(), SourceEnded> {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.machine.due();
            tokio::select! {
                call = self.calls.recv() => match call {
                    Some((ask, reply)) => self.call(ask, reply),
                    None => return Ok(()),
                },
                update = self.parts.updates.next() => self.step(Input::Source(update?)),
                // Never closed: `self` holds an end.
                Some(done) = self.done.recv() => self.finish(done),
                () = until(due) => self.step(Input::Tick),
                _ = beat.tick(), if self.parts.heartbeat.is_some() => {}
            }
            if let Some(heartbeat) = &self.parts.heartbeat {
                heartbeat.beat();
            }
            let (waiting, failing) = (self.machine.waiting(), self.machine.failing());
            self.gauges.waiting.store(waiting, Ordering::Relaxed);
            self.gauges.failing.store(failing, Ordering::Relaxed);
        }
    }

    fn call(&mut self, ask: Ask, reply: Reply) {
        self.last_call = CallId(self.last_call.0 + 1);
        self.replies.insert(self.last_call, reply);
        self.step(Input::Call(self.last_call, ask));
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Other(input) => {
                if let Input::Unmounted {
                    volume, gone: true, ..
                } = &input
                {
                    self.published.remove(volume);
                }
                self.step(input);
            }
            Done::Mounted {
                volume,
                mount,
                snapshot,
                result,
            } => {
                let result = result.map(|published| {
                    self.gauges.mounted.store(true, Ordering::Relaxed);
                    self.published.insert(volume.clone(), Arc::new(published));
                    snapshot
                });
                let mounted = Input::Mounted {
                    volume: volume.clone(),
                    mount,
                    result,
                };
                self.step(mounted);
                // Its end may have come before it was known to be there.
                let published = self.published.get(&volume);
                if published.is_some_and(|published| published.ended()) {
                    self.step(Input::Ended { volume, mount });
                }
            }
        }
    }

    fn step(&mut self, input: Input) {
        for action in self.machine.step(input, Instant::now()) {
            self.act(action);
        }
    }

    #[allow(clippy::too_many_lines)] // One arm for each action.
    fn act(&mut self, action: Action) {
        match action {
            Action::Watch(key) => self.parts.sources.watch(&key),
            Action::Unwatch(key) => self.parts.sources.unwatch(&key),
            Action::Mount {
                volume,
                mount,
                name,
                target,
                over,
                snapshot,
                settings,
                request,
            } => {
                let (publisher, first) = (self.parts.publisher.clone(), Arc::clone(&snapshot));
                let (tell, ending) = (self.tell.clone(), volume.clone());
                let on_end = telling_end(tell, ending, mount);
                let left = self.unreadable.remove(&volume);
                let work = move || {
                    if let Some(left) = left {
                        return publisher.render_anew(left, first, on_end);
                    }
                    let new = NewVolume {
                        name: &name,
                        target: &target,
                        over,
                        first,
                        settings,
                        request,
                    };
                    publisher.publish(new, on_end)
                };
                self.apart(work, move |done| Done::Mounted {
                    volume,
                    mount,
                    snapshot,
                    result: done.unwrap_or_else(|fault| {
                        Err(PublishError::Thread(std::io::Error::other(fault)))
                    }),
                });
            }
            Action::Rebind { volume, over } => {
                let published = self.published.get(&volume).cloned();
                let work = move || published.map_or(Ok(()), |published| published.rebind(over));
                self.apart(work, move |done| {
                    let result = done.unwrap_or(Err(HandError::Died));
                    Done::Other(Input::Rebound { volume, result })
                });
            }
            Action::Offer { volume, snapshot } => {
                if let Some(published) = self.published.get(&volume) {
                    published.offer(snapshot);
                }
            }
            Action::Unmount {
                volume,
                mounted,
                how,
                clear,
                abandon,
            } => {
                let published = if abandon {
                    self.published.remove(&volume)
                } else {
                    self.published.get(&volume).filter(|_| mounted).cloned()
                };
                let hand = self.parts.hand.clone();
                let work = move || {
                    let left = published.map_or(Ok(()), |published| published.unpublish(how));
                    let gone = mounted && left.is_ok();
                    let clear = clear.map_or(Ok(()), |target| hand.clear(&target));
                    (gone, left.and(clear))
                };
                self.apart(work, move |done| {
                    // A fault leaves open what became of the mount: whoever asked has to ask again.
                    let (gone, result) = done.unwrap_or((false, Err(HandError::Died)));
                    Done::Other(Input::Unmounted {
                        volume,
                        gone,
                        result,
                    })
                });
            }
            Action::Condition { volume, why } => {
                if let Some(published) = self.published.get(&volume) {
                    published.set_condition(why);
                }
            }
            Action::Answer(call, result) => {
                if let Some(reply) = self.replies.remove(&call) {
                    reply.send(result);
                }
            }
            Action::AnswerStats(call, volume) => self.stats(call, &volume),
            Action::AskPods => {
                let Some(ask) = &self.parts.pods else {
                    return;
                };
                let (asked, tell) = (ask(), self.tell.clone());
                tokio::spawn(async move {
                    let _ = tell.send(Done::Other(Input::Staying(asked.await)));
                });
            }
            Action::ForgetPod(pod) => self.parts.voice.forget(&pod),
            Action::Say(notice) => self.parts.voice.say(*notice, &self.parts.facts),
        }
    }
}

impl Driver {
    /// Answers with a mounted volume's size.
    fn stats(&mut self, call: CallId, volume: &VolumeId) {
        let Some(Reply::Stats(reply)) = self.replies.remove(&call) else {
            return;
        };
        let stats = match self.published.get(volume) {
            Some(published) => {
                let shown = published.volume().shown();
                Ok(Stats {
                    bytes: shown.bytes(),
                    // The root is one, too.
                    inodes: shown.entries.len() as u64 + 1,
                })
            }
            None => Err(CallError::Ending),
        };
        // Who has given up is not told.
        let _ = reply.send(stats);
    }

    /// Does what may wait for the kernel on a thread apart, and takes in what became of it; a fault is
    /// told as well.
    fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Result<T, JoinError>) -> Done + Send + 'static,
    ) {
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let became = tokio::task::spawn_blocking(work).await;
            // Nobody hears it where the daemon is ending.
            let _ = tell.send(done(became));
        });
    }
}

/// Tells the end of a mounting.
fn telling_end(
    tell: mpsc::UnboundedSender<Done>,
    volume: VolumeId,
    mount: MountingId,
) -> impl FnOnce(ConnectionEnd) + Send + 'static {
    move |_| {
        // Nobody hears it where the daemon is ending.
        let _ = tell.send(Done::Other(Input::Ended { volume, mount }));
    }
}

/// Sleeps until then; for ever where there is no then.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
