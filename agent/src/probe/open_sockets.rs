//! Sockets that are older than the agent.

use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// See the programs of the same name.
pub const PROBE: Probe = Probe {
    id: ProbeId::OpenSockets,
    name: "open_sockets",
    about: "role of connections that are older than the agent (needs the host's PID namespace)",
    without: "which end of an older connection is the client is told from its ports",
    emits: false,
    programs: &[
        Program { name: "listening_ports", hook: Hook::Iterator("task_file") },
        Program { name: "older_connections", hook: Hook::Iterator("task_file") },
    ],
    members: &["file_inode", "file_private_data", "inode_mode", "socket_sk", "sk_protocol"],
};
