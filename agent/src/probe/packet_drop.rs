//! Packets that the kernel dropped.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::PacketDrop,
    about: "packets that the kernel dropped, by reason",
    without: "no packet drop metrics, and no retransmission is known to repeat what was dropped here",
    emits: false,
    programs: &[Program {
        name: "packet_drop",
        hook: Hook::Tracepoint { name: "kfree_skb", arguments: &["sk_buff", "", ""] },
    }],
    common: &[Group::Socket],
    members: &[
        "skc_state",
        "sk_type",
        "skb_sk",
        "skb_head",
        "skb_tail",
        "skb_network_header",
        "skb_protocol",
        "sk_protocol",
        "snd_nxt",
        "skb_data",
        "skb_len",
        "skb_pkt_type",
        "skb_dev",
        "dev_net",
    ],
    older: None,
};
