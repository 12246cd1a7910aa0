//! Settings of the kernel side.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use netcause_common::flow::Quotas;
use netcause_common::{dns, limits};

/// Map capacities and switches that the eBPF object is loaded with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Capacity of the map of TCP flows.
    pub max_flows: u32,
    /// Capacity of the map of UDP flows.
    pub max_udp_flows: u32,
    /// Capacity of the map of DNS flows (pairs of client and server).
    pub max_dns_flows: u32,
    /// Capacity of the map of pending DNS queries.
    pub max_dns_queries: u32,
    /// DNS server ports, at most [`dns::MAX_PORTS`]; empty disables DNS.
    pub dns_ports: Vec<u16>,
    /// Time after which a DNS query without an answer counts as timed out.
    pub dns_timeout: Duration,
    /// Rate limit on DNS answer events per second, for successes and failures separately; 0 disables them, so that names stay
    /// in the kernel.
    pub dns_event_rate_limit: u32,
    /// Capacity of the map of sockets.
    pub max_sockets: u32,
    /// Capacity of the map of listening ports.
    pub max_listeners: u32,
    /// Size of each ring buffer in bytes: a power of two, at least a page.
    pub event_ring_bytes: u32,
    /// Whether the eBPF programs log what they cannot handle.
    pub ebpf_log: bool,
    /// Whether connections opened before the agent are counted from its start, instead of over their lifetime.
    pub count_since_start: bool,
    /// Networks whose addresses are distinguished, at most [`limits::NETWORKS`].
    pub known_networks: Vec<IpNet>,
    /// Named external networks, whose addresses are distinguished too: at most
    /// [`MAX_NETWORKS`](netcause_core::enrich::networks::MAX_NETWORKS).
    pub named_networks: Vec<IpNet>,
    /// Mount point of the cgroup v2 root; `None` if it is not mounted.
    pub cgroup_root: Option<PathBuf>,
}

impl Options {
    /// How many flows a local end may have.
    pub(super) fn quotas(&self) -> Quotas {
        Quotas::of([self.max_flows, self.max_udp_flows, self.max_dns_flows])
    }

    /// The smallest maps that hold the `other` flows, for checking whether the programs load.
    #[must_use]
    pub fn minimal(cgroup_root: Option<PathBuf>) -> Self {
        Self {
            max_flows: 2,
            max_udp_flows: 2,
            max_dns_flows: 2,
            max_dns_queries: 1,
            // As many as possible, so that the verifier sees the worst case.
            dns_ports: vec![53; dns::MAX_PORTS],
            dns_timeout: Duration::from_secs(1),
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
