//! What is known of one question.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Answer, KEEP, MAX_BACKENDS, REFRESH, doubled};

/// A backend of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: SocketAddr,
    /// When a connection to it was seen last, since a fixed moment: whose the address was then is whom the service stood
    /// for.
    pub seen: Duration,
}

/// See above.
#[derive(Debug)]
pub(super) struct Known {
    /// Those that were seen last first.
    backends: Vec<Backend>,
    /// Whether the table was read since it was wanted, or a sample of it,
    is_read: bool,
    /// or all of it.
    is_certain: bool,
    pub(super) wanted: Duration,
    /// When the table is to be read for it.
    pub(super) due: Duration,
    back_off: Duration,
}

impl Known {
    pub(super) fn new(now: Duration) -> Self {
        let (backends, back_off) = (Vec::new(), Duration::ZERO);
        Self { backends, is_read: false, is_certain: false, wanted: now, due: now, back_off }
    }

    pub(super) fn answer(&self) -> Answer<'_> {
        if self.is_read && !self.backends.is_empty() {
            Answer::Backends(&self.backends)
        } else if self.is_certain {
            Answer::None
        } else {
            Answer::Unknown
        }
    }

    /// Connections go there.
    pub(super) fn see(&mut self, backends: &[SocketAddr], now: Duration) {
        self.backends.retain(|known| !backends.contains(&known.address));
        self.backends.splice(..0, backends.iter().map(|address| Backend { address: *address, seen: now }));
        self.backends.truncate(MAX_BACKENDS);
    }

    /// The whole table, or a sample of it, has these, those with the most connections first. A backend that has none at
    /// this moment is one still, for a while: else a service of two workloads would be now both, now one.
    pub(super) fn read(&mut self, backends: &[SocketAddr], is_whole: bool, now: Duration) {
        let is_news =
            backends.iter().any(|backend| self.backends.iter().all(|known| known.address != *backend));
        self.see(backends, now);
        if is_whole {
            self.backends.retain(|known| now.saturating_sub(known.seen) < KEEP);
        }
        self.is_read = true;
        self.is_certain |= is_whole || !backends.is_empty();
        if backends.is_empty() {
            self.put_off(now);
        } else {
            // Where one is new there may be more soon.
            let before = if is_news { Duration::ZERO } else { self.back_off };
            self.back_off = doubled(before).min(REFRESH);
            self.due = now + self.back_off;
        }
    }

    /// Nothing was found; it is looked for again, later and later.
    pub(super) fn put_off(&mut self, now: Duration) {
        self.back_off = doubled(self.back_off);
        self.due = now + self.back_off;
    }
}
