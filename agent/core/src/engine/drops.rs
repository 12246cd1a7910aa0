//! Packets that the kernel dropped.

use netcause_common::drops::DropKey;

use super::Engine;
use crate::aggregate::drops::Row;

impl Engine {
    /// Whose packets were dropped and why, with how many; in any order.
    pub fn packet_drops(&self) -> impl Iterator<Item = (&Row, u64)> {
        self.drops.rows()
    }

    pub(super) fn dropped(&mut self, key: DropKey, packets: u64) {
        self.names.observe_local(key.local);
        self.drops.count(key, packets, self.time.monotonic);
    }
}
