//! The daemon's side: what is to outlive the daemon is given to whoever keeps, and what a predecessor left
//! is taken.
//!
//! With a keeper of ours one thread listens to it, and comes back to it, or to its successor, when it has
//! gone: for that a copy of each descriptor is kept here. With systemd there is nothing to listen to.

mod asking;
mod attending;
mod barrier;
mod link;
mod returning;
mod saying;
mod systemd;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::io::fcntl_dupfd_cloexec;

use crate::KeeperError;
use crate::error::During;
use crate::message::{Line, Name, Role};
use crate::taking::{self, reach};
pub use asking::{KeeperReport, ask};
use link::Shared;

/// A descriptor that outlived who stored it.
#[derive(Debug)]
pub struct Stored {
    /// What it was stored under. With systemd a name may come twice.
    pub name: String,
    /// The caller's own.
    pub descriptor: OwnedFd,
}

/// What happens at the keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeeperEvent {
    /// Somebody else is to have everything: finish, store what is to be known, and end the process. It is
    /// killed in two seconds.
    HandOver,
    /// The keeper went. What is stored is stored nowhere else now; whatever is stored meanwhile is when it is
    /// back.
    Gone,
    /// A keeper is there, and everything is stored again. What it held beside that is in
    /// [`Keeper::found`].
    Back,
}

/// How storing does, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct KeeperStatus {
    /// There is a keeper, and it has been given everything.
    pub up: bool,
    /// How many descriptors are stored, or to be stored when it is back.
    pub stored: usize,
    /// How often it went away.
    pub losses: u64,
    /// How often it said no.
    pub refused: u64,
    /// Somebody else is to have everything.
    pub handing_over: bool,
}

/// A daemon's hold on its keeper. Clones are the same. Dropping the last one ends nothing: whoever took
/// everything is its holder until its process ends.
#[derive(Clone)]
pub struct Keeper(Arc<Owner>);

struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Before another keeper is asked than one that went.
const PAUSE: Duration = Duration::from_millis(5);

impl Keeper {
    /// Asks the keeper in a folder for everything, waits until it is granted, and listens to it from then on.
    /// The keeper may have to appear first, and the former holder to end. One process takes once.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Absent`] where no keeper came in time; [`KeeperError::Slow`] where it did not grant in
    /// time; [`KeeperError::Gone`] where none stayed, or hears this process: its uid is another; [`KeeperError::Refused`], at once, to a caretaker while a daemon lives, and to
    /// [`Role::Keeper`], which is not for a client; [`KeeperError::Os`].
    pub fn take(
        dir: &Path,
        role: Role,
        within: Duration,
    ) -> Result<(Self, Vec<Stored>), KeeperError> {
        if role == Role::Keeper {
            return Err(KeeperError::Refused("a keeper is no client".to_owned()));
        }
        let until = Instant::now() + within;
        loop {
            let socket = reach(dir, until)?;
            match taking::take(&socket, role, until) {
                // It handed over to another keeper, or died: there will be one.
                Err(KeeperError::Gone) if Instant::now() < until => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
                Ok(taken) => {
                    let shared = Shared::of_dir(dir, role, socket, &taken.stored)?;
                    attending::start(&shared)?;
                    return Ok((Self(Arc::new(Owner(shared))), owned(taken.stored)));
                }
            }
        }
    }

    /// The store of systemd, with what it held when it started this process; none where this process was not
    /// started with one (`NOTIFY_SOCKET`, and `FDSTORE` of `FileDescriptorStoreMax=`, systemd 254).
    ///
    /// To be called once, early.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Environment`] where variables are there and make no sense, or this was called before;
    /// [`KeeperError::Os`].
    pub fn systemd() -> Result<Option<(Self, Vec<Stored>)>, KeeperError> {
        let Some((socket, stored)) = systemd::from_environment()? else {
            return Ok(None);
        };
        let shared = Shared::of_systemd(socket, &stored)?;
        Ok(Some((Self(Arc::new(Owner(shared))), owned(stored))))
    }

    /// Stores a descriptor, of which a copy is made. What is stored under the name goes, with our own keeper
    /// in the same moment. With systemd it goes before, so there names should be new ones: store, barrier,
    /// remove the old.
    ///
    /// It is stored at the latest when [`Keeper::barrier`] says so. While the keeper is away nothing fails:
    /// it is stored when one is back.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Name`]; [`KeeperError::Os`] where no copy can be made.
    pub fn store(&self, name: &str, descriptor: BorrowedFd<'_>) -> Result<(), KeeperError> {
        self.store_all(&[(name, descriptor)])
    }

    /// Stores several; either all names are good or none is stored.
    ///
    /// # Errors
    ///
    /// As [`Keeper::store`].
    pub fn store_all(&self, all: &[(&str, BorrowedFd<'_>)]) -> Result<(), KeeperError> {
        let copies = all
            .iter()
            .map(|(name, descriptor)| Ok((name.parse()?, Arc::new(copy(descriptor)?))))
            .collect::<Result<Vec<_>, KeeperError>>()?;
        self.shared().store(&copies);
        Ok(())
    }

    /// Lets go of what is stored under these names, here and at the keeper; of what is not stored, too.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Name`]; nothing is removed then.
    pub fn remove<N: AsRef<str>>(&self, names: &[N]) -> Result<(), KeeperError> {
        let names = names
            .iter()
            .map(|name| name.as_ref().parse())
            .collect::<Result<Vec<Name>, _>>()?;
        self.shared().remove(&names);
        Ok(())
    }

    /// Waits until everything that was stored and removed before is.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Gone`] where the keeper is away, or went: it may not be; [`KeeperError::Slow`].
    pub fn barrier(&self, within: Duration) -> Result<(), KeeperError> {
        self.shared().barrier(Instant::now() + within)
    }

    /// Says that this process has everything and serves it. Said again to each keeper that comes.
    pub fn ready(&self) {
        self.shared().ready();
    }

    /// Says that this process is about to end.
    pub fn stopping(&self) {
        self.shared().say(&[Line::Stopping]);
    }

    /// Has this process killed when it has not called [`Keeper::alive`] for so long; never, for zero. Said
    /// again to each keeper that comes.
    pub fn watchdog(&self, within: Duration) {
        self.shared().watchdog(within);
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.shared().say(&[Line::Watchdog]);
    }

    /// What happens at the keeper from now on, and before that, what still is so. Nothing ever happens at
    /// systemd's.
    pub fn events(&self) -> Receiver<KeeperEvent> {
        self.shared().events()
    }

    /// What the keeper held, when it was back, that this process never stored: somebody else had it in
    /// between. Each is given once.
    pub fn found(&self) -> Vec<Stored> {
        self.shared().found()
    }

    /// How storing does.
    pub fn status(&self) -> KeeperStatus {
        self.shared().status()
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("Keeper")
            .field(&self.status())
            .finish()
    }
}

fn owned(stored: Vec<(Name, OwnedFd)>) -> Vec<Stored> {
    let stored = stored.into_iter().map(|(name, descriptor)| Stored {
        name: name.as_str().to_owned(),
        descriptor,
    });
    stored.collect()
}

fn copy(descriptor: impl AsFd) -> Result<OwnedFd, KeeperError> {
    fcntl_dupfd_cloexec(descriptor, 3).during("copy a descriptor")
}
