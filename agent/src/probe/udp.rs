//! UDP datagrams, sent and received.

use netcause_common::probe::ProbeId;

use super::{Direction, Hook, Probe, Program};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::Udp,
    about: "UDP datagrams and bytes (needs CAP_NET_ADMIN)",
    without: "no UDP traffic",
    emits: false,
    programs: &[
        Program { name: "packet_received", hook: Hook::Cgroup(Direction::Ingress) },
        Program { name: "packet_sent", hook: Hook::Cgroup(Direction::Egress) },
    ],
    common: &[],
    members: &[],
};
