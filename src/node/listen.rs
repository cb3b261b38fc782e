//! The two unix sockets: the CSI's, and the one in which the kubelet finds us.
//!
//! A socket appears under its name only when it listens already and nobody but its owner can reach
//! it, and replaces what a dead predecessor left there. Where somebody still answers, nothing is
//! touched.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use livemount_csi::registration::registration_server::RegistrationServer;
use livemount_csi::v1::identity_server::IdentityServer;
use livemount_csi::v1::node_server::NodeServer;
use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use thiserror::Error;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tracing::info;

use super::identity::Identity;
use super::node_service::NodeService;
use super::registration::Registration;

/// How many calls may wait to be accepted.
const BACKLOG: i32 = 128;
/// How long calls that are under way may take to end, once the plugin ends.
const GRACE: Duration = Duration::from_secs(5);

/// Why a socket cannot be served.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process serves it.
    #[error("{}: another process answers on this socket", .0.display())]
    Taken(PathBuf),
    /// Something is there that is no socket.
    #[error("{}: there is something else than a socket", .0.display())]
    NotASocket(PathBuf),
    /// A system call failed.
    #[error("{}: {what}: {source}", .path.display())]
    Os {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The server failed.
    #[error("{}: {source}", .path.display())]
    Serve {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// A socket that listens. Its name goes with it, if it is still this socket's.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// Device and inode of the name.
    own: (u64, u64),
    /// Until it is served.
    listener: Option<std::os::unix::net::UnixListener>,
}

impl Socket {
    /// Listens at a path, whose folder must be there.
    ///
    /// # Errors
    ///
    /// Somebody answers there already, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let failed = |what| {
            move |source: io::Error| ListenError::Os {
                path: path.to_owned(),
                what,
                source,
            }
        };
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => return Err(ListenError::Taken(path.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(failed("ask who answers there")(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look what is there")(error)),
        }
        // The kubelet passes over names that begin with a dot (`plugin_watcher.go`).
        let hidden = hidden(path);
        match fs::remove_file(&hidden) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove what a predecessor left")(error));
            }
            _ => {}
        }
        let listener = closed(&hidden).map_err(|errno| failed("listen")(errno.into()))?;
        let renamed = fs::symlink_metadata(&hidden)
            .and_then(|there| fs::rename(&hidden, path).map(|()| (there.dev(), there.ino())));
        let own = renamed.map_err(|error| {
            // It was ours alone, and nobody knows it.
            let _ = fs::remove_file(&hidden);
            failed("give the socket its name")(error)
        })?;
        Ok(Self {
            path: path.to_owned(),
            own,
            listener: Some(listener.into()),
        })
    }

    fn accept(&mut self) -> Result<UnixListenerStream, ListenError> {
        let failed = |source| ListenError::Os {
            path: self.path.clone(),
            what: "listen",
            source,
        };
        let listener = self
            .listener
            .take()
            .ok_or_else(|| failed(io::ErrorKind::NotConnected.into()))?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(UnixListenerStream::new(listener))
    }

    fn failed(&self, source: tonic::transport::Error) -> ListenError {
        ListenError::Serve {
            path: self.path.clone(),
            source,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A successor may have taken the name; then it is his.
        let own = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == self.own);
        if own {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What the registration socket is called. The kubelet's plugin watcher dials the path without naming a
/// host (`dial`, `operation_generator.go`), so that its HTTP/2 `:authority` is the path with each `/` as
/// `%2F`. In a host that is malformed and h2 refuses the call; before an `@` it is user information,
/// where RFC 3986 allows it, and what follows is a host.
fn registration_name(driver: &str) -> String {
    format!("livemount@{driver}-reg.sock")
}

fn hidden(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// A listening socket that only its owner can connect to from its first moment on: the mode of the
/// descriptor becomes that of the name (`unix_bind_bsd`, net/unix/af_unix.c).
fn closed(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Both sockets.
#[derive(Debug)]
pub struct Sockets {
    // Dropped in this order: first the kubelet hears that we go.
    registration: Socket,
    csi: Socket,
}

impl Sockets {
    /// Listens at both: for the CSI at a path, for the kubelet's question in its `plugins_registry`,
    /// under the driver's name. From then on the kubelet asks, so [`serve`] has to come at once.
    ///
    /// # Errors
    ///
    /// Somebody answers there already, or the system refuses.
    pub fn bind(csi: &Path, registry: &Path, driver: &str) -> Result<Self, ListenError> {
        // The CSI answers before anybody can be told of it.
        let csi = Socket::bind(csi)?;
        let registration = Socket::bind(&registry.join(registration_name(driver)))?;
        Ok(Self { registration, csi })
    }
}

/// What is served.
#[derive(Clone)]
pub struct Services {
    /// On the CSI's socket.
    pub identity: Identity,
    /// On the CSI's socket.
    pub node: NodeService,
    /// On the kubelet's.
    pub registration: Registration,
}

/// Serves until `stop`. Then the registration's name goes first, so that the kubelet sends nothing
/// new; calls that are under way have a few seconds to end.
///
/// # Errors
///
/// A server failed; both have ended.
pub async fn serve(
    sockets: Sockets,
    services: Services,
    stop: CancellationToken,
) -> Result<(), ListenError> {
    let csi = Routes::new(IdentityServer::new(services.identity))
        .add_service(NodeServer::new(services.node));
    let registration = Routes::new(RegistrationServer::new(services.registration));
    serve_routes(sockets, csi, registration, stop).await
}

async fn serve_routes(
    sockets: Sockets,
    csi_routes: Routes,
    registration_routes: Routes,
    stop: CancellationToken,
) -> Result<(), ListenError> {
    let Sockets {
        mut registration,
        mut csi,
    } = sockets;
    let serve = |routes, calls| {
        Server::builder()
            .add_routes(routes)
            .serve_with_incoming_shutdown(calls, stop.clone().cancelled_owned())
    };
    let csi_served = serve(csi_routes, csi.accept()?);
    let registration_served = serve(registration_routes, registration.accept()?);
    tokio::pin!(csi_served, registration_served);
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        served = &mut csi_served => return served.map_err(|error| csi.failed(error)),
        served = &mut registration_served => {
            return served.map_err(|error| registration.failed(error));
        }
    }
    drop(registration);
    let ended = async { tokio::join!(csi_served, registration_served) };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        info!("calls are still under way; the kubelet makes them again");
    }
    drop(csi);
    Ok(())
}
