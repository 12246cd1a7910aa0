//! Segments sent again, by kind.

use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program, SOCKET, TCP};

/// See the program of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpRetransmit,
    name: "tcp_retransmit",
    about: "retransmitted segments by kind",
    without: "no retransmits but those of SYN-ACKs",
    emits: true,
    programs: &[Program {
        name: "tcp_retransmit",
        hook: Hook::Tracepoint { name: "tcp_retransmit_skb", arguments: &["sock", "sk_buff"] },
    }],
    common: &[SOCKET, TCP],
    members: &["icsk_pending", "icsk_retransmits", "icsk_ca_state", "skb_cb", "tcp_gso_segs"],
};
