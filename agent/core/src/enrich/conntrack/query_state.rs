//! The state of one query: its backends, and when to look them up again.

use std::net::SocketAddr;
use std::time::Duration;

use super::{KEEP, MAX_BACKENDS, REFRESH, ServiceBackends, doubled};

/// A backend of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Address and port.
    pub address: SocketAddr,
    /// When a connection to it was seen last. The holder of the address at that time is the backend.
    pub seen: Duration,
}

/// The state of one query.
#[derive(Debug)]
pub(super) struct QueryState {
    /// The backend seen last first.
    backends: Vec<Backend>,
    /// Whether the table, or a sample of it, was read since the query was registered.
    is_read: bool,
    /// Whether the absence of backends is certain: the whole table was read.
    is_certain: bool,
    /// When interest was registered last.
    pub(super) last_interest: Duration,
    /// When the table is to be read for this query.
    pub(super) due: Duration,
    back_off: Duration,
}

impl QueryState {
    pub(super) fn new(now: Duration) -> Self {
        let (backends, back_off) = (Vec::new(), Duration::ZERO);
        Self { backends, is_read: false, is_certain: false, last_interest: now, due: now, back_off }
    }

    pub(super) fn backends(&self) -> ServiceBackends<'_> {
        if self.is_read && !self.backends.is_empty() {
            ServiceBackends::Known(&self.backends)
        } else if self.is_certain {
            ServiceBackends::NotTranslated
        } else {
            ServiceBackends::Unknown
        }
    }

    /// Puts these backends first, as seen now.
    pub(super) fn add_backends(&mut self, backends: &[SocketAddr], now: Duration) {
        self.backends.retain(|known| !backends.contains(&known.address));
        self.backends.splice(..0, backends.iter().map(|address| Backend { address: *address, seen: now }));
        self.backends.truncate(MAX_BACKENDS);
    }

    /// Takes the result of a dump of the table, whole or cut: the backend with the most connections first. A backend without
    /// a connection at this moment is kept for [`KEEP`]; otherwise a service of two workloads would alternate between both and
    /// one.
    pub(super) fn add_table(&mut self, backends: &[SocketAddr], is_whole: bool, now: Duration) {
        let is_news =
            backends.iter().any(|backend| self.backends.iter().all(|known| known.address != *backend));
        self.add_backends(backends, now);
        if is_whole {
            self.backends.retain(|known| now.saturating_sub(known.seen) < KEEP);
        }
        self.is_read = true;
        self.is_certain |= is_whole || !backends.is_empty();
        if backends.is_empty() {
            self.retry_later(now);
        } else {
            // A new backend suggests that more will follow soon.
            let before = if is_news { Duration::ZERO } else { self.back_off };
            self.back_off = doubled(before).min(REFRESH);
            self.due = now + self.back_off;
        }
    }

    /// Schedules the next lookup with a doubled back-off.
    pub(super) fn retry_later(&mut self, now: Duration) {
        self.back_off = doubled(self.back_off);
        self.due = now + self.back_off;
    }
}
