//! The thread that listens to a keeper of ours, and comes back when it has gone.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::link::{Link, Shared, Store};
use crate::KeeperError;
use crate::error::During;
use crate::message::{Line, Role, read};
use crate::socket::{Received, buffer, dial, receive, wait_for};
use crate::taking::{address, take};

/// Between two looks for a keeper, longer each time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long one that is there may take to grant.
const GRANT: Duration = Duration::from_secs(60);

pub(super) fn start(shared: &Arc<Shared>) -> Result<(), KeeperError> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name("keeper".into())
        .spawn(move || {
            while let Some(link) = shared.link().filter(|_| !shared.is_closed()) {
                listen(&shared, &link);
                drop(link);
                if shared.is_closed() {
                    return;
                }
                tracing::warn!(
                    "the keeper has gone; what is stored is stored again when one is back"
                );
                shared.fell();
                come_back(&shared);
            }
        })
        .map(drop)
        .during("start the thread that listens to the keeper")
}

/// Hears a keeper until it goes, or this is closed.
fn listen(shared: &Shared, link: &Link) {
    let mut buffer = buffer();
    loop {
        let mut polled = [
            PollFd::from_borrowed_fd(link.socket.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(shared.closing.as_fd(), PollFlags::IN),
        ];
        if wait_for(&mut polled, None).is_err() || shared.is_closed() {
            return;
        }
        match receive(&*link.socket, &mut buffer) {
            Ok(Received::Message(length, _)) => match read(&buffer[..length]) {
                Ok(lines) => lines.into_iter().for_each(|line| hear(shared, line)),
                Err(error) => tracing::warn!(%error, "the keeper"),
            },
            Ok(Received::Nothing | Received::NoRoom | Received::TooLong) => {}
            Ok(Received::End) | Err(_) => return,
        }
    }
}

fn hear(shared: &Shared, line: Line) {
    match line {
        Line::HandOver => shared.hand_over(),
        Line::Done(number) => shared.done(number),
        Line::Refused(why) => {
            tracing::error!(why, "the keeper refused");
            shared.refused();
        }
        _ => {}
    }
}

/// Until there is a keeper that has everything, or this is closed.
fn come_back(shared: &Shared) {
    let Store::Dir(dir, role) = &shared.store else {
        return;
    };
    let mut pause = SHORTEST_PAUSE;
    while !shared.is_closed() {
        if let Ok(socket) = dial(&address(dir)) {
            match take(&socket, *role, Instant::now() + GRANT) {
                Ok(taken) => {
                    if shared.again(socket, taken.stored, taken.same) {
                        return tracing::info!("a keeper is back and has everything");
                    }
                }
                // A daemon serves: what a caretaker had is that one's.
                Err(KeeperError::Refused(_)) if *role == Role::Caretaker => shared.hand_over(),
                Err(error) => tracing::warn!(%error, "a keeper is there and does not grant"),
            }
        }
        let mut polled = [PollFd::from_borrowed_fd(
            shared.closing.as_fd(),
            PollFlags::IN,
        )];
        let _woken = wait_for(&mut polled, Some(Instant::now() + pause));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
