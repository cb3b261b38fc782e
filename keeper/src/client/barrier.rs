//! Waiting until what was said is done.

use std::os::fd::AsFd;
use std::sync::PoisonError;
use std::time::Instant;

use rustix::pipe::{PipeFlags, pipe_with};

use super::link::{Link, Shared, Store};
use crate::KeeperError;
use crate::error::During;
use crate::message::Line;
use crate::socket::readable;

impl Shared {
    pub fn barrier(&self, until: Instant) -> Result<(), KeeperError> {
        let order = self.order();
        let mut state = self.state();
        let Some(link) = state.link.clone() else {
            return Err(KeeperError::Gone);
        };
        state.asked += 1;
        let number = state.asked;
        drop(state);
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).during("make a pipe")?;
        // systemd wants a barrier to be alone in its message.
        let mut lines = vec![Line::Barrier];
        let answered = matches!(self.store, Store::Dir(..));
        lines.extend(answered.then_some(Line::Seq(number)));
        if !self.send(&link, &lines, &[theirs.as_fd()]) {
            return Err(KeeperError::Gone);
        }
        drop((theirs, order));
        if answered {
            // The pipe's end would say nothing: it closes too when the keeper dies.
            self.answered(&link, number, until)?;
        } else {
            while !readable(&ours, until).during("wait for systemd")? {
                if Instant::now() >= until {
                    return Err(KeeperError::Slow("barrier"));
                }
            }
        }
        // What was removed before is.
        self.state().removed.retain(|_, asked| *asked >= number);
        Ok(())
    }

    fn answered(&self, link: &Link, number: u64, until: Instant) -> Result<(), KeeperError> {
        let mut state = self.state();
        loop {
            if state.done >= number {
                return Ok(());
            }
            let same = state
                .link
                .as_ref()
                .is_some_and(|now| now.number == link.number);
            if !same {
                return Err(KeeperError::Gone);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(KeeperError::Slow("barrier"));
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
