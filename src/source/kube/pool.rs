//! The few connections that all watches share.
//!
//! A watch takes the one with the fewest, where there is room, and holds its lease until it ends,
//! across every renewal. A connection without watches is closed.

use std::sync::Arc;

use kube::Client;
use parking_lot::Mutex;

use super::connection::Connection;
use super::credentials::Credentials;

/// All connections of one reading of the credentials.
pub(super) struct Pool {
    credentials: Credentials,
    pooled: Mutex<Vec<Pooled>>,
}

struct Pooled {
    connection: Connection,
    client: Client,
    leases: usize,
}

/// A lease on a connection, given back when dropped.
pub(super) struct Lease {
    pool: Arc<Pool>,
    /// Which of the connections: its client's connection, by address.
    connection: Connection,
    client: Client,
}

impl Pool {
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            pooled: Mutex::default(),
        }
    }

    /// A connection that no watch shares.
    pub fn apart(&self) -> (Connection, Client) {
        let connection = self.credentials.connection();
        (connection.clone(), self.credentials.client(connection))
    }

    /// A lease for one watch.
    pub fn lease(self: &Arc<Self>) -> Lease {
        let mut pooled = self.pooled.lock();
        let free = pooled
            .iter_mut()
            .filter(|it| it.leases < it.connection.capacity());
        let lease = |it: &Pooled| Lease {
            pool: self.clone(),
            connection: it.connection.clone(),
            client: it.client.clone(),
        };
        if let Some(least) = free.min_by_key(|it| it.leases) {
            least.leases += 1;
            return lease(least);
        }
        let (connection, client) = self.apart();
        let new = Pooled {
            connection,
            client,
            leases: 1,
        };
        let taken = lease(&new);
        pooled.push(new);
        taken
    }

    /// How many connections there are that are open now.
    pub fn open(&self) -> usize {
        self.pooled
            .lock()
            .iter()
            .filter(|it| it.connection.is_open())
            .count()
    }

    /// How many watches hold a lease.
    pub fn leases(&self) -> usize {
        self.pooled.lock().iter().map(|it| it.leases).sum()
    }
}

impl Lease {
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The connections that it is a lease of.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pooled = self.pool.pooled.lock();
        if let Some(at) = pooled
            .iter()
            .position(|it| it.connection.is(&self.connection))
        {
            pooled[at].leases -= 1;
            if pooled[at].leases == 0 {
                pooled.swap_remove(at);
            }
        }
    }
}
