//! DNS queries and responses.

use netcause_common::dns::{OVER_TCP, OVER_UDP};
use netcause_common::probe::ProbeId;

use super::{Direction, Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::Dns,
    about: "DNS queries, responses, latency and names (requires the udp probe)",
    without: "no DNS metrics",
    emits: true,
    programs: &[
        Program {
            name: "dns_udp_received",
            hook: Hook::Continuation { direction: Direction::Ingress, over: OVER_UDP },
        },
        Program {
            name: "dns_udp_sent",
            hook: Hook::Continuation { direction: Direction::Egress, over: OVER_UDP },
        },
        Program {
            name: "dns_tcp_received",
            hook: Hook::Continuation { direction: Direction::Ingress, over: OVER_TCP },
        },
        Program {
            name: "dns_tcp_sent",
            hook: Hook::Continuation { direction: Direction::Egress, over: OVER_TCP },
        },
        Program { name: "dns_socket_closed", hook: Hook::SocketClosed },
    ],
    common: &[],
    members: &["skc_net", "net_inum"],
    older: None,
};
