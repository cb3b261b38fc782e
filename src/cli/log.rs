//! Logs: lines on standard error through tracing, text or JSON. Nothing else writes there while the
//! program runs.

use std::io::{IsTerminal, stderr};

use clap::Args as ClapArgs;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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
    let filter = EnvFilter::builder()
        .parse(&log.filter)
        .map_err(|source| BadFilter {
            filter: log.filter.clone(),
            source,
        })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(stderr().is_terminal());
    match log.log_format {
        Format::Text => lines.init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
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
