//! The way in: the test program runs itself again inside namespaces of its own, so that its end,
//! however it comes, is the end of all that it started.
//!
//! Four processes, all of the same program:
//!
//! - the outer one, which the user started: it builds what is missing, forwards signals, and hands
//!   on the exit status;
//! - the guardian, which outlives it: it owns the run's folder and removes what namespaces do not
//!   take with them, also when the outer one was killed;
//! - the first process inside, which dies with the guardian: it sets up the machine and reaps;
//! - the body, whose end is the run's.
//!
//! `setpriv` and `unshare` of util-linux bring one to the next, so nothing here needs `unsafe`. If
//! the guardian is killed as well, the next run removes what it left.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

use rustix::process::{WaitOptions, getpid, getppid, getuid, set_child_subreaper, wait};
use tokio::process::{Child, Command as Spawn};
use tokio::signal::unix::{SignalKind, signal};

use crate::{machine, programs, remains};

/// Which of the four processes this one is, and the pid that its parent must still have.
const ROLE: &str = "LIVEMOUNT_CLUSTER_ROLE";
const PARENT: &str = "LIVEMOUNT_CLUSTER_PARENT";
/// The run's folder.
const FOLDER: &str = "LIVEMOUNT_CLUSTER_FOLDER";
/// Set by a user who wants to read the logs after the run.
const KEEP: &str = "LIVEMOUNT_CLUSTER_KEEP";

/// Runs the body of a test program inside, with these programs built before. To be the first thing
/// in `main`, on its thread, for the other processes come through here too.
///
/// Inside are: the machine's files, with `/run` and `/var/lib/kubelet` empty and writes below
/// `/var/lib` and `/var/log` gone after the end; no network but the node's own; only the processes
/// that the body starts. The arguments and the environment are those of the outer process.
pub fn enter(programs: &[&str], body: impl FnOnce() -> ExitCode) -> ExitCode {
    let result = match env::var(ROLE).as_deref() {
        Err(_) => outer(programs),
        Ok("guardian") => guardian(),
        Ok("first") => first(),
        Ok(_) => return body(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("cluster: {error}");
        ExitCode::FAILURE
    })
}

/// The run's folder, with the logs in `logs`. It is on the machine's disk and removed at the end.
///
/// # Panics
/// Outside of [`enter`].
pub fn folder() -> PathBuf {
    env::var_os(FOLDER).expect("inside of `enter`").into()
}

/// The command by which a human comes inside, in another terminal.
pub fn way_in() -> String {
    fs::read_to_string(folder().join("way-in")).expect("the guardian has written it")
}

fn outer(programs: &[&str]) -> Result<ExitCode, String> {
    if !getuid().is_root() {
        return Err("run this as root: it makes namespaces, mounts and cgroups".to_owned());
    }
    let built = programs::build(programs)?;
    let mut guardian = again("guardian", &["setpriv", "--pdeathsig", "TERM"])?;
    guardian.env(programs::BUILT, built);
    // A signal to the whole group, as Ctrl-C and `timeout` send it, must not end the guardian.
    guardian.process_group(0);
    in_the_foreground(async {
        let mut guardian = start(guardian)?;
        let mut signals = Signals::new()?;
        let status = loop {
            tokio::select! {
                status = guardian.wait() => break status,
                () = signals.next() => {
                    // The guardian ends the run, and then itself.
                    let pid = guardian.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
                    if let Some(pid) = pid {
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                    }
                }
            }
        };
        status.map_err(|error| format!("the guardian: {error}"))
    })
    .map(code)
}

fn guardian() -> Result<ExitCode, String> {
    has_parent()?;
    // What loses its parent inside comes to the guardian, which can so wait for all of it to be gone.
    set_child_subreaper(Some(getpid())).map_err(|error| format!("subreaper: {error}"))?;
    let run = remains::Run::begin()?;
    let mut first = again(
        "first",
        &[
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--fork",
            "--kill-child=KILL",
            "--pid",
            "--mount-proc",
            "--mount",
            "--propagation=private",
            "--net",
            "--uts",
            "--ipc",
        ],
    )?;
    first.env(FOLDER, run.folder());
    let status = in_the_foreground(async {
        let mut signals = Signals::new()?;
        let mut first = start(first)?;
        // unshare itself is in all the new namespaces but that of pids, which its child is in.
        let pid = first.id().unwrap_or_default();
        let way_in = format!(
            "nsenter --mount=/proc/{pid}/ns/mnt --net=/proc/{pid}/ns/net --ipc=/proc/{pid}/ns/ipc \
             --uts=/proc/{pid}/ns/uts --pid=/proc/{pid}/ns/pid_for_children"
        );
        fs::write(run.folder().join("way-in"), way_in)
            .map_err(|error| format!("the run's folder: {error}"))?;
        tokio::select! {
            status = first.wait() => status.map(code),
            () = signals.next() => first.kill().await.map(|()| ExitCode::from(130)),
        }
        .map_err(|error| format!("unshare: {error}"))
    });
    // The kernel ends the processes inside one by one. The last of them is their first.
    while wait(WaitOptions::empty()).is_ok() {}
    if env::var_os(KEEP).is_some() {
        eprintln!("cluster: kept {}", run.folder().display());
        run.end_but_keep_folder();
    } else {
        run.end();
    }
    status
}

fn first() -> Result<ExitCode, String> {
    machine::set_up(&folder())?;
    let body = again("body", &[])?
        .spawn()
        .map_err(|error| format!("the body: {error}"))?;
    // Whatever loses its parent inside is this process's child, and is reaped here.
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().cast_unsigned() == body.id() => {
                let signal = status.terminating_signal().map_or(0, |signal| 128 + signal);
                let code = status.exit_status().unwrap_or(signal);
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("waiting for the body: {error}")),
        }
    }
}

/// This program with its arguments again, as another of the four, started by way of `through`.
fn again(role: &str, through: &[&str]) -> Result<Command, String> {
    let program = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut command = match through {
        [] => Command::new(program),
        [way, arguments @ ..] => {
            let mut command = Command::new(programs::system(way));
            command.args(arguments).arg("--").arg(program);
            command
        }
    };
    command
        .args(env::args_os().skip(1))
        .env(ROLE, role)
        .env(PARENT, getpid().as_raw_nonzero().to_string());
    Ok(command)
}

/// A parent that died before this process asked to be told of it would not be noticed.
fn has_parent() -> Result<(), String> {
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent == env::var(PARENT).ok() {
        Ok(())
    } else {
        Err("the process that started this one is gone".to_owned())
    }
}

/// The parent's death is that of the thread that started the child, so all is on this one.
fn in_the_foreground<T>(task: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("runtime: {error}"))?
        .block_on(task)
}

fn start(command: Command) -> Result<Child, String> {
    let program = command.get_program().to_owned();
    Spawn::from(command)
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))
}

struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    fn new() -> Result<Signals, String> {
        let on = |kind| signal(kind).map_err(|error| format!("signals: {error}"));
        Ok(Signals([
            on(SignalKind::interrupt())?,
            on(SignalKind::terminate())?,
            on(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

fn code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;

    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
