//! What flows have counted, by the kernel's tables and by sweeps.

use netcause_common::flow::FlowKey;

use super::Engine;
use crate::aggregate::totals::Totals;

impl Engine {
    /// Counts what a flow has counted.
    pub(super) fn count(&mut self, flow: &FlowKey, more: &Totals) {
        self.names.counted(flow, &more.tcp);
        self.names.counted_datagrams(flow, &more.udp);
        self.peer_nodes.count(flow, &more.tcp, &self.names);
        self.model.count(flow, more, self.time.monotonic, self.names.is_contested(flow));
    }

    /// Counts what a sweep has found.
    pub(super) fn end_sweep(&mut self) {
        let swept = self.waiting.end_sweep(self.time.monotonic);
        for (flow, found) in swept.flows {
            let flow = self.model.counting_for(&flow);
            let more = self.waiting.take(flow, found, swept.since_us);
            self.count(&flow, &more);
        }
    }
}
