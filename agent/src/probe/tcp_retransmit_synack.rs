//! SYN-ACKs sent again.

use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program, SOCKET, TCP};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpRetransmitSynack,
    name: "tcp_retransmit_synack",
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
    common: &[SOCKET, TCP],
    members: &[],
};
