//! The command line: parse, set up logs, run, and say in one sentence what went wrong.
//!
//! Exit status: 0 done, 1 for what went wrong at run time, 2 for usage (clap's own).

mod args;
mod keep;
mod log;
mod node;
mod serving;
mod size;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command, Unmount};

/// Runs the command line that this process was given.
pub fn run() -> ExitCode {
    let args = Args::parse();
    let result: Result<(), Box<dyn std::error::Error>> = match args.command {
        Command::Mount(mount) => log::init(&mount.log)
            .map_err(Into::into)
            .and_then(|()| crate::mount::run(&mount.into()).map_err(Into::into)),
        Command::Node(node) => log::init(&node.log)
            .map_err(Into::into)
            .and_then(|()| crate::node::run((*node).into()).map_err(Into::into)),
        Command::Status(status) => {
            let json = status.format == args::Format::Json;
            crate::status::run(json, status.pod.as_deref())
                .map(|text| print!("{text}"))
                .map_err(Into::into)
        }
        Command::Unmount(args) => log::init(&args.log).map_err(Into::into).and_then(|()| {
            let Unmount {
                keeper, mountpoint, ..
            } = args;
            crate::mount::unmount(&keeper, mountpoint.as_deref()).map_err(Into::into)
        }),
        Command::Abort(args) => log::init(&args.log)
            .map_err(Into::into)
            .and_then(|()| crate::abort::run(&args.volume).map_err(Into::into)),
        Command::Caretake(args) => log::init(&args.log)
            .map_err(Into::into)
            .and_then(|()| crate::caretake::run(&args.into()).map_err(Into::into)),
        Command::Keep(keep) => log::init_never_waiting(&keep.log)
            .map_err(Into::into)
            .and_then(|()| {
                livemount_keeper::process::run(keep.into())
                    .map(drop)
                    .map_err(Into::into)
            }),
        Command::Hand(args) => hand(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last words go to the terminal as they are, whatever the log's format and filter.
            eprintln!("livemount: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The process that touches mounts: a daemon's child in the daemon's log, or apart with a log of its own.
fn hand(args: args::Hand) -> Result<(), Box<dyn std::error::Error>> {
    if args.dir.is_some() {
        log::init(&args.log)?;
    } else {
        log::init_quiet();
    }
    livemount_hand::process::main(args.into()).map_err(Into::into)
}
