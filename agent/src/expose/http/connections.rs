//! The open connections: as many as there are places, and the one that has been idle longest makes room for a new one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{KEEP_ALIVE, READ_TIMEOUTS};

/// All open connections.
pub(super) struct Connections {
    places: usize,
    timeout: Duration,
    open: Mutex<Open>,
    /// A connection has ended or become idle.
    changed: Notify,
}

#[derive(Default)]
struct Open {
    /// Numbers connections, and moments at which one became idle.
    next: u64,
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    /// When it became idle, in the order of [`Open::next`]; `None` while a response is made or written.
    idle: Option<u64>,
    /// It is closed if it is still in the same state then.
    limit: Instant,
    evicted: Arc<Notify>,
}

impl Open {
    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn longest_idle(&self) -> Option<u64> {
        let idle = self.connections.iter().filter_map(|(id, connection)| Some((connection.idle?, *id)));
        idle.min().map(|(_, id)| id)
    }
}

impl Connections {
    /// So many places, each for a connection whose first request arrives within the timeout.
    pub fn new(places: usize, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { places, timeout, open: Mutex::default(), changed: Notify::new() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection. When all are taken, the connection that has been idle longest is closed; when none
    /// is idle, this waits for one.
    pub async fn place(self: &Arc<Self>) -> Place {
        loop {
            {
                let mut open = self.open();
                if open.connections.len() >= self.places
                    && let Some(id) = open.longest_idle()
                    && let Some(connection) = open.connections.remove(&id)
                {
                    connection.evicted.notify_one();
                }
                if open.connections.len() < self.places {
                    let (id, evicted) = (open.next(), Arc::new(Notify::new()));
                    let limit = Instant::now() + self.timeout;
                    let connection = Connection { idle: Some(id), limit, evicted: Arc::clone(&evicted) };
                    open.connections.insert(id, connection);
                    return Place { id, evicted, connections: Arc::clone(self) };
                }
            }
            // Keeps a notification that comes between the check and this.
            self.changed.notified().await;
        }
    }
}

/// The place of one connection, which is given back on drop.
pub(super) struct Place {
    id: u64,
    evicted: Arc<Notify>,
    connections: Arc<Connections>,
}

impl Place {
    /// Ready when the connection has to close at once, because it is idle and another one needs the place.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Ready when the connection has been too long in one state: up to a timeout later than that.
    pub async fn overdue(&self, timeout: Duration) {
        let is_overdue = || {
            let open = self.connections.open();
            open.connections.get(&self.id).is_none_or(|connection| connection.limit <= Instant::now())
        };
        loop {
            tokio::time::sleep(timeout).await;
            if is_overdue() {
                return;
            }
        }
    }

    /// The connection is busy until the result is dropped.
    pub fn serving(&self) -> Serving {
        if let Some(connection) = self.connections.open().connections.get_mut(&self.id) {
            connection.idle = None;
            connection.limit = Instant::now() + self.connections.timeout * READ_TIMEOUTS;
        }
        Serving { id: self.id, connections: Arc::clone(&self.connections) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().connections.remove(&self.id);
        self.connections.changed.notify_one();
    }
}

/// A response that is being made or written.
pub(super) struct Serving {
    id: u64,
    connections: Arc<Connections>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        let now = open.next();
        if let Some(connection) = open.connections.get_mut(&self.id) {
            connection.idle = Some(now);
            connection.limit = Instant::now() + KEEP_ALIVE;
        }
        self.connections.changed.notify_one();
    }
}
