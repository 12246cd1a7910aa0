//! Resets sent and received.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpReset,
    about: "resets sent and received",
    without: "no resets",
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
    common: &[Group::Socket, Group::Tcp],
    members: &["skb_head", "skb_network_header", "skb_transport_header", "skb_dev", "dev_net"],
};
