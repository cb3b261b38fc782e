//! The keeper's process: one thread and one loop that waits for nothing but what poll(2) tells.
//!
//! It makes no call that a FUSE daemon could delay: it never touches a mount, and reads nothing of what it
//! holds. Everything is bounded: clients, names, messages, descriptors, and the time that anybody may keep
//! another waiting.

mod child;
mod clients;
mod granting;
mod grants;
mod handing;
mod options;
mod place;
mod requests;
mod store;
mod unserved;
mod watchdog;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::KeeperError;
use crate::error::During;
use crate::message::Role;
use crate::socket::{self, wait_for};
use crate::sys;
use child::Restarted;
use clients::{ClientId, Clients};
use grants::Grants;
pub use options::{HandOptions, Options};
use place::Place;
use store::Store;

/// Why a keeper ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeeperEnd {
    /// It was told to and held nothing.
    Empty,
    /// It was told to, and a daemon that lives has everything.
    Held,
    /// Another keeper has everything.
    Handed,
}

/// Keeps, until it is told to end and may, or another keeper takes its place.
///
/// The caller should have one thread: signals are handled, children started.
///
/// # Errors
///
/// [`KeeperError::Occupied`] where another keeper is in the folder and does not hand over;
/// [`KeeperError::Os`] where the folder or the socket cannot be made.
pub fn run(mut options: Options) -> Result<KeeperEnd, KeeperError> {
    let stop = sys::stop_signals().during("handle signals")?;
    let _unnamed = rustix::thread::set_name(c"livemount-keep");
    let descriptors = raise_descriptor_limit();
    let (mut place, mut taken) = Place::claim(&options.dir, options.succession)?;
    loop {
        let mut keeper = KeeperProcess::new(options, stop, place, descriptors);
        if let Some(taken) = taken.take() {
            keeper.begin_with(taken);
        }
        let end = keeper.serve();
        match &end {
            Ok(KeeperEnd::Handed) if keeper.stands_by() => {
                tracing::info!("another keeper has everything: standing by");
            }
            Ok(end) => tracing::info!(?end, "the keeper ends"),
            Err(error) => tracing::error!(%error, "the keeper cannot go on"),
        }
        keeper.leave();
        if !matches!(end, Ok(KeeperEnd::Handed)) || !keeper.stands_by() {
            return end;
        }
        options = keeper.end_of_keeping();
        let Some(free) = Place::when_free(&options.dir, stop)? else {
            tracing::info!("told to end while standing by");
            return Ok(KeeperEnd::Handed);
        };
        place = free;
    }
}

struct KeeperProcess {
    options: Options,
    stop: BorrowedFd<'static>,
    place: Place,
    clients: Clients,
    store: Store,
    grants: Grants,
    hand: Option<Restarted>,
    caretaker: Option<Restarted>,
    stopping: Option<Stopping>,
    /// Another keeper has said that it has everything.
    handed: bool,
    buffer: Box<[u8]>,
}

/// Told to end, and whether it was said why it stays.
struct Stopping {
    told: bool,
}

/// What poll(2) waits for.
#[derive(Clone, Copy)]
enum Awaited {
    Stop,
    Listener,
    Client(ClientId),
    /// A process: that it ended is seen where it is looked at.
    Process,
}

impl KeeperProcess {
    fn new(options: Options, stop: BorrowedFd<'static>, place: Place, descriptors: usize) -> Self {
        let program = &options.program;
        let hand = options
            .hand
            .as_ref()
            .map(|hand| Restarted::hand(program, hand.args(&options.dir)));
        let caretaker = options
            .caretaker
            .then(|| Restarted::caretaker(program, options.caretaker_args()));
        Self {
            stop,
            place,
            clients: Clients::default(),
            store: Store::of(descriptors),
            grants: Grants::new(Instant::now()),
            hand,
            caretaker,
            stopping: None,
            handed: false,
            buffer: socket::buffer(),
            options,
        }
    }

    fn serve(&mut self) -> Result<KeeperEnd, KeeperError> {
        loop {
            let now = Instant::now();
            self.look_at_holder(now);
            self.advance(now);
            self.push(now);
            self.look_at_children(now);
            if let Some(end) = self.end() {
                return Ok(end);
            }
            let ready = self.wait(now)?;
            for awaited in ready {
                match awaited {
                    Awaited::Stop => self.told_to_end(),
                    Awaited::Listener => self
                        .clients
                        .accept(self.place.listener(), |id| self.grants.needs(id)),
                    Awaited::Client(id) => {
                        self.hear(id);
                    }
                    Awaited::Process => {}
                }
            }
            // After what was heard, so that a sign of life that waited is one.
            self.grants.watch(Instant::now());
        }
    }

    fn wait(&self, now: Instant) -> Result<Vec<Awaited>, KeeperError> {
        let mut awaited = vec![Awaited::Stop, Awaited::Listener];
        let mut polled = vec![
            PollFd::from_borrowed_fd(self.stop, PollFlags::IN),
            PollFd::new(self.place.listener(), PollFlags::IN),
        ];
        for (id, client) in self.clients.iter() {
            let mut what = PollFlags::empty();
            if self.grants.may_speak(id) {
                what |= PollFlags::IN;
            }
            if self.grants.has_more_for(id) {
                what |= PollFlags::OUT;
            }
            if !what.is_empty() {
                awaited.push(Awaited::Client(id));
                polled.push(PollFd::from_borrowed_fd(client.as_fd(), what));
            }
        }
        let children = [&self.hand, &self.caretaker];
        let children = children
            .into_iter()
            .filter_map(|child| child.as_ref()?.pidfd());
        for process in self.grants.holder_pidfd().into_iter().chain(children) {
            awaited.push(Awaited::Process);
            polled.push(PollFd::from_borrowed_fd(process, PollFlags::IN));
        }
        wait_for(&mut polled, self.due(now)).during("poll")?;
        let ready = awaited
            .into_iter()
            .zip(&polled)
            .filter(|(_, polled)| !polled.revents().is_empty());
        Ok(ready.map(|(awaited, _)| awaited).collect())
    }

    /// When there is something to do although nothing was heard.
    fn due(&self, now: Instant) -> Option<Instant> {
        let hand = self.hand.as_ref().and_then(Restarted::due);
        let caretaker = self.caretaker.as_ref().and_then(|caretaker| {
            let unserved = self.caretaker_due()?;
            Some(unserved.max(caretaker.due()?))
        });
        let due = [self.grants.due(), hand, caretaker]
            .into_iter()
            .flatten()
            .min();
        due.map(|due| due.max(now))
    }

    /// When a caretaker should be there, if nothing changes.
    fn caretaker_due(&self) -> Option<Instant> {
        if self.store.is_empty() {
            return None;
        }
        self.grants.unserved(self.options.alone)
    }

    fn look_at_children(&mut self, now: Instant) {
        let due = self.caretaker_due();
        if let Some(hand) = &mut self.hand {
            hand.attend(now, true, true);
        }
        if let Some(caretaker) = &mut self.caretaker {
            caretaker.attend(now, due.is_some(), due.is_some_and(|due| due <= now));
        }
    }

    fn told_to_end(&mut self) {
        let mut number = [0; 8];
        let _seen = rustix::io::read(self.stop, &mut number);
        if self.stopping.is_none() {
            tracing::info!("told to end");
            self.stopping = Some(Stopping { told: false });
        }
    }

    /// Whether it is time to go. What is held here and nowhere else would be lost.
    fn end(&mut self) -> Option<KeeperEnd> {
        if self.handed {
            return Some(KeeperEnd::Handed);
        }
        let stopping = self.stopping.as_mut()?;
        if self.store.is_empty() {
            return Some(KeeperEnd::Empty);
        }
        if self.grants.all_is_held() {
            return Some(KeeperEnd::Held);
        }
        if !stopping.told {
            stopping.told = true;
            let descriptors = self.store.len();
            let holder = self.grants.holder_role().map_or("nobody", Role::as_str);
            tracing::warn!(
                descriptors,
                holder,
                "what is held here is not yet in the hands of a daemon that is ready: \
                 staying until it is"
            );
        }
        None
    }

    /// Whether it stays when another keeper has everything. Not when it was told to end before that.
    fn stands_by(&self) -> bool {
        self.options.stand_by && self.stopping.is_none()
    }

    /// All but what it was told goes: its connections, and its hold on the lock, whose end the other keeper
    /// waits for.
    fn end_of_keeping(self) -> Options {
        self.options
    }

    /// The end of the process: the hand takes nothing away when it is killed, and the next keeper starts
    /// another. A caretaker goes on as long as it serves something.
    fn leave(&mut self) {
        if !self.handed {
            self.place.leave();
        }
        if let Some(hand) = &mut self.hand {
            hand.kill();
        }
        let serves = self.grants.holder_role() == Some(Role::Caretaker) && !self.store.is_empty();
        if let Some(caretaker) = self.caretaker.as_mut().filter(|_| !serves) {
            caretaker.kill();
        }
    }
}

/// What is held is descriptors; the usual soft limit is 1,024. Says how many there may be.
fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let most = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    };
    most.and_then(|most| usize::try_from(most).ok())
        .unwrap_or(usize::MAX)
}
