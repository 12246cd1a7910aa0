//! Edges: pairs of workloads. Maps flows to edges.

use netcause_common::endpoint::Address;
use netcause_common::flow::FlowKey;
use serde::{Deserialize, Serialize};

use crate::enrich::name::Name;
use crate::enrich::objects::Seconds;
pub use crate::enrich::sidecar::Via;
use crate::enrich::{Names, Remote, Workload};
use crate::ingest::{Role, role};

/// Which end of an edge this agent saw: Istio's `reporter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// The end at which this agent measured.
    pub reporter: Reporter,
    /// The client.
    pub source: Workload,
    /// The server.
    pub destination: Workload,
    /// The service the client connected to, if known.
    pub service: Option<Name>,
    /// The server's port; `None` where several are folded into one.
    pub port: Option<u16>,
    /// Whether it goes through a sidecar.
    pub via: Via,
}

impl Edge {
    /// The edge that collects everything without a series of its own.
    #[must_use]
    pub fn other(reporter: Reporter) -> Self {
        Self {
            reporter,
            source: Workload::Other,
            destination: Workload::Other,
            service: None,
            port: None,
            via: Via::Direct,
        }
    }

    /// The namespace of the server; that of the service while the backend is unknown or ambiguous.
    #[must_use]
    pub fn destination_namespace(&self) -> &str {
        match (&self.destination, &self.service) {
            (Workload::Backend | Workload::Several, Some(service)) => service.namespace(),
            (destination, _) => destination.namespace(),
        }
    }
}

/// A flow's edge, and since when its remote end has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The edge.
    pub edge: Edge,
    /// Since when the remote end has its address, if known.
    pub since: Option<Seconds>,
}

/// The edge of a flow; `None` if its role is invalid, which no eBPF program writes.
#[must_use]
pub fn edge(flow: &FlowKey, names: &Names) -> Option<Named> {
    let reporter = Reporter::from(role(flow)?);
    if flow.is_other() {
        return Some(Named { edge: Edge::other(reporter), since: None });
    }
    with_remote(flow, names, names.remote(flow))
}

/// The edge of a flow whose remote end has this name.
pub(super) fn with_remote(flow: &FlowKey, names: &Names, remote: Remote) -> Option<Named> {
    let reporter = Reporter::from(role(flow)?);
    let local = names.local_of(flow);
    let via = names.via(flow, &remote);
    if matches!(via, Via::OwnSidecar(_)) {
        // One edge for all ports, since it is shown without: a counter that is the sum of several would go back when one ends.
        let edge =
            Edge { reporter, source: local.clone(), destination: local, service: None, port: None, via };
        return Some(Named { edge, since: None });
    }
    let port = if via == Via::Sidecar { names.served_port(flow) } else { flow.service_port };
    let port = (flow.remote != Address::OTHER).then_some(port);
    let Remote { workload: remote, service, since } = remote;
    let (source, destination) = match reporter {
        Reporter::Source => (local, remote),
        Reporter::Destination => (remote, local),
    };
    Some(Named { edge: Edge { reporter, source, destination, service, port, via }, since })
}

/// Resolves the names of an edge again; `None` if they are unchanged. Nothing is cloned then: up to ten thousand edges
/// with unresolved ends come through here at every reading.
pub(super) fn name_again(edge: &Edge, names: &Names) -> Option<Named> {
    let service = edge.service.as_ref();
    let source = names.resolve_again(&edge.source, service, None);
    let destination = names.resolve_again(&edge.destination, service, edge.port);
    let is_old_source = source.as_ref().is_none_or(|source| source.workload == edge.source);
    let is_old_destination = destination.as_ref().is_none_or(|destination| {
        destination.workload == edge.destination && destination.service == edge.service
    });
    if is_old_source && is_old_destination {
        return None;
    }
    let mut named = Named { edge: edge.clone(), since: None };
    if let Some(Remote { workload, since, .. }) = source {
        named.edge.source = workload;
        named.since = since;
    }
    if let Some(Remote { workload, service, since }) = destination {
        named.edge.destination = workload;
        named.edge.service = service;
        named.since = named.since.max(since);
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use netcause_common::flow::{LOCAL_IS_NAMESPACE, PROTOCOL_TCP, PROTOCOL_UDP, ROLE_CLIENT, ROLE_SERVER};

    use super::*;
    use crate::enrich::Options;

    fn text(flow: &FlowKey) -> Option<String> {
        let options = Options { known_networks: vec!["10.0.0.0/8".parse().unwrap()], ..Options::default() };
        let Named { edge, .. } = edge(flow, &Names::new(options))?;
        Some(format!("{:?}: {} {} {:?}", edge.reporter, edge.source, edge.destination, edge.port))
    }

    #[test]
    fn a_flow_maps_to_source_and_destination() {
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
            (server.others_of(), "Destination: other netns:5 None"),
            (FlowKey::other(PROTOCOL_UDP, ROLE_SERVER), "Destination: other other None"),
        ] {
            assert_eq!(text(&flow).as_deref(), Some(expected), "{flow:?}");
        }
        assert_eq!(text(&FlowKey { role: 0, ..flow }), None);
    }
}
