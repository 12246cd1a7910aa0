//! How much is known, and what found no room.

use super::Names;
use crate::enrich::conntrack::Support;

/// See above. Each list has a kind and a count.
#[derive(Debug)]
pub struct Statistics {
    /// What is known.
    pub objects: Vec<(&'static str, u64)>,
    /// What found no room.
    pub dropped: Vec<(&'static str, u64)>,
    /// Questions to the connection tracking, by outcome.
    pub conntrack: Vec<(&'static str, u64)>,
    /// How the connection tracking answers; `None` while it was not asked.
    pub tracking: Option<Tracking>,
    /// Names of outside addresses, and how many there may be.
    pub outside: (u64, u64),
    /// Nodes that are ends of edges, and their zones.
    pub zones: Vec<(String, String)>,
}

/// How the connection tracking answers.
#[derive(Debug)]
pub struct Tracking {
    /// Why it does not, as a code and as text; `None` while it does.
    pub down: Option<(&'static str, String)>,
    /// Failures by reason.
    pub failures: Vec<(&'static str, u64)>,
}

impl Names {
    /// How much is known, and what was asked.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let known = self.directory.statistics();
        let cgroups = self.cgroups.statistics();
        let asked = self.conntrack.statistics();
        let objects = [
            ("pod", known.pods),
            ("gone_pod", known.gone_pods),
            ("service", known.services),
            ("endpointslice", known.slices),
            ("endpoint", known.endpoints),
            ("node", known.nodes),
            ("address", known.addresses),
            ("workload", known.workloads),
            ("cgroup", cgroups.known),
            ("missed_cgroup", cgroups.missed),
            ("conntrack_question", self.conntrack.query_count()),
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
                ("holding", dropped.holdings),
                ("cgroup", cgroups.unkept),
                ("missed_cgroup", cgroups.refused),
                ("conntrack_question", asked.refused),
                ("conntrack_backend", asked.left_out),
            ],
            conntrack: vec![
                ("found", asked.answered),
                ("none", asked.none),
                ("limited", asked.limited),
                ("failed", asked.failed.values().sum()),
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
