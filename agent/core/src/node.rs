//! The node: what its kernel counts beside flows, read by independent readers each of which may fail alone.
//!
//! The readers are in the daemon; here is what they find ([`Reading`]), the parsers of what the kernel writes as text, and
//! what is kept of it ([`Node`]). Counters begin with zero when the agent first reads them, and never go back.

pub mod changes;
pub mod conntrack;
pub mod growth;
pub mod links;
mod namespaces;
pub mod neighbours;
pub mod netstat;
pub mod pressure;
pub mod softnet;
mod state;
mod text;

use std::time::Duration;

use netcause_common::labelled_enum;

pub use namespaces::{Namespace, Namespaces, Owner};
pub use state::{Node, View};
pub use text::Malformed;

labelled_enum! {
    /// A reader: a label value.
    pub enum Reader: u8 {
        /// Packets that wait for a CPU: `/proc/net/softnet_stat`.
        Softnet = 0, "softnet";
        /// Time that tasks wait for a CPU: `/proc/pressure/cpu`.
        Pressure = 1, "pressure";
        /// Counters of the protocols, by network namespace: `/proc/PID/net/netstat`, `snmp` and `snmp6`.
        Netstat = 2, "netstat";
        /// Connection tracking, by network namespace: netlink, and `/proc/PID/net/stat/nf_conntrack`.
        Conntrack = 3, "conntrack";
        /// Network devices of the agent's network namespace, which is the node's: rtnetlink.
        Links = 4, "links";
        /// Queueing disciplines of these devices: rtnetlink.
        Qdiscs = 5, "qdiscs";
        /// Neighbours of the node, and the kernel's tables of them: rtnetlink.
        Neighbours = 6, "neighbours";
        /// Routes and addresses that change: notifications of rtnetlink.
        Changes = 7, "changes";
    }
}

impl Reader {
    /// What it reads, for `netcause check`.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Softnet => "packets that CPUs dropped, and receive work cut short",
            Self::Pressure => "time that tasks waited for a CPU",
            Self::Netstat => {
                "what the protocols of the node and of each pod dropped, refused or found broken"
            }
            Self::Conntrack => "how full connection tracking is, and what did not go in",
            Self::Links => "errors, drops and carrier of the node's network devices",
            Self::Qdiscs => "drops and backlog of the queues before these devices",
            Self::Neighbours => {
                "how full the tables of neighbours are, and addresses that changed their link address"
            }
            Self::Changes => "routes and addresses of the node that changed",
        }
    }

    /// The metrics that are missing when it does not work.
    #[must_use]
    pub const fn without(self) -> &'static str {
        match self {
            Self::Softnet => "no netcause_node_softnet_*",
            Self::Pressure => "no netcause_node_pressure_cpu_waiting_seconds_total",
            Self::Netstat => "no netcause_node_netstat_total",
            Self::Conntrack => "no netcause_node_nf_conntrack_*",
            Self::Links => "no netcause_node_network_*, nor the devices of netcause_node_qdisc_*",
            Self::Qdiscs => "no netcause_node_qdisc_*",
            Self::Neighbours => "no netcause_node_neighbour_*, or no netcause_node_arp_*",
            Self::Changes => "no netcause_node_configuration_changes_total",
        }
    }
}

labelled_enum! {
    /// Why a reader does not work: a label value, so the set is bounded.
    pub enum Reason: u8 {
        /// The kernel does not have the file or the request: it was built without, or a module is not loaded.
        KernelFeatureMissing = 0, "kernel_feature_missing";
        /// A capability is missing, or the file may not be read.
        NotPermitted = 1, "not_permitted";
        /// The root of cgroup v2 is not mounted.
        Cgroup2NotMounted = 2, "cgroup2_not_mounted";
        /// Processes of pods cannot be seen from this PID namespace.
        NotInHostPidNamespace = 3, "not_in_host_pid_namespace";
        /// What the kernel wrote is not what the reader knows.
        Malformed = 4, "malformed";
        /// Anything else.
        Other = 5, "other";
    }
}

/// Why a reader does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of reason.
    pub reason: Reason,
    /// In words, for the log and JSON.
    pub message: String,
}

impl Failure {
    /// A reason with its text.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a reader found, or why it does not work.
pub type Found<T> = Result<T, Failure>;

/// What all readers found in one pass.
#[derive(Debug)]
pub struct Reading {
    /// How long the pass took.
    pub took: Duration,
    /// Packets that wait for a CPU.
    pub softnet: Found<Vec<softnet::Cpu>>,
    /// Time that tasks waited for a CPU since the kernel started.
    pub cpu_waiting: Found<Duration>,
    /// Counters of the protocols.
    pub netstat: Found<Namespaces<netstat::Counters>>,
    /// Connection tracking.
    pub conntrack: Found<Namespaces<conntrack::Table>>,
    /// Network devices.
    pub links: Found<Vec<links::Link>>,
    /// Queueing disciplines.
    pub qdiscs: Found<Vec<links::Qdisc>>,
    /// The kernel's tables of neighbours, and the neighbours of the node.
    pub neighbours: Found<(Vec<neighbours::Table>, Vec<neighbours::Neighbour>)>,
    /// IPv4 neighbours by network namespace.
    pub arp: Found<Namespaces<Vec<neighbours::arp::Neighbour>>>,
    /// Changes of routes and addresses since the reader began.
    pub changes: Found<changes::Changes>,
}

impl Reading {
    /// The readers that do not work, and why.
    pub fn failures(&self) -> impl Iterator<Item = (Reader, &Failure)> {
        let Self {
            took: _,
            softnet,
            cpu_waiting,
            netstat,
            conntrack,
            links,
            qdiscs,
            neighbours,
            arp,
            changes,
        } = self;
        let all = [
            (Reader::Softnet, softnet.as_ref().err()),
            (Reader::Pressure, cpu_waiting.as_ref().err()),
            (Reader::Netstat, netstat.as_ref().err()),
            (Reader::Conntrack, conntrack.as_ref().err()),
            (Reader::Links, links.as_ref().err()),
            (Reader::Qdiscs, qdiscs.as_ref().err()),
            // For the log one of them will do.
            (Reader::Neighbours, neighbours.as_ref().err().or(arp.as_ref().err())),
            (Reader::Changes, changes.as_ref().err()),
        ];
        all.into_iter().filter_map(|(reader, failure)| Some((reader, failure?)))
    }

    /// The cgroups whose names are needed.
    pub fn cgroups(&self) -> impl Iterator<Item = u64> {
        fn of<T>(found: &Found<Namespaces<T>>) -> impl Iterator<Item = u64> {
            let pods = found.iter().flat_map(|namespaces| &namespaces.pods);
            pods.flat_map(|namespace| namespace.cgroups.iter().copied())
        }
        of(&self.netstat).chain(of(&self.conntrack)).chain(of(&self.arp))
    }
}
