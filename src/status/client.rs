//! The asking end: every daemon of this machine, in words or as JSON.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::FOLDER;
use crate::report::Report;

/// How long a daemon may take to answer.
const SLOW: Duration = Duration::from_secs(5);

/// Why the status could not be told.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The sockets' folder cannot be read.
    #[error("{}: {source}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The machine's answer.
        source: io::Error,
    },
    /// A daemon does not answer as it should.
    #[error("{}: {source}", .socket.display())]
    Daemon {
        /// Its socket.
        socket: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// What is to be printed: all daemons of this machine, or what they serve to one pod.
///
/// # Errors
///
/// The sockets' folder cannot be read. A daemon that does not answer is told on stderr and left out.
pub fn run(json: bool, pod: Option<&str>) -> Result<String, StatusError> {
    let mut reports = ask_all(Path::new(FOLDER))?;
    if let Some(pod) = pod {
        reports = (reports.into_iter())
            .map(|report| report.of_pod(pod))
            .collect();
        reports.retain(|report| !report.volumes.is_empty());
    }
    Ok(if json {
        // Plain data with text for keys always becomes JSON.
        serde_json::to_string_pretty(&reports).unwrap_or_default() + "\n"
    } else if reports.iter().all(|report| report.volumes.is_empty()) {
        match pod {
            Some(pod) => format!("no livemount on this machine serves pod {pod}\n"),
            None => "no livemount serves anything on this machine\n".into(),
        }
    } else {
        reports.iter().map(Report::to_string).collect()
    })
}

/// Where the volumes of a daemon are, as it says itself; nothing where it does not answer.
///
/// # Errors
///
/// The sockets' folder cannot be read.
pub fn targets_of(pid: u32) -> Result<Option<Vec<PathBuf>>, StatusError> {
    let mut reports = ask_all(Path::new(FOLDER))?.into_iter();
    let report = reports.find(|report| report.pid == pid);
    let targets = |report: Report| report.volumes.into_iter().map(|volume| volume.target);
    Ok(report.map(|report| targets(report).collect()))
}

/// Where the volume of this name is, as the daemon says that serves it; nothing where none does.
///
/// # Errors
///
/// The sockets' folder cannot be read.
pub fn target_of(volume: &str) -> Result<Option<PathBuf>, StatusError> {
    let reports = ask_all(Path::new(FOLDER))?;
    let mut volumes = reports.into_iter().flat_map(|report| report.volumes);
    let found = volumes.find(|found| found.name == volume);
    Ok(found.map(|found| found.target))
}

fn tell(error: &StatusError) {
    eprintln!("livemount: {error}");
}

fn ask_all(folder: &Path) -> Result<Vec<Report>, StatusError> {
    let failed = |source| StatusError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut reports = Vec::new();
    for entry in entries {
        let socket = entry.map_err(failed)?.path();
        if socket.extension().is_none_or(|ending| ending != "sock") {
            continue;
        }
        match ask(&socket) {
            Ok(report) => reports.extend(report),
            // One that is stuck must not hide the others.
            Err(error) => tell(&error),
        }
    }
    reports.sort_by_key(|report| report.pid);
    Ok(reports)
}

/// A daemon's report; nothing where the socket is a dead one's, which is removed.
fn ask(socket: &Path) -> Result<Option<Report>, StatusError> {
    let failed = |source| StatusError::Daemon {
        socket: socket.to_owned(),
        source,
    };
    let mut stream = match UnixStream::connect(socket) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // It is just starting, or it was killed and left its socket.
            let pid = socket.file_stem().unwrap_or_default();
            if !Path::new("/proc").join(pid).exists() {
                let _ = fs::remove_file(socket);
            }
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        stream => stream.map_err(failed)?,
    };
    stream.set_read_timeout(Some(SLOW)).map_err(failed)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).map_err(failed)?;
    let report = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
    Ok(Some(report))
}
