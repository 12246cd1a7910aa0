//! Live counters of open sockets.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::OpenSockets,
    about: "traffic of open connections, accept queues, role of connections that are older than the agent",
    without: "connections are counted when they close; no accept queues; which end of an older connection is the client \
              is told from its ports",
    emits: false,
    programs: &[
        Program {
            name: "listening_ports",
            hook: Hook::AtStart { iterator: "task_file", only_since_start: false },
        },
        Program {
            name: "older_connections",
            hook: Hook::AtStart { iterator: "task_file", only_since_start: true },
        },
        Program { name: "open_sockets", hook: Hook::Sweep("task_file") },
    ],
    common: &[Group::Socket, Group::Tcp, Group::Traffic],
    members: &[
        "sock_done",
        "file_inode",
        "file_private_data",
        "inode_mode",
        "socket_sk",
        "sk_protocol",
        "sk_type",
        "sk_ack_backlog",
        "sk_max_ack_backlog",
        "sk_drops",
    ],
};
