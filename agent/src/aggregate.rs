//! Flows → edges: who talks to whom, by the names people use, with the totals of all flows that bear them.

use std::collections::BTreeMap;

use netcause_common::flow::{FlowCounters, FlowKey};

use crate::enrich::{Names, Workload};
use crate::ingest::{Role, ip, role};

/// Which end of an edge this agent saw: Istio's `reporter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The client's.
    Source,
    /// The server's.
    Destination,
}

/// A pair of workloads and the server's port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// Which end was seen.
    pub reporter: Reporter,
    /// The client.
    pub source: Workload,
    /// The server.
    pub destination: Workload,
    /// The server's port; `None` where several are folded into one.
    pub port: Option<u16>,
}

/// The edge a flow belongs to; `None` when its role is none, which no program writes.
pub fn edge(flow: &FlowKey, names: &mut Names) -> Option<Edge> {
    let role = role(flow)?;
    let local = names.local(flow.local);
    let remote = if flow.is_other() { Workload::Other } else { Workload::Address(ip(flow.remote)) };
    let (reporter, source, destination) = match role {
        Role::Client => (Reporter::Source, local, remote),
        Role::Server => (Reporter::Destination, remote, local),
    };
    Some(Edge { reporter, source, destination, port: (!flow.is_other()).then_some(flow.service_port) })
}

/// Adds up the flows that bear the same names. Nothing is left out but overflow entries that were never needed.
pub fn edges(flows: &[(FlowKey, FlowCounters)], names: &mut Names) -> BTreeMap<Edge, FlowCounters> {
    let mut edges = BTreeMap::new();
    for (flow, counters) in flows {
        if flow.is_other() && *counters == FlowCounters::ZERO {
            continue;
        }
        if let Some(edge) = edge(flow, names) {
            edges.entry(edge).or_insert(FlowCounters::ZERO).add(counters);
        }
    }
    names.retain(flows);
    edges
}

#[cfg(test)]
mod tests {
    use netcause_common::endpoint::Address;
    use netcause_common::flow::{LOCAL_IS_NAMESPACE, PROTOCOL_TCP, ROLE_CLIENT, ROLE_SERVER};

    use super::*;
    use crate::enrich::cgroup::Cgroups;

    fn flow(local: u64, role: u8) -> FlowKey {
        let remote = Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, 9]));
        FlowKey { local, remote, service_port: 80, protocol: PROTOCOL_TCP, role, reserved: 0 }
    }

    fn opened(count: u64) -> FlowCounters {
        FlowCounters { opened: count, ..FlowCounters::ZERO }
    }

    #[test]
    fn flows_of_one_name_add_up_and_sums_are_conserved() {
        let mut names = Names::new(Cgroups::below(None));
        let namespace = LOCAL_IS_NAMESPACE | 5;
        let flows = [
            (flow(namespace, ROLE_CLIENT), opened(1)),
            (FlowKey { reserved: 1, ..flow(namespace, ROLE_CLIENT) }, opened(2)),
            (flow(namespace, ROLE_SERVER), opened(4)),
            (FlowKey::other(ROLE_CLIENT), opened(8)),
            (FlowKey::other(ROLE_SERVER), FlowCounters::ZERO),
        ];
        let edges = edges(&flows, &mut names);
        assert_eq!(edges.values().map(|counters| counters.opened).sum::<u64>(), 15);
        let texts: Vec<_> = edges
            .iter()
            .map(|(edge, counters)| {
                format!("{} {} {:?} {}", edge.source, edge.destination, edge.port, counters.opened)
            })
            .collect();
        assert_eq!(
            texts,
            ["netns:5 10.0.0.9 Some(80) 3", "other other None 8", "10.0.0.9 netns:5 Some(80) 4",]
        );
    }
}
