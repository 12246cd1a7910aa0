//! Connections opened, failed and closed.

use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program, SOCKET, TCP, TRAFFIC};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::TcpState,
    name: "tcp_state",
    about: "connections opened, failed and closed; connect latency; bytes, segments and round trips of what closed",
    without: "no connection counts, no connect failures, no connect latency, no traffic of connections that end between two sweeps",
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
