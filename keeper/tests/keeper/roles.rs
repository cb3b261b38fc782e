//! What this program is when it is not the tests.

use std::fmt::Write as _;
use std::io::{BufRead, Write as _, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use livemount_keeper::process::{HandOptions, Options, run};
use livemount_keeper::{Keeper, KeeperError, KeeperEvent, Role, Stored};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{pread, pwrite};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Longer than anything that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks whether the test is still there.
const MOMENT: Duration = Duration::from_millis(50);

/// Plays a role, if it is one.
pub fn play(role: &str, args: impl Iterator<Item = String>) -> Option<ExitCode> {
    let args: Vec<String> = args.collect();
    if ["keep", "client", "unit"].contains(&role) {
        // Killed tests leave nobody behind either.
        set_parent_process_death_signal(Some(Signal::KILL)).expect("it is a signal");
    }
    match role {
        "keep" => Some(keep(&args)),
        "hand" => Some(hand(&args)),
        "caretake" => Some(caretake(&args)),
        "client" => Some(client(None)),
        "unit" => {
            let unit = Keeper::systemd().expect("the environment makes sense");
            if unit.is_none() {
                println!("none");
            }
            Some(client(unit))
        }
        "stranger" => Some(super::strangers::stranger(&args[0])),
        _ => None,
    }
}

/// `keep DIR HANDOVER_MS ALONE_MS [hand] [caretaker] [hasty]`
fn keep(args: &[String]) -> ExitCode {
    let millis = |text: &str| Duration::from_millis(text.parse().expect("a number"));
    let has = |what: &str| args.iter().any(|arg| arg == what);
    let options = Options {
        handover: millis(&args[1]),
        alone: millis(&args[2]),
        caretaker: has("caretaker"),
        hand: has("hand").then(|| HandOptions {
            roots: vec!["/a".into(), "/b".into()],
            heartbeat: Duration::from_millis(1500),
            leave_dead: false,
        }),
        succession: if has("hasty") { MOMENT } else { PATIENCE },
        ..Options::new(args[0].clone().into())
    };
    match run(options) {
        Ok(end) => {
            println!("{end:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Leaves word of how it was started, and does nothing more.
fn hand(args: &[String]) -> ExitCode {
    let note = format!("{} {}", std::process::id(), args.join(" "));
    let dir = Path::new(&args[1]);
    std::fs::write(dir.join("hand.note"), note).expect("the folder is there");
    while dir.exists() {
        std::thread::sleep(MOMENT);
    }
    ExitCode::SUCCESS
}

fn caretake(args: &[String]) -> ExitCode {
    assert_eq!(args[0], "--keeper");
    match Keeper::take(Path::new(&args[1]), Role::Caretaker, PATIENCE) {
        Ok((keeper, _stored)) => {
            keeper.ready();
            let events = keeper.events();
            // It outlives its keeper, but not the test, which takes its folder away.
            while events.recv_timeout(MOMENT) != Ok(KeeperEvent::HandOver) {
                if !Path::new(&args[1]).exists() {
                    return ExitCode::FAILURE;
                }
            }
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// A descriptor with a text behind it.
pub fn descriptor(text: &str) -> OwnedFd {
    let memory = memfd_create("stored", MemfdFlags::CLOEXEC).expect("a memfd");
    pwrite(&memory, text.as_bytes(), 0).expect("takes it");
    memory
}

/// The text behind a descriptor.
pub fn text(descriptor: impl AsFd) -> String {
    let mut buffer = [0; 256];
    let length = pread(descriptor, &mut buffer, 0).expect("reads");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// A daemon that does what it reads, a line at a time, and says what became of it. It never ends by itself.
struct Daemon {
    keeper: Option<Keeper>,
    events: Option<Receiver<KeeperEvent>>,
}

fn client(unit: Option<(Keeper, Vec<Stored>)>) -> ExitCode {
    let mut daemon = Daemon {
        keeper: None,
        events: None,
    };
    if let Some((keeper, stored)) = unit {
        println!("{}", daemon.has(Ok((keeper, stored))));
    }
    for line in stdin().lock().lines() {
        let line = line.expect("lines");
        let words: Vec<&str> = line.split(' ').collect();
        println!("{}", daemon.act(&words));
        stdout().flush().expect("somebody reads");
    }
    loop {
        std::thread::park();
    }
}

impl Daemon {
    fn has(&mut self, taken: Result<(Keeper, Vec<Stored>), KeeperError>) -> String {
        let (keeper, mut stored) = match taken {
            Ok(taken) => taken,
            Err(error) => return format!("error: {error}"),
        };
        self.events = Some(keeper.events());
        self.keeper = Some(keeper);
        stored.sort_by(|one, other| one.name.cmp(&other.name));
        let mut line = format!("{}:", stored.len());
        for stored in stored {
            let _written = write!(line, " {}={}", stored.name, text(&stored.descriptor));
        }
        line
    }

    fn act(&mut self, words: &[&str]) -> String {
        if let ["take", role, dir] = words {
            let role = role.parse().expect("a role");
            // Two in one process would take everything from each other.
            self.keeper = None;
            return self.has(Keeper::take(Path::new(dir), role, PATIENCE));
        }
        let keeper = self.keeper.as_ref().expect("has taken");
        let outcome = match words {
            ["store", name, text] => keeper.store(name, descriptor(text).as_fd()),
            ["many", number] => {
                let number: usize = number.parse().expect("a number");
                let memory = descriptor("many");
                let names: Vec<String> = (0..number).map(|at| format!("many{at:05}")).collect();
                let all: Vec<_> = names
                    .iter()
                    .map(|name| (name.as_str(), memory.as_fd()))
                    .collect();
                keeper.store_all(&all)
            }
            ["remove", name] => keeper.remove(&[name]),
            ["barrier"] => keeper.barrier(PATIENCE),
            ["ready"] => {
                keeper.ready();
                Ok(())
            }
            ["watchdog", millis] => {
                keeper.watchdog(Duration::from_millis(millis.parse().expect("a number")));
                Ok(())
            }
            ["alive"] => {
                keeper.alive();
                Ok(())
            }
            ["event"] => {
                let events = self.events.as_ref().expect("has taken");
                return format!("{:?}", events.recv_timeout(PATIENCE));
            }
            ["status"] => return format!("{:?}", keeper.status()),
            ["found"] => {
                let found = keeper.found();
                let found = found
                    .iter()
                    .map(|found| format!("{}={}", found.name, text(&found.descriptor)));
                return found.collect::<Vec<_>>().join(" ");
            }
            _ => return "what?".to_owned(),
        };
        outcome.map_or_else(|error| format!("error: {error}"), |()| "ok".to_owned())
    }
}
