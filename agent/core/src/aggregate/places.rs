//! What is counted beside edges and other nodes, in windows of the last minutes: listening ports, network devices and their
//! queues, CPUs, protocols and connection tracking of network namespaces, neighbours.
//!
//! Whoever reads them passes their totals; what grew since the last reading is what a window counts. What has a level (a queue, a
//! table) is noted at each reading, so a window knows how full it was on average.

mod readings;

use bytemuck::{Pod, Zeroable};
use netcause_common::drops::DropCause;
use serde::{Deserialize, Serialize};

use super::listeners::DropReason;
use super::windows::Name;
use crate::enrich::Workload;
use crate::node::{Owner, changes, conntrack, links, neighbours, netstat, softnet};

pub use readings::{Found, Readings};

/// Counters that a place has at most.
pub(crate) const COUNTERS: usize = netstat::COUNTERS.len();
/// Levels that a place has at most.
pub(crate) const LEVELS: usize = 2;

/// Where something is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// A listening port; `None` where drops belong to several.
    Listener(Workload, Option<u16>),
    /// A network device; without a name, cables of pods and devices above a limit.
    Device(String),
    /// The queueing disciplines of one kind of a device.
    Qdisc(String, String),
    /// The receive work of all CPUs.
    Softnet,
    /// Time that some task waited for a CPU.
    Cpu,
    /// The protocols of a workload's network namespaces.
    Protocols(Owner),
    /// Connection tracking of a workload's network namespaces.
    Conntrack(Owner),
    /// A table of neighbours.
    NeighbourTable(String),
    /// The neighbours of the node itself.
    Neighbours,
    /// Routes and addresses of the node.
    Configuration,
    /// Packets that the kernel dropped between a workload and its peer.
    Drops(Workload, Workload),
    /// What a workload's resolvers do with search domains.
    Search(Workload),
}

/// What a place has counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Counted {
    /// By [`Place::counters`].
    pub counters: [u64; COUNTERS],
    /// Sums of what each reading found, by [`Place::levels`].
    pub levels: [u64; LEVELS],
    /// Readings; 0 for a place without levels.
    pub readings: u64,
}

/// Counters of a listening port: discards, SYN cookies, and dropped handshakes by [`DropReason`].
const LISTENER: [&str; 2 + DropReason::COUNT] = [
    "discards",
    "syn_cookies_sent",
    DropReason::AcceptQueueFull.label(),
    DropReason::RequestQueueFull.label(),
    DropReason::Other.label(),
];

/// Counters of search domains: [`crate::aggregate::dns::Searched`].
const SEARCH: [&str; 3] = ["wasted_lookups", "wasted_queries", "queries"];

impl Place {
    /// What kind of place it is, in snake case.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Listener(..) => "listener",
            Self::Device(_) => "device",
            Self::Qdisc(..) => "qdisc",
            Self::Softnet => "softnet",
            Self::Cpu => "pressure",
            Self::Protocols(_) => "netstat",
            Self::Conntrack(_) => "conntrack",
            Self::NeighbourTable(_) => "neighbour_table",
            Self::Neighbours => "neighbours",
            Self::Configuration => "configuration",
            Self::Drops(..) => "packet_drops",
            Self::Search(_) => "dns_search",
        }
    }

    /// The names of its counters.
    #[must_use]
    pub const fn counters(&self) -> &'static [&'static str] {
        match self {
            Self::Listener(..) => &LISTENER,
            Self::Device(_) => links::Counter::LABELS,
            Self::Qdisc(..) => links::QdiscCounter::LABELS,
            Self::Softnet => softnet::Counter::LABELS,
            Self::Cpu => &["cpu_waiting_nanoseconds"],
            Self::Protocols(_) => &netstat::COUNTERS,
            Self::Conntrack(_) => conntrack::Counter::LABELS,
            Self::NeighbourTable(_) => neighbours::Counter::LABELS,
            Self::Neighbours => &["link_address_changes", "link_address_flaps"],
            Self::Configuration => changes::Change::LABELS,
            Self::Drops(..) => DropCause::LABELS,
            Self::Search(_) => &SEARCH,
        }
    }

    /// The names of its levels.
    #[must_use]
    pub const fn levels(&self) -> &'static [&'static str] {
        match self {
            Self::Listener(..) => &["accept_queue_length", "accept_queue_limit"],
            Self::Device(_) => &["up"],
            Self::Qdisc(..) => &["backlog_packets", "backlog_bytes"],
            Self::Softnet => &["backlog_packets"],
            Self::Conntrack(None) | Self::NeighbourTable(_) => &["entries", "entries_limit"],
            Self::Conntrack(Some(_)) => &["entries"],
            Self::Cpu
            | Self::Protocols(_)
            | Self::Neighbours
            | Self::Configuration
            | Self::Drops(..)
            | Self::Search(_) => &[],
        }
    }

    /// True if another name may have been right all the time.
    fn is_nameless(&self) -> bool {
        match self {
            Self::Listener(owner, _) | Self::Protocols(Some(owner)) | Self::Conntrack(Some(owner)) => {
                owner.is_nameless()
            }
            _ => false,
        }
    }
}

impl Name for Place {
    fn other(&self) -> Self {
        let (owner, name) = (Some(Workload::Other), || "other".to_owned());
        match self {
            Self::Listener(..) => Self::Listener(Workload::Other, None),
            Self::Device(_) => Self::Device(name()),
            Self::Qdisc(..) => Self::Qdisc(name(), String::new()),
            Self::Protocols(_) => Self::Protocols(owner),
            Self::Conntrack(_) => Self::Conntrack(owner),
            Self::Drops(..) => Self::Drops(Workload::Other, Workload::Other),
            Self::Search(_) => Self::Search(Workload::Other),
            place => place.clone(),
        }
    }
}

const _: () = {
    assert!(links::Counter::COUNT <= COUNTERS && conntrack::Counter::COUNT <= COUNTERS);
    assert!(softnet::Counter::COUNT <= COUNTERS && neighbours::Counter::COUNT <= COUNTERS);
    assert!(changes::Change::COUNT <= COUNTERS && LISTENER.len() <= COUNTERS);
};
