//! The flags of `livemount keep`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use livemount_keeper::process::{HandOptions, Options};

use super::log::Log;

/// Hold the mounts of a daemon while none runs, so that restarts and upgrades go unnoticed.
#[derive(Debug, ClapArgs)]
#[allow(clippy::struct_excessive_bools)] // Flags.
pub(super) struct Keep {
    /// Folder of the keeper's socket, for --keeper of mount and node; made if it is missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Folder beneath which the hand may mount; may be given several times
    #[arg(long = "root", value_name = "DIR", required_unless_present = "no_hand")]
    roots: Vec<PathBuf>,
    /// Start no hand: it runs apart, as livemount hand --dir DIR
    #[arg(long, conflicts_with_all = ["roots", "heartbeat"])]
    no_hand: bool,
    /// Start no caretaker when no daemon comes: opens wait until one does
    #[arg(long)]
    no_caretaker: bool,
    /// Leave dead mounts at their targets, so that no container starts on an empty folder
    #[arg(long, conflicts_with = "no_hand")]
    leave_dead: bool,
    /// Stay when another keeper takes everything over, and keep again once that one is gone: for keepers that
    /// are started again whenever they end
    #[arg(long)]
    stand_by: bool,
    /// After how many milliseconds without a sign of life the hand takes a daemon for stuck
    #[arg(long, value_name = "MS", default_value_t = 10_000, hide = true, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    heartbeat: u64,
    #[command(flatten)]
    pub(super) log: Log,
}

impl From<Keep> for Options {
    fn from(args: Keep) -> Self {
        let hand = (!args.no_hand).then_some(HandOptions {
            roots: args.roots,
            heartbeat: Duration::from_millis(args.heartbeat),
            leave_dead: args.leave_dead,
        });
        Self {
            hand,
            caretaker: !args.no_caretaker,
            stand_by: args.stand_by,
            ..Self::new(args.dir)
        }
    }
}
