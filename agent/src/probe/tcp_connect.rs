//! Connects that fail before a SYN is sent.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = by(
    &[
        end_of("tcp_connect_v4", "tcp_v4_connect"),
        end_of("tcp_connect_v6", "tcp_v6_connect"),
        end_of("tcp_connect_denied_v4", "tcp_v4_pre_connect"),
        end_of("tcp_connect_denied_v6", "tcp_v6_pre_connect"),
    ],
    // Where the end of functions cannot be traced, as on older kernels for arm64.
    Some(&by(
        &[
            kprobe(
                "tcp_connect_begins",
                &["tcp_v4_connect", "tcp_v6_connect", "tcp_v4_pre_connect", "tcp_v6_pre_connect"],
            ),
            kprobe("tcp_connect_ends", &["tcp_v4_connect", "tcp_v6_connect"]),
            kprobe("tcp_connect_policy_ends", &["tcp_v4_pre_connect", "tcp_v6_pre_connect"]),
        ],
        None,
    )),
);

/// Of each function: `(struct sock *, struct sockaddr *, int)`.
const ARGUMENTS: usize = 3;

const fn end_of(name: &'static str, function: &'static str) -> Program {
    Program { name, hook: Hook::FunctionEnd { name: function, arguments: ARGUMENTS } }
}

const fn kprobe(name: &'static str, functions: &'static [&'static str]) -> Program {
    Program { name, hook: Hook::Kprobe { functions, arguments: ARGUMENTS } }
}

const fn by(programs: &'static [Program], older: Option<&'static Probe>) -> Probe {
    Probe {
        id: ProbeId::TcpConnect,
        about: "connects that fail before a SYN is sent: no route, denied",
        without: "connects that fail before a SYN is sent are not counted",
        emits: true,
        programs,
        common: &[Group::Socket, Group::Tcp],
        members: &["sk_socket", "socket_state", "sk_protocol", "sk_type"],
        older,
    }
}
