//! Flows → edges: who talks to whom, by the names people use, with the totals of all flows that bear them.
//!
//! The kernel's tables hold what is counted now; the [`ledger::Ledger`] holds what must outlive that: totals of flows
//! that were removed, and which edges have series of their own and which are folded into `other`.

pub mod dns;
pub mod ledger;
mod slab;
pub mod totals;

use netcause_common::endpoint::Address;
use netcause_common::flow::FlowKey;

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

impl From<Role> for Reporter {
    fn from(role: Role) -> Self {
        match role {
            Role::Client => Self::Source,
            Role::Server => Self::Destination,
        }
    }
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

impl Edge {
    /// What takes all that has no series of its own.
    #[must_use]
    pub fn other(reporter: Reporter) -> Self {
        Self { reporter, source: Workload::Other, destination: Workload::Other, port: None }
    }
}

/// The edge a flow belongs to; `None` when its role is none, which no program writes.
pub fn edge(flow: &FlowKey, names: &mut Names) -> Option<Edge> {
    let reporter = Reporter::from(role(flow)?);
    if flow.is_other() {
        return Some(Edge::other(reporter));
    }
    let local = names.local(flow.local);
    let remote = match flow.remote {
        Address::EXTERNAL => Workload::External,
        Address::ANY => Workload::Any,
        Address::UNKNOWN => Workload::Unknown,
        address => Workload::Address(ip(address)),
    };
    let (source, destination) = match reporter {
        Reporter::Source => (local, remote),
        Reporter::Destination => (remote, local),
    };
    Some(Edge { reporter, source, destination, port: Some(flow.service_port) })
}

#[cfg(test)]
mod tests {
    use netcause_common::flow::{LOCAL_IS_NAMESPACE, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};

    use super::*;
    use crate::enrich::cgroup::Cgroups;

    fn text(flow: &FlowKey) -> Option<String> {
        let edge = edge(flow, &mut Names::new(Cgroups::below(None)))?;
        Some(format!("{:?}: {} {} {:?}", edge.reporter, edge.source, edge.destination, edge.port))
    }

    #[test]
    fn a_flow_says_who_talks_to_whom() {
        let remote = Address::from_v4_network_order(u32::from_ne_bytes([10, 0, 0, 9]));
        let flow = FlowKey {
            local: LOCAL_IS_NAMESPACE | 5,
            remote,
            service_port: 80,
            protocol: PROTOCOL_TCP,
            role: ROLE_CLIENT,
            reserved: 0,
        };
        let server = FlowKey { role: ROLE_SERVER, ..flow };
        for (flow, expected) in [
            (flow, "Source: netns:5 10.0.0.9 Some(80)"),
            (FlowKey { protocol: PROTOCOL_UDP, ..flow }, "Source: netns:5 10.0.0.9 Some(80)"),
            (FlowKey { local: 5, ..flow }, "Source: cgroup:5 10.0.0.9 Some(80)"),
            (server, "Destination: 10.0.0.9 netns:5 Some(80)"),
            (FlowKey { remote: Address::EXTERNAL, ..server }, "Destination: external netns:5 Some(80)"),
            (FlowKey { remote: Address::ANY, ..server }, "Destination: any netns:5 Some(80)"),
            (FlowKey { remote: Address::UNKNOWN, ..flow }, "Source: netns:5 unknown Some(80)"),
            (FlowKey::other(PROTOCOL_UDP, ROLE_SERVER), "Destination: other other None"),
        ] {
            assert_eq!(text(&flow).as_deref(), Some(expected), "{flow:?}");
        }
        assert_eq!(text(&FlowKey { role: 0, ..flow }), None);
    }
}
