//! UDP datagrams that found the receive buffer full.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// See the program of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::UdpDrop,
    about: "UDP datagrams that found the receive buffer full",
    without: "no drops of UDP receivers",
    emits: false,
    programs: &[Program {
        name: "udp_drop",
        hook: Hook::Tracepoint { name: "udp_fail_queue_rcv_skb", arguments: &["", "sock"] },
    }],
    common: &[Group::Socket],
    members: &["skb_head", "skb_network_header", "skb_transport_header"],
};
