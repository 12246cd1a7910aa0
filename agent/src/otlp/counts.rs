//! What became of what was to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::expose::tables::otlp::{Dropped, Exported, Failed};

/// Counts of one signal, shared between who sends and who shows.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes that may wait.
    max_bytes: usize,
    exported: AtomicU64,
    dropped: [AtomicU64; Dropped::COUNT],
    failed: [AtomicU64; Failed::COUNT],
    waiting_items: AtomicU64,
    waiting_bytes: AtomicU64,
}

impl Counts {
    /// Nothing yet, of a queue of this many bytes.
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { max_bytes, ..Self::default() })
    }

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

    /// Bytes that may wait.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// All counts.
    pub fn read(&self) -> Exported {
        let all = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Exported {
            exported: all(&self.exported),
            dropped: self.dropped.each_ref().map(all),
            failed: self.failed.each_ref().map(all),
            waiting_items: all(&self.waiting_items),
            waiting_bytes: all(&self.waiting_bytes),
            limit_bytes: self.max_bytes as u64,
        }
    }
}
