//! The flags that whoever serves volumes has, on one machine and on a node: they stand once.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::size;
use crate::daemon::KeptBy;
use crate::publish::{Pins, Settings};

/// The most older versions that may be asked for: each costs a scan of the open handles when it goes.
const MAX_PINNED: usize = 10_000;

fn versions(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(versions) if (1..=MAX_PINNED).contains(&versions) => Ok(versions),
        _ => Err(format!("not a number from 1 to {MAX_PINNED}")),
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct ServingArgs {
    /// The most milliseconds that an update waits for programs that have just opened a file and not yet
    /// read it
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    drain: u64,
    /// The most older versions that open files may keep; beyond it the oldest reads ESTALE
    #[arg(long, value_name = "N", env = "LIVEMOUNT_PINNED_VERSIONS", default_value_t = Pins::DEFAULT.versions, value_parser = versions)]
    pinned_versions: usize,
    /// The most bytes in those, such as 16Mi or 1G; 512 for each name, as if versions shared nothing
    #[arg(long, value_name = "SIZE", env = "LIVEMOUNT_PINNED_BYTES", default_value = "64Mi", value_parser = size::bytes)]
    pinned_bytes: u64,
    /// After how many milliseconds without a sign of life a stuck livemount is taken for dead and its
    /// mounts are taken away
    #[arg(long, value_name = "MS", default_value_t = 10_000, hide = true, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    heartbeat: u64,
    #[command(flatten)]
    pub(super) keeper: KeeperArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct KeeperArgs {
    /// Folder of a running `livemount keep`: what is mounted outlives this process, and the next one goes on
    /// with it
    #[arg(long = "keeper", value_name = "DIR", env = "LIVEMOUNT_KEEPER")]
    dir: Option<PathBuf>,
    /// Folder of a running `livemount hand`, where systemd is the keeper (FileDescriptorStoreMax=)
    #[arg(
        long = "hand",
        value_name = "DIR",
        env = "LIVEMOUNT_HAND",
        conflicts_with = "dir"
    )]
    hand: Option<PathBuf>,
}

impl KeeperArgs {
    /// Who keeps what is served.
    pub(super) fn kept_by(self) -> Option<KeptBy> {
        self.dir
            .map(KeptBy::Folder)
            .or_else(|| self.hand.map(KeptBy::Systemd))
    }
}

impl ServingArgs {
    /// How commits behave.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            drain: Duration::from_millis(self.drain),
            pins: Pins {
                versions: self.pinned_versions,
                bytes: self.pinned_bytes,
            },
            ..Settings::default()
        }
    }

    /// After how long without a sign of life this process is taken for dead.
    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat)
    }
}
