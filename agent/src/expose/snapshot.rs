//! The view: everything that an exposition or a JSON answer is made from, in plain values.

use std::sync::Arc;
use std::time::Duration;

use netcause_common::flow::TcpCounters;
use netcause_common::probe::ProbeId;
use netcause_common::probe::open_sockets::AcceptQueue;
use netcause_common::statistics::{STATISTICS, Statistic};
use netcause_core::aggregate::Edge;
use netcause_core::aggregate::dns::WorkloadRow;
use netcause_core::aggregate::events::EdgeEvent;
use netcause_core::aggregate::listeners::Dropped;
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::{drops, windows};
use netcause_core::diagnose::cause::{Cause, Side};
use netcause_core::diagnose::finding::Finding;
use netcause_core::enrich::Workload;
use netcause_core::enrich::policy::DnsNames;
use netcause_core::node;

use super::dns::rows::{Details, ServerRow};
use super::tables::otlp::Exported;
pub use super::tables::{AgentCounts, Recorded};

/// Everything that is shown, at one point in time.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Pairs of workloads, in any order.
    pub edges: Vec<EdgeRow>,
    /// Listening TCP ports, in any order.
    pub listeners: Vec<ListenerRow>,
    /// Packets that the kernel dropped, in any order.
    pub drops: Vec<DropRow>,
    /// Workloads whose search domains have cost lookups, in any order.
    pub searches: Vec<SearchRow>,
    /// Details of DNS answers.
    pub dns: DnsView,
    /// The last TCP failure events.
    pub events: EventsView,
    /// TCP by the node at the other end, in any order.
    pub peer_nodes: Vec<PeerNodeRow>,
    /// What the kernel counts of the node.
    pub node: node::View,
    /// What is wrong.
    pub findings: FindingsView,
    /// The agent itself.
    pub agent: AgentView,
    /// Sources of names and what they know.
    pub names: NamesView,
    /// When it was read: seconds since 1970.
    pub read_at: u64,
    /// When it was read, by the kernel's `CLOCK_MONOTONIC`.
    pub at: Duration,
    /// When every counter was zero, seconds since 1970; `None` where older connections are counted over their lifetime.
    pub counts_since: Option<u64>,
    /// The kernel's tick (jiffy): the unit of counters kept in ticks.
    pub tick: Duration,
}

/// A pair of workloads and its counters.
#[derive(Debug)]
pub struct EdgeRow {
    /// The pair.
    pub edge: Arc<Edge>,
    /// All counters.
    pub totals: Totals,
}

/// A listening TCP port and its accept queue.
#[derive(Debug)]
pub struct ListenerRow {
    /// The workload that listens; the network namespace where drops belong to several.
    pub workload: Workload,
    /// The port; `None` where drops belong to several.
    pub port: Option<u16>,
    /// Its accept queue.
    pub queue: AcceptQueue,
    /// For how long the oldest connection in it had waited at the last sweep.
    pub oldest: Duration,
    /// What it has dropped.
    pub dropped: Dropped,
}

/// What is wrong.
#[derive(Debug, Default)]
pub struct FindingsView {
    /// The findings that are active.
    pub active: Vec<Arc<Finding>>,
    /// How many have begun, by cause and side.
    pub found: Vec<(Cause, Side, u64)>,
    /// Kubernetes Events of them, by outcome; `None` where none are written.
    pub events: Option<[(&'static str, u64); 3]>,
}

/// TCP with the pods of a node.
#[derive(Debug)]
pub struct PeerNodeRow {
    /// The node; `unknown` and `other` stand for several.
    pub node: String,
    /// Its zone; empty when unknown.
    pub zone: String,
    /// What was counted.
    pub totals: TcpCounters,
}

/// Packets that the kernel dropped.
#[derive(Debug)]
pub struct DropRow {
    /// Whose, and why.
    pub row: drops::Row,
    /// How many.
    pub packets: u64,
}

/// What search domains cost a workload.
#[derive(Debug)]
pub struct SearchRow {
    /// The client.
    pub workload: Workload,
    /// Lookups that search domains wasted.
    pub expansions: u64,
    /// The queries of those lookups.
    pub wasted_queries: u64,
}

/// The last TCP failure events.
#[derive(Debug, Default)]
pub struct EventsView {
    /// Events received so far.
    pub received: u64,
    /// When `CLOCK_MONOTONIC`, which events are stamped with, was zero: seconds since 1970.
    pub boot_seconds: f64,
    /// The last events of each edge, latest first.
    pub latest: Vec<Arc<EdgeEvent>>,
}

/// Details of DNS answers.
#[derive(Debug)]
pub struct DnsView {
    /// Whether names are shown, hashed or left out.
    pub policy: DnsNames,
    /// How many answers the lists are made from.
    pub details: Details,
    /// Each client's workload and a server that it has asked, whether their edge has series of its own or not.
    pub servers: Vec<(Workload, ServerRow)>,
    /// What servers on this node had from clients whose edge has ended or is folded; it belongs to their sums alone.
    pub ended_clients: Vec<EdgeRow>,
    /// Lists of names, by workload.
    pub workloads: Vec<WorkloadRow>,
}

impl Default for DnsView {
    fn default() -> Self {
        Self {
            policy: DnsNames::Off,
            details: Details::default(),
            servers: Vec::new(),
            ended_clients: Vec::new(),
            workloads: Vec::new(),
        }
    }
}

/// The agent itself.
#[derive(Debug, Default)]
pub struct AgentView {
    /// The probes, in the order of [`ProbeId`].
    pub probes: Vec<ProbeRow>,
    /// Counters of the kernel side about itself.
    pub kernel: KernelCounters,
    /// Counters of the daemon about itself.
    pub counts: AgentCounts,
    /// The budget of time series.
    pub series: SeriesBudget,
    /// How often a node at the other end has lost its counters to another one.
    pub folded_peer_nodes: u64,
    /// What is kept of the last minutes, by what it is of.
    pub windows: Vec<(&'static str, windows::Statistics)>,
    /// What became of what is sent by OTLP, by signal; empty where nothing is sent.
    pub exports: Vec<(&'static str, Exported)>,
    /// Kernel tables.
    pub maps: Vec<MapRow>,
    /// eBPF programs.
    pub programs: Vec<ProgramRow>,
    /// The kernel's release, as uname(2) says it.
    pub kernel_release: String,
    /// The name of this node.
    pub node: String,
    /// For how long the agent has run.
    pub running: Duration,
    /// The last sweep over all open sockets; `None` before the first, and where none can be made.
    pub last_sweep: Option<SweepRow>,
}

/// A sweep over all open sockets.
#[derive(Clone, Copy, Debug)]
pub struct SweepRow {
    /// Time since it began.
    pub age: Duration,
    /// How long it took.
    pub took: Duration,
}

/// Why something is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// A short code of a bounded set, for labels.
    pub reason: &'static str,
    /// The whole reason as text, for people.
    pub message: String,
}

/// A probe.
#[derive(Debug)]
pub struct ProbeRow {
    /// Its number.
    pub id: ProbeId,
    /// Its name.
    pub name: &'static str,
    /// Whether it sends events through a ring buffer.
    pub emits: bool,
    /// What is missing in the metrics while it is down.
    pub without: &'static str,
    /// Why it does not run; `None` while it does.
    pub down: Option<Down>,
}

/// Counters of the kernel side about itself, summed over CPUs.
#[derive(Clone, Debug)]
pub struct KernelCounters(pub [u64; STATISTICS as usize]);

impl Default for KernelCounters {
    fn default() -> Self {
        Self([0; STATISTICS as usize])
    }
}

impl KernelCounters {
    /// One counter.
    #[must_use]
    pub fn get(&self, statistic: Statistic) -> u64 {
        self.0.get(statistic as usize).copied().unwrap_or_default()
    }

    /// Events of a probe that were lost to a full ring buffer.
    #[must_use]
    pub fn events_lost(&self, probe: ProbeId) -> u64 {
        self.0.get(Statistic::EventsLost as usize + probe as usize).copied().unwrap_or_default()
    }
}

/// The budget of time series.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeriesBudget {
    /// Series of edges now.
    pub shown: u64,
    /// How many there may be.
    pub limit: u64,
    /// How often an edge was folded into `other`.
    pub folded: u64,
    /// Rows that counted no more and ended before every scraper had their last value.
    pub cut_short: u64,
}

/// A kernel table.
#[derive(Clone, Copy, Debug)]
pub struct MapRow {
    /// Its name.
    pub map: &'static str,
    /// Entries now.
    pub entries: u64,
    /// Entries that it can hold.
    pub limit: u64,
}

/// An eBPF program, as the kernel accounts for it.
#[derive(Clone, Copy, Debug)]
pub struct ProgramRow {
    /// Its name.
    pub program: &'static str,
    /// Time in it; zero unless kernel.bpf_stats_enabled is set.
    pub run_time: Duration,
    /// Times it ran; zero unless kernel.bpf_stats_enabled is set.
    pub runs: u64,
    /// Times it was skipped because it was running already on the same CPU.
    pub recursion_misses: u64,
}

/// Sources of names and what they know. Each list of counts has a name and a number.
#[derive(Debug, Default)]
pub struct NamesView {
    /// The sources.
    pub sources: Vec<SourceRow>,
    /// Objects that are known now, by kind.
    pub objects: Vec<(&'static str, u64)>,
    /// Objects that were dropped because a limit was reached, by kind.
    pub dropped: Vec<(&'static str, u64)>,
    /// Walks of the cgroup tree, by outcome.
    pub cgroup_walks: Vec<(&'static str, u64)>,
    /// Lookups in the kernel's connection tracking, by outcome.
    pub conntrack: Vec<(&'static str, u64)>,
    /// DNS names of external addresses that are shown, and how many may be.
    pub external: (u64, u64),
    /// Nodes and their zones.
    pub zones: Vec<(String, String)>,
}

/// A source of names.
#[derive(Debug)]
pub struct SourceRow {
    /// Its name.
    pub source: &'static str,
    /// The kind of object; empty where all come together.
    pub kind: &'static str,
    /// Why it is down; `None` while it is up.
    pub down: Option<Down>,
    /// Time since the last contact; `None` before the first.
    pub age: Option<Duration>,
    /// Failures by reason.
    pub failures: Vec<(&'static str, u64)>,
}

#[cfg(test)]
impl Snapshot {
    /// So many pairs, each with these counters.
    pub fn of_pairs(count: u64, tcp: TcpCounters) -> Self {
        use netcause_core::aggregate::{Reporter, Via};
        let row = |number| EdgeRow {
            edge: Arc::new(Edge {
                reporter: Reporter::Source,
                source: Workload::Namespace(number),
                destination: Workload::External,
                service: None,
                port: Some(80),
                via: Via::Direct,
            }),
            totals: Totals { tcp, ..Totals::ZERO },
        };
        Self { edges: (0..count).map(row).collect(), ..Self::default() }
    }
}
