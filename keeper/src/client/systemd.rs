//! What systemd says in the environment of a process that it started with a descriptor store.

use std::env;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::KeeperError;
use crate::error::During;
use crate::message::Name;
use crate::sys;

type Found = (OwnedFd, Vec<(Name, OwnedFd)>);

/// Where to store, and what was stored; none where systemd stores nothing for this process.
pub(super) fn from_environment() -> Result<Option<Found>, KeeperError> {
    let (Some(notify), Ok(store)) = (env::var_os("NOTIFY_SOCKET"), env::var("FDSTORE")) else {
        return Ok(None);
    };
    let most: usize = store.parse().map_err(|_| wrong("FDSTORE", "no number"))?;
    if most == 0 {
        return Ok(None);
    }
    let socket = notify_socket(&notify)?;
    Ok(Some((socket, inherited()?)))
}

fn notify_socket(notify: &OsStr) -> Result<OwnedFd, KeeperError> {
    let address = match notify.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        [b'/', ..] => SocketAddrUnix::new(notify),
        _ => return Err(wrong("NOTIFY_SOCKET", "neither a path nor abstract")),
    }
    .during("name systemd's socket")?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .during("make a socket")?;
    connect(&socket, &address).during("connect to systemd")?;
    Ok(socket)
}

fn inherited() -> Result<Vec<(Name, OwnedFd)>, KeeperError> {
    let number = |variable| {
        env::var(variable)
            .ok()
            .map(|text| {
                text.parse::<usize>()
                    .map_err(|_| wrong(variable, "no number"))
            })
            .transpose()
    };
    let Some(count) = number("LISTEN_FDS")? else {
        return Ok(Vec::new());
    };
    // They were for another process, whose environment this one has inherited.
    let own = usize::try_from(std::process::id()).ok();
    if number("LISTEN_PID")? != own {
        return Ok(Vec::new());
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    if count > 0 && names.len() != count {
        return Err(wrong("LISTEN_FDNAMES", "not as many names as descriptors"));
    }
    let descriptors = sys::inherited(count)
        .during("take what systemd gave")?
        .ok_or_else(|| wrong("LISTEN_FDS", "they have been taken"))?;
    names
        .into_iter()
        .zip(descriptors)
        .map(|(name, descriptor)| Ok((name.parse()?, descriptor)))
        .collect()
}

fn wrong(variable: &'static str, why: &'static str) -> KeeperError {
    KeeperError::Environment { variable, why }
}
