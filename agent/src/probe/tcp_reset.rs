//! TCP resets sent and received.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpReset,
    about: "TCP resets (RST) sent and received",
    without: "no reset metrics",
    emits: true,
    programs: &[
        Program {
            name: "tcp_reset_sent",
            hook: Hook::Tracepoint { name: "tcp_send_reset", arguments: &["sock", "sk_buff"] },
        },
        Program {
            name: "tcp_reset_sent_again",
            hook: Hook::Tracepoint { name: "tcp_send_reset", arguments: &["sock", "sk_buff"] },
        },
        Program {
            name: "tcp_reset_received",
            hook: Hook::Tracepoint { name: "tcp_receive_reset", arguments: &["sock"] },
        },
        Program {
            name: "tcp_reset_received_again",
            hook: Hook::Tracepoint { name: "tcp_receive_reset", arguments: &["sock"] },
        },
    ],
    common: &[Group::Socket, Group::Tcp, Group::Traffic],
    members: &[
        "sk_err",
        "sk_shutdown",
        "sock_done",
        "rcv_nxt",
        "copied_seq",
        "icsk_retransmits",
        "icsk_probes_out",
        "skb_head",
        "skb_network_header",
        "skb_transport_header",
        "skb_dev",
        "dev_net",
    ],
    older: None,
};
