//! DNS queries and answers.

use netcause_common::dns::{OVER_TCP, OVER_UDP};
use netcause_common::probe::ProbeId;

use super::{Direction, Hook, Probe, Program};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::Dns,
    about: "DNS queries, answers and their names (needs the probe udp)",
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
    ],
    common: &[],
    members: &[],
};
