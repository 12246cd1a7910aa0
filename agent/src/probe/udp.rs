//! UDP datagrams sent and received.

use netcause_common::probe::ProbeId;

use super::{Direction, Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::Udp,
    about: "UDP datagrams and bytes (requires CAP_NET_ADMIN)",
    without: "no UDP traffic metrics",
    emits: false,
    programs: &[
        Program { name: "packet_received", hook: Hook::Cgroup(Direction::Ingress) },
        Program { name: "packet_sent", hook: Hook::Cgroup(Direction::Egress) },
    ],
    common: &[],
    members: &["skc_net", "net_inum"],
    older: None,
};
