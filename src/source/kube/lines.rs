//! The few connections that all watches share.
//!
//! A watch takes the one with the fewest, where there is room, and holds its place until it ends,
//! across every renewal. A connection without watches is closed.

use std::sync::Arc;

use kube::Client;
use parking_lot::Mutex;

use super::access::Access;
use super::line::Line;

/// All connections of one reading of the credentials.
pub(super) struct Lines {
    access: Access,
    held: Mutex<Vec<Held>>,
}

struct Held {
    line: Line,
    client: Client,
    places: usize,
}

/// A place on a connection, given back when dropped.
pub(super) struct Place {
    lines: Arc<Lines>,
    /// Which of the connections: its client's line, by address.
    line: Line,
    client: Client,
}

impl Lines {
    pub fn new(access: Access) -> Self {
        Self {
            access,
            held: Mutex::default(),
        }
    }

    /// A connection that no watch shares.
    pub fn apart(&self) -> (Line, Client) {
        let line = self.access.line();
        (line.clone(), self.access.client(line))
    }

    /// A place for one watch.
    pub fn place(self: &Arc<Self>) -> Place {
        let mut held = self.held.lock();
        let free = held.iter_mut().filter(|it| it.places < it.line.room());
        let place = |it: &Held| Place {
            lines: self.clone(),
            line: it.line.clone(),
            client: it.client.clone(),
        };
        if let Some(least) = free.min_by_key(|it| it.places) {
            least.places += 1;
            return place(least);
        }
        let (line, client) = self.apart();
        let new = Held {
            line,
            client,
            places: 1,
        };
        let taken = place(&new);
        held.push(new);
        taken
    }

    /// How many connections there are that are open now.
    pub fn open(&self) -> usize {
        self.held
            .lock()
            .iter()
            .filter(|it| it.line.is_open())
            .count()
    }

    /// How many watches hold a place.
    pub fn places(&self) -> usize {
        self.held.lock().iter().map(|it| it.places).sum()
    }
}

impl Place {
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The connections that it is a place of.
    pub fn lines(&self) -> &Arc<Lines> {
        &self.lines
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.lines.held.lock();
        if let Some(at) = held.iter().position(|it| it.line.is(&self.line)) {
            held[at].places -= 1;
            if held[at].places == 0 {
                held.swap_remove(at);
            }
        }
    }
}
