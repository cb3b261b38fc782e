//! Logs: lines on standard error through tracing, text or JSON. Nothing else writes there while the
//! program runs.

use std::io::{self, IsTerminal, Write, stderr};

use clap::Args as ClapArgs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

use super::args::Format;

#[derive(Debug, ClapArgs)]
pub(super) struct Log {
    /// How log lines are written to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
    /// What is logged, e.g. info, debug, livemount=debug,fuser=warn
    #[arg(
        long = "log",
        value_name = "FILTER",
        env = "LIVEMOUNT_LOG",
        default_value = "info"
    )]
    filter: String,
}

/// A log filter that cannot be understood.
#[derive(Debug, Error)]
#[error("--log {filter:?} is not a filter such as info or livemount=debug: {source}")]
pub(super) struct BadFilter {
    filter: String,
    source: ParseError,
}

pub(super) fn init(log: &Log) -> Result<(), BadFilter> {
    init_to(log, stderr)
}

/// For the keeper, whose one thread must not wait for whoever reads its log: what that one has no room for is
/// lost.
pub(super) fn init_never_waiting(log: &Log) -> Result<(), BadFilter> {
    init_to(log, || OrLost)
}

fn init_to<W>(log: &Log, writer: W) -> Result<(), BadFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&log.filter)
        .map_err(|source| BadFilter {
            filter: log.filter.clone(),
            source,
        })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(stderr().is_terminal());
    match log.log_format {
        Format::Text => lines.init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Standard error, as long as it takes a line at once: a pipe that poll(2) finds writable takes 4,096 bytes
/// (pipe(7)).
struct OrLost;

impl Write for OrLost {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        const SURE: usize = 4_096;
        let stderr = stderr();
        let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
        let room = poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
        if room {
            let sure = &line[..line.len().min(SURE)];
            stderr.lock().write_all(sure)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A hand that is a daemon's child says little, in the daemon's stream.
pub(super) fn init_quiet() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(stderr().is_terminal())
        .init();
}
