//! SYN-ACKs sent again.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpRetransmitSynack,
    about: "retransmitted SYN-ACKs of servers",
    without: "no retransmits of kind synack",
    emits: true,
    programs: &[
        Program {
            name: "tcp_retransmit_synack",
            hook: Hook::Tracepoint { name: "tcp_retransmit_synack", arguments: &["sock", "request_sock"] },
        },
        Program {
            name: "tcp_retransmit_synack_again",
            hook: Hook::Tracepoint { name: "tcp_retransmit_synack", arguments: &["sock", "request_sock"] },
        },
    ],
    common: &[Group::Socket, Group::Tcp],
    members: &[],
};
