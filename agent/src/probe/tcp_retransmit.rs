//! Segments sent again, by kind.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// See the program of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpRetransmit,
    about: "retransmitted segments by kind",
    without: "no retransmits but those of SYN-ACKs",
    emits: true,
    programs: &[Program {
        name: "tcp_retransmit",
        hook: Hook::Tracepoint { name: "tcp_retransmit_skb", arguments: &["sock", "sk_buff"] },
    }],
    common: &[Group::Socket, Group::Tcp],
    members: &["icsk_pending", "icsk_retransmits", "icsk_ca_state", "skb_cb", "tcp_gso_segs"],
};
