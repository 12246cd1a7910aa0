//! Retransmitted TCP segments, by kind.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpRetransmit,
    about: "retransmitted TCP segments by kind",
    without: "no retransmission metrics, except for SYN-ACKs",
    emits: true,
    programs: &[Program {
        name: "tcp_retransmit",
        hook: Hook::Tracepoint { name: "tcp_retransmit_skb", arguments: &["sock", "sk_buff"] },
    }],
    common: &[Group::Socket, Group::Tcp],
    members: &[
        "icsk_pending",
        "icsk_retransmits",
        "icsk_ca_state",
        "mss_cache",
        "chrono_start",
        "lrcvtime",
        "rcv_tstamp",
        "skb_cb",
        "skb_len",
        "tcp_gso_segs",
        "tcp_seq",
        "tcp_end_seq",
        "tcp_clock_cache",
    ],
    older: None,
};
