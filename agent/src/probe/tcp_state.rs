//! TCP connections opened, failed and closed.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpState,
    about: "connections opened, failed and closed; connect latency; bytes, segments and round-trip time at close",
    without: "no connection counts, no connect failures, no connect latency; no traffic of connections that close between two sweeps",
    emits: true,
    programs: &[
        Program {
            name: "tcp_state",
            hook: Hook::Tracepoint { name: "inet_sock_set_state", arguments: &["sock", "", ""] },
        },
        Program {
            name: "tcp_state_again",
            hook: Hook::Tracepoint { name: "inet_sock_set_state", arguments: &["sock", "", ""] },
        },
        Program {
            name: "tcp_destroy",
            hook: Hook::Tracepoint { name: "tcp_destroy_sock", arguments: &["sock"] },
        },
    ],
    common: &[Group::Socket, Group::Tcp, Group::Traffic],
    members: &[
        "sock_done",
        "sk_err",
        "sk_err_soft",
        "sk_error_queue_newest",
        "sk_error_queue_length",
        "skb_cb",
        "ee_errno",
        "sk_drops",
        "icsk_retransmits",
        "icsk_probes_out",
        "sk_socket",
        "socket_state",
    ],
    older: None,
};
