//! What became of what was to be sent.

use std::sync::atomic::{AtomicU64, Ordering};

use netcause_common::labelled_enum;

labelled_enum! {
    /// Why something was lost.
    pub enum Dropped: u8 {
        /// The queue was full.
        QueueFull = 0, "queue_full";
        /// The collector took the request and rejected some of it (partial success).
        Rejected = 1, "rejected";
        /// The collector refused the request for good.
        Refused = 2, "refused";
    }
}

labelled_enum! {
    /// Why a request failed.
    pub enum Failed: u8 {
        /// No connection, or it ended before the answer.
        Unreachable = 0, "unreachable";
        /// The TLS handshake failed.
        Tls = 1, "tls";
        /// No answer in time.
        Timeout = 2, "timeout";
        /// 429.
        Throttled = 3, "throttled";
        /// 502, 503, 504.
        Unavailable = 4, "unavailable";
        /// Any other status: it is not sent again.
        Refused = 5, "refused";
        /// 200 with a body that is none of the protocol.
        Malformed = 6, "malformed";
        /// A file of headers or certificates cannot be used.
        Unconfigured = 7, "unconfigured";
    }
}

/// Counts of one signal, shared between who sends and who shows.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: [AtomicU64; Dropped::COUNT],
    failed: [AtomicU64; Failed::COUNT],
    waiting_items: AtomicU64,
    waiting_bytes: AtomicU64,
}

/// The same, at one point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Items that the collector has taken.
    pub exported: u64,
    /// Items that are lost, by [`Dropped`].
    pub dropped: [u64; Dropped::COUNT],
    /// Requests that failed, by [`Failed`].
    pub failed: [u64; Failed::COUNT],
    /// Items that wait.
    pub waiting_items: u64,
    /// Bytes that wait, compressed.
    pub waiting_bytes: u64,
}

impl Counts {
    /// The collector has taken so many.
    pub fn exported(&self, items: u64) {
        self.exported.fetch_add(items, Ordering::Relaxed);
    }

    /// So many are lost.
    pub fn dropped(&self, why: Dropped, items: u64) {
        self.dropped[why as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// A request has failed.
    pub fn failed(&self, why: Failed) {
        self.failed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// So much waits.
    pub fn waiting(&self, items: u64, bytes: usize) {
        self.waiting_items.store(items, Ordering::Relaxed);
        self.waiting_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// All counts.
    pub fn read(&self) -> Read {
        let all = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Read {
            exported: all(&self.exported),
            dropped: self.dropped.each_ref().map(all),
            failed: self.failed.each_ref().map(all),
            waiting_items: all(&self.waiting_items),
            waiting_bytes: all(&self.waiting_bytes),
        }
    }
}
