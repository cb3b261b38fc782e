//! All who use the mount, as the test sees them.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;

use crate::load::{Report, Role, Say, Task};
use crate::support::process::{self, Process};
use crate::support::scratch::Scratch;
use crate::support::served::{again, read_frame, write_frame};

const ROLES: [Role; 8] = [
    Role::Whole,
    Role::Whole,
    Role::Pieces,
    Role::Sendfile,
    Role::Map,
    Role::List,
    Role::Hold,
    Role::Snapshot,
];

/// The processes. Dropping them ends them.
pub struct Loads(Vec<Load>);

struct Load {
    role: Role,
    child: Child,
    socket: UnixStream,
}

impl Loads {
    /// Starts all, each of which has done its task once when this returns.
    pub fn start(scratch: &Scratch, folder: &Path) -> Self {
        let started = ROLES.map(|role| {
            let arguments = ["load", "--exact", "--ignored", "--nocapture"];
            let (child, mut socket) = again(scratch.path(), &arguments);
            let folder = folder.to_owned();
            write_frame(&mut socket, &Task { folder, role });
            Load {
                role,
                child,
                socket,
            }
        });
        let mut loads = Self(started.into());
        for load in &mut loads.0 {
            let said = read_frame(&mut load.socket);
            assert!(
                matches!(said, Some(Say::Started)),
                "{:?}: {said:?}",
                load.role
            );
        }
        loads
    }

    /// Stops all, and tells what they saw. One that has ended has been killed by what it saw (a mapping's
    /// SIGBUS), one that does not answer waits for ever.
    pub fn stop(mut self) -> Vec<Report> {
        let reports = self.0.iter_mut().map(|load| {
            let role = load.role;
            if let Ok(Some(status)) = load.child.try_wait() {
                panic!("{role:?} has ended: {status}");
            }
            write_frame(&mut load.socket, &());
            match read_frame(&mut load.socket) {
                Some(Say::Done(report)) => *report,
                said => {
                    let process = Process::find(load.child.id()).map(process::describe);
                    panic!("{role:?} says {said:?} and is {process:?}");
                }
            }
        });
        reports.collect()
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        for load in &mut self.0 {
            let _ = load.child.kill();
        }
        // Whoever cannot die is seen by the scratch folder; it is not waited for here.
        for load in &mut self.0 {
            let _ = load.child.try_wait();
        }
    }
}
