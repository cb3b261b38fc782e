//! Giving a keeper that came back what it is to have.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::link::{Copies, Link, Shared, watchdog_line};
use super::{KeeperEvent, Stored};
use crate::message::{Line, Name};

impl Shared {
    /// A keeper is there, and has these. It gets all that is stored, and loses what was removed meanwhile;
    /// where nobody else held in between, also what it has and nobody here knows. False where it went again.
    pub fn again(&self, socket: OwnedFd, taken: Vec<(Name, OwnedFd)>, same: bool) -> bool {
        let _order = self.order();
        let state = self.state();
        let link = Link {
            socket: Arc::new(socket),
            number: state.losses,
        };
        let mut stale = Vec::new();
        let mut found = Vec::new();
        for (name, descriptor) in taken {
            if state.stored.contains_key(&name) {
                continue;
            }
            if same || state.removed.contains_key(&name) {
                stale.push(name);
            } else {
                let name = name.as_str().to_owned();
                found.push(Stored { name, descriptor });
            }
        }
        let copies: Copies = state
            .stored
            .iter()
            .filter_map(|(name, descriptor)| Some((name.clone(), Arc::clone(descriptor.as_ref()?))))
            .collect();
        let mut last: Vec<Line> = state.watchdog.map(watchdog_line).into_iter().collect();
        last.extend(state.ready.then_some(Line::Ready));
        drop(state);
        let all = (stale.is_empty() || self.send_removal(&link, &stale))
            && self.send_copies(&link, &copies)
            && (last.is_empty() || self.send(&link, &last, &[]));
        if !all {
            return false;
        }
        let mut state = self.state();
        state.link = Some(link);
        state.found.extend(found);
        state.tell(KeeperEvent::Back);
        true
    }
}
