//! Sizes of the name tables, and what was dropped at their limits.

use super::Names;
use crate::enrich::conntrack::Support;

/// Counts for the agent's own metrics; each list has pairs of a label value and a count.
#[derive(Debug)]
pub struct Statistics {
    /// Entries by kind.
    pub objects: Vec<(&'static str, u64)>,
    /// Entries dropped at a limit, by kind.
    pub dropped: Vec<(&'static str, u64)>,
    /// Conntrack lookups by outcome.
    pub conntrack: Vec<(&'static str, u64)>,
    /// The state of conntrack lookups; `None` before the first one.
    pub tracking: Option<Tracking>,
    /// DNS names shown for external addresses, and their limit.
    pub outside: (u64, u64),
    /// Nodes at the ends of edges, with their zones.
    pub zones: Vec<(String, String)>,
}

/// The state of conntrack lookups.
#[derive(Debug)]
pub struct Tracking {
    /// Why they fail, as a label value and as text; `None` while they work.
    pub down: Option<(&'static str, String)>,
    /// Failures by reason.
    pub failures: Vec<(&'static str, u64)>,
}

impl Names {
    /// Collects the counts.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let known = self.directory.statistics();
        let cgroups = self.cgroups.statistics();
        let conntrack = self.conntrack.statistics();
        let objects = [
            ("pod", known.pods),
            ("deleted_pod", known.gone_pods),
            ("service", known.services),
            ("endpointslice", known.slices),
            ("endpoint", known.endpoints),
            ("node", known.nodes),
            ("address", known.addresses),
            ("workload", known.workloads),
            ("cgroup", cgroups.known),
            ("cgroup_not_found", cgroups.missed),
            ("conntrack_query", self.conntrack.query_count()),
            ("local_flow", self.peers.flows()),
        ];
        let dropped = known.dropped;
        Statistics {
            objects: objects.map(|(kind, count)| (kind, count as u64)).to_vec(),
            dropped: vec![
                ("pod", dropped.pods),
                ("service", dropped.services),
                ("endpointslice", dropped.slices),
                ("endpoint", dropped.endpoints),
                ("node", dropped.nodes),
                ("address_holder", dropped.holdings),
                ("cgroup", cgroups.unkept),
                ("cgroup_not_found", cgroups.refused),
                ("conntrack_query", conntrack.refused),
                ("conntrack_backend", conntrack.left_out),
                ("local_flow", self.peers.refused()),
            ],
            conntrack: vec![
                ("found", conntrack.answered),
                ("none", conntrack.none),
                ("limited", conntrack.limited),
                ("failed", conntrack.failed.values().sum()),
            ],
            tracking: self.tracking_state(),
            outside: self.outside.fullness(),
            zones: self.zones.all().map(|(node, zone)| (node.to_owned(), zone.to_owned())).collect(),
        }
    }

    fn tracking_state(&self) -> Option<Tracking> {
        let down = match self.conntrack.support() {
            Support::Unknown => return None,
            Support::Yes => None,
            Support::No(failure) => Some((failure.reason(), failure.to_string())),
        };
        let failed = &self.conntrack.statistics().failed;
        Some(Tracking { down, failures: failed.iter().map(|(reason, count)| (*reason, *count)).collect() })
    }
}
