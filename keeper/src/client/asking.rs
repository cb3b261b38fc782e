//! Asking a keeper how things stand, without holding anything.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::KeeperError;
use crate::error::During;
use crate::message::{Line, Malformed, Role, read, write};
use crate::socket::{Received, buffer, readable, receive, send};
use crate::taking::{gone, reach};

/// What a keeper says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct KeeperReport {
    /// How many descriptors it holds.
    pub entries: u64,
    /// As what somebody holds them; nobody where none.
    pub holder: Option<Role>,
    /// The holder's process number, as the keeper sees it, where it does.
    pub pid: Option<u32>,
    /// Whether the holder has said that it has everything.
    pub ready: bool,
    /// Since when that one holds, or nobody does.
    pub since: Duration,
    /// How often it granted everything.
    pub takes: u64,
}

/// Asks the keeper in a folder how things stand.
///
/// # Errors
///
/// [`KeeperError::Absent`]; [`KeeperError::Slow`]; [`KeeperError::Gone`]; [`KeeperError::Malformed`].
pub fn ask(dir: &Path, within: Duration) -> Result<KeeperReport, KeeperError> {
    let until = Instant::now() + within;
    let socket = reach(dir, until)?;
    send(&socket, &write(&[Line::Ask]), &[], until).map_err(gone)?;
    let mut buffer = buffer();
    loop {
        let heard = readable(&socket, until).during("wait for the keeper")?;
        match receive(&socket, &mut buffer).during("hear the keeper")? {
            Received::Message(length, _) => {
                for line in read(&buffer[..length])? {
                    if let Line::Report(line) = line {
                        return Ok(report(&line)?);
                    }
                }
            }
            Received::End => return Err(KeeperError::Gone),
            _ if !heard && Instant::now() >= until => return Err(KeeperError::Slow("ask")),
            _ => {}
        }
    }
}

fn report(line: &str) -> Result<KeeperReport, Malformed> {
    let find = |name: &str| {
        line.split(' ')
            .filter_map(|pair| pair.split_once('='))
            .find(|(variable, _)| *variable == name)
            .map(|(_, value)| value)
            .ok_or(Malformed)
    };
    let number = |name: &str| find(name)?.parse::<u64>().map_err(|_| Malformed);
    let seconds: f64 = find("seconds")?.parse().map_err(|_| Malformed)?;
    Ok(KeeperReport {
        entries: number("entries")?,
        holder: find("holder")?.parse().ok(),
        pid: u32::try_from(number("pid")?).ok().filter(|pid| *pid > 0),
        ready: number("ready")? == 1,
        since: Duration::try_from_secs_f64(seconds).map_err(|_| Malformed)?,
        takes: number("takes")?,
    })
}
