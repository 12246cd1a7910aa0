//! Counters of open sockets, read at every sweep.

use netcause_common::layout::Group;
use netcause_common::probe::ProbeId;

use super::{Hook, Probe, Program};

/// Programs and requirements of the probe; the programs are in agent-ebpf.
pub const PROBE: Probe = Probe {
    id: ProbeId::OpenSockets,
    about: "traffic of open connections, accept queues, client or server role of connections opened before the agent started",
    without: "connections are counted only when they close; no accept queue metrics; of connections opened before the agent started, \
              those that a listener with a backlog of 0 accepted count as a client's",
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
        Program {
            name: "older_in_namespace",
            hook: Hook::AtStart { iterator: "tcp", only_since_start: true },
        },
        Program {
            name: "open_in_namespace",
            hook: Hook::AtStart { iterator: "tcp", only_since_start: false },
        },
        Program { name: "open_sockets", hook: Hook::Sweep("task_file") },
        Program { name: "tracked_sockets", hook: Hook::SweepMaps(&["SOCKETS", "SOCKETS_SPARE"]) },
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
        "request_queue_length",
        "sk_drops",
        "task_nsproxy",
        "nsproxy_net",
        "task_pid",
        "task_cgroups",
        "css_set_dfl_cgrp",
        "cgroup_kn",
        "kernfs_node_id",
        "snd_nxt",
        "snd_wl1",
        "rcv_nxt",
        "copied_seq",
        "lsndtime",
        "rcv_tstamp",
        "lrcvtime",
    ],
    older: None,
};
