//! Retransmitted SYN-ACKs.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpRetransmitSynack,
    about: "SYN-ACKs retransmitted by servers",
    without: "no retransmissions of kind synack",
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
    older: None,
};
