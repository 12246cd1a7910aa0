//! UDP datagrams dropped because the receive buffer was full.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::UdpDrop,
    about: "UDP datagrams dropped because the receive buffer was full",
    without: "no UDP receive drop metrics",
    emits: false,
    programs: &[Program {
        name: "udp_drop",
        hook: Hook::Tracepoint { name: "udp_fail_queue_rcv_skb", arguments: &["", "sock"] },
    }],
    common: &[Group::Socket],
    members: &["skb_head", "skb_network_header", "skb_transport_header"],
    older: None,
};
