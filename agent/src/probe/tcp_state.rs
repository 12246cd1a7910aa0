//! TCP connections opened, failed and closed.

use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program, SOCKET, TCP, TRAFFIC};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpState,
    name: "tcp_state",
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
    common: &[SOCKET, TCP, TRAFFIC],
    members: &["sk_err", "sk_err_soft", "sk_socket"],
};
