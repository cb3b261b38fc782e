//! The daemon's end: answers each connection with a report and nothing else.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::FOLDER;
use crate::publish::Publisher;
use crate::report::Report;

/// How long a reader may take before it is left alone.
const SLOW: Duration = Duration::from_secs(5);

/// Why the status cannot be asked for. The files are served all the same.
#[derive(Debug, Error)]
#[error("{}: {source}; `livemount status` will not show this process", .path.display())]
pub struct ServerError {
    path: PathBuf,
    source: io::Error,
}

/// The socket, for as long as this lives.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
}

impl Server {
    /// Answers for all volumes of a publisher, from a thread of its own.
    ///
    /// # Errors
    ///
    /// The socket cannot be made, or the machine gives no thread.
    pub fn start(publisher: Publisher) -> Result<Self, ServerError> {
        Self::at(Path::new(FOLDER), publisher)
    }

    fn at(folder: &Path, publisher: Publisher) -> Result<Self, ServerError> {
        let path = folder.join(format!("{}.sock", std::process::id()));
        let failed = |source| ServerError {
            path: path.clone(),
            source,
        };
        let listener = listen(folder, &path).map_err(failed)?;
        std::thread::Builder::new()
            .name("status".into())
            .spawn(move || {
                for stream in listener.incoming() {
                    match stream {
                        // Who does not read gets nothing; the next one does.
                        Ok(stream) => drop(answer(stream, &publisher)),
                        // Out of descriptors, say: not for ever, but for a while.
                        Err(_) => std::thread::sleep(SLOW),
                    }
                }
            })
            .map_err(failed)?;
        Ok(Self { path })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A socket that only its owner can reach: the folder is closed to others before the socket is there.
fn listen(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn answer(mut stream: UnixStream, publisher: &Publisher) -> io::Result<()> {
    stream.set_write_timeout(Some(SLOW))?;
    let report = Report {
        pid: std::process::id(),
        volumes: publisher.report(),
    };
    stream.write_all(&serde_json::to_vec(&report)?)
}
