//! What the kernel side is loaded with.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use netcause_common::{dns, limits};

/// Sizes of maps, and switches, of the kernel side.
#[derive(Clone, Debug)]
pub struct Options {
    /// Entries of the map of TCP flows.
    pub max_flows: u32,
    /// Entries of the map of UDP flows.
    pub max_udp_flows: u32,
    /// Entries of the map of DNS flows: pairs of a client and its server.
    pub max_dns_flows: u32,
    /// Entries of the map of DNS queries without an answer yet.
    pub max_dns_queries: u32,
    /// Ports of DNS, at most [`dns::MAX_PORTS`]; none switches DNS off.
    pub dns_ports: Vec<u16>,
    /// How long resolvers wait for an answer.
    pub dns_patience: Duration,
    /// Events of DNS answers per second, of successes and of failures each; 0 keeps names in the kernel.
    pub dns_event_rate_limit: u32,
    /// Entries of the map of sockets.
    pub max_sockets: u32,
    /// Entries of the map of listening ports.
    pub max_listeners: u32,
    /// Size of each ring buffer in bytes: a power of two, at least a page.
    pub event_ring_bytes: u32,
    /// Whether the programs log what they cannot handle.
    pub ebpf_log: bool,
    /// Whether connections that were open before the agent started are counted since its start, not over their lifetime.
    pub count_since_start: bool,
    /// Networks whose addresses are kept apart, at most [`limits::NETWORKS`].
    pub known_networks: Vec<IpNet>,
    /// External networks that have a name, kept apart as well: at most
    /// [`MAX_NETWORKS`](netcause_core::enrich::networks::MAX_NETWORKS).
    pub named_networks: Vec<IpNet>,
    /// Mount point of the root of cgroup v2; `None` when it is not mounted.
    pub cgroup_root: Option<PathBuf>,
}

impl Options {
    /// The smallest maps, with room for the entries of `other`: to check whether the programs load, without counting.
    #[must_use]
    pub fn minimal(cgroup_root: Option<PathBuf>) -> Self {
        Self {
            max_flows: 2,
            max_udp_flows: 2,
            max_dns_flows: 2,
            max_dns_queries: 1,
            // The most there can be, for the verifier.
            dns_ports: vec![53; dns::MAX_PORTS],
            dns_patience: Duration::from_secs(1),
            dns_event_rate_limit: 1000,
            max_sockets: 1,
            max_listeners: 1,
            event_ring_bytes: limits::DEFAULT_EVENT_RING_BYTES,
            ebpf_log: false,
            count_since_start: false,
            known_networks: Vec::new(),
            named_networks: Vec::new(),
            cgroup_root,
        }
    }
}
