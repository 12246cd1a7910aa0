//! The view of the agent: what it knows, in plain values.

use anyhow::Result;
use netcause_common::dns::DnsCounters;
use netcause_common::flow::TcpCounters;
use netcause_common::probe::ProbeId;
use netcause_common::statistics::Statistic;
use netcause_core::aggregate::peer_nodes::Row;
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::{Edge, Reporter};
use netcause_core::engine::{Listener, SourceHealth, Time};
use netcause_core::enrich::Workload;
use netcause_core::enrich::objects::{Kind, Source as NameSource};
use netcause_core::expose::budget::Shown;

use super::agent::Agent;
use crate::expose::dns::rows::{Details, ServerRow};
use crate::expose::snapshot::{
    AgentCounts, AgentView, DnsView, Down, DropRow, EdgeRow, EventsView, FindingsView, KernelCounters,
    ListenerRow, MapRow, NamesView, PeerNodeRow, ProbeRow, ProgramRow, SearchRow, SeriesBudget, Snapshot,
    SourceRow, SweepRow,
};
use crate::kernel::{self, ProbeState};
use crate::telemetry;

/// Names in each list of `/api/v1/dns`.
const LISTED_NAMES: usize = 10;

impl Agent {
    /// Everything that is shown now.
    pub(super) fn snapshot(&mut self, mut shown: Vec<Shown>) -> Result<Snapshot> {
        let counters = KernelCounters(*self.engine.losses());
        let listeners = self.engine.listeners();
        let sockets =
            counters.get(Statistic::SocketsInserted).saturating_sub(counters.get(Statistic::SocketsRemoved));
        let mut fullness = self.fullness.clone();
        fullness.extend(self.kernel.fullness(sockets, self.listeners));
        let budget = self.budget.statistics();
        let moment = self.engine.moment();
        let ended_clients = rows(self.dns_servers.keep(&shown, &moment));
        let ended_legs = self.legs.keep(&shown, &moment);
        shown.extend(ended_legs);
        Ok(Snapshot {
            edges: rows(shown),
            listeners: listeners
                .into_iter()
                .map(|Listener { workload, port, queue, oldest, dropped }| ListenerRow {
                    workload,
                    port,
                    queue,
                    oldest,
                    dropped,
                })
                .collect(),
            drops: self
                .engine
                .packet_drops()
                .map(|(row, packets)| DropRow { row: row.clone(), packets })
                .collect(),
            searches: self
                .engine
                .wasted()
                .map(|(workload, waste)| SearchRow {
                    workload: workload.clone(),
                    expansions: waste.expansions,
                    wasted_queries: waste.queries,
                })
                .collect(),
            dns: DnsView {
                policy: self.engine.dns_policy(),
                details: Details {
                    received: self.engine.dns_details_received(),
                    rate_limited: counters.get(Statistic::DnsDetailsLeftOut),
                    lost: counters.events_lost(ProbeId::Dns),
                },
                servers: self.asked_servers(),
                ended_clients,
                workloads: self.engine.dns_rows(LISTED_NAMES),
            },
            events: self.events(),
            peer_nodes: self.engine.peer_nodes().rows().into_iter().map(peer_node).collect(),
            node: self.engine.node(),
            findings: FindingsView {
                active: self.engine.diagnosis().active().cloned().collect(),
                found: self.engine.diagnosis().found().collect(),
                events: self.recorder.as_ref().map(|recorder| recorder.outcomes().counts()),
            },
            agent: AgentView {
                probes: self.kernel.probes().iter().map(probe).collect(),
                kernel: counters,
                counts: AgentCounts {
                    dns_events: self.engine.dns_details_received(),
                    lost_log_lines: telemetry::lost_lines(),
                    recorded: self.keeper.as_ref().map(|keeper| keeper.counts().read()).unwrap_or_default(),
                    refused: self.web.refusals(),
                    is_web_outdated: self.web.is_outdated(),
                    unread_namespaces: self.kernel.unread_namespaces(),
                    ..self.counts.clone()
                },
                series: SeriesBudget {
                    shown: budget.series as u64,
                    limit: budget.max_series as u64,
                    folded: budget.folded,
                    cut_short: budget.cut_short,
                },
                folded_peer_nodes: self.engine.peer_nodes().folded(),
                windows: self.engine.windows().into(),
                exports: self.exports.read(),
                maps: fullness
                    .iter()
                    .map(|map| MapRow { map: map.map, entries: map.entries, limit: map.limit })
                    .collect(),
                programs: self
                    .kernel
                    .costs()
                    .into_iter()
                    .map(|cost| ProgramRow {
                        program: cost.program,
                        run_time: cost.run_time,
                        runs: cost.runs,
                        recursion_misses: cost.skipped,
                    })
                    .collect(),
                kernel_release: self.kernel_release.clone(),
                node: self.node.clone(),
                running: self.started.elapsed(),
                last_sweep: self.last_sweep.map(|(began, took)| SweepRow { age: began.elapsed(), took }),
            },
            names: self.names(),
            read_at: self.engine.time().wall,
            at: moment.now,
            counts_since: self.counts_since,
            tick: kernel::tick(),
        })
    }

    /// Every pair of a DNS client and its server.
    fn asked_servers(&self) -> Vec<(Workload, ServerRow)> {
        let model = self.engine.model();
        let all = model.edges().map(|(_, entry)| (Edge::clone(entry.edge()), entry.totals().unpack()));
        let overflow = [(Edge::other(Reporter::Source), model.overflow(Reporter::Source))];
        let clients = all
            .chain(overflow)
            .filter(|(edge, totals)| edge.reporter == Reporter::Source && totals.dns != DnsCounters::ZERO);
        let row = |(edge, totals): (Edge, Totals)| {
            let server = ServerRow::new(&edge.destination, edge.port, &totals.dns);
            (edge.source, server)
        };
        clients.map(row).collect()
    }

    fn events(&self) -> EventsView {
        let Time { wall, monotonic } = self.engine.time();
        EventsView {
            received: self.engine.events().received(),
            boot_seconds: wall as f64 - monotonic.as_secs_f64(),
            latest: self.engine.events().all(),
        }
    }

    fn names(&self) -> NamesView {
        let now = self.engine.time().monotonic;
        let row = |health: &SourceHealth| SourceRow {
            source: source_name(health.source),
            kind: health.kind.map_or("", kind_name),
            age: health.last_contact.map(|at| now.saturating_sub(at)),
            down: health.down.clone().map(|(reason, message)| Down { reason, message }),
            failures: health.failures.clone(),
        };
        let mut statistics = self.engine.names();
        let conntrack = statistics.tracking.take().map(|tracking| SourceRow {
            source: "conntrack",
            kind: "",
            age: None,
            down: tracking.down.map(|(reason, message)| Down { reason, message }),
            failures: tracking.failures,
        });
        let walks = self.cgroups.walks();
        statistics.objects.push(("cgroup_directory", walks.directories as u64));
        NamesView {
            sources: self.engine.health().iter().map(row).chain(conntrack).collect(),
            objects: statistics.objects,
            dropped: statistics.dropped,
            cgroup_walks: vec![("complete", walks.walks.saturating_sub(walks.cut)), ("cut_short", walks.cut)],
            conntrack: statistics.conntrack,
            external: statistics.outside,
            zones: statistics.zones,
        }
    }
}

fn rows(shown: Vec<Shown>) -> Vec<EdgeRow> {
    shown.into_iter().map(|Shown { edge, totals, .. }| EdgeRow { edge, totals }).collect()
}

fn peer_node((row, totals): (&Row, &TcpCounters)) -> PeerNodeRow {
    PeerNodeRow { node: row.name().to_owned(), zone: row.zone().to_owned(), totals: *totals }
}

fn probe(state: &ProbeState) -> ProbeRow {
    let probe = state.probe;
    let down = state
        .unavailable
        .as_ref()
        .map(|unavailable| Down { reason: unavailable.reason.label(), message: unavailable.message.clone() });
    ProbeRow { id: probe.id, name: probe.name(), emits: probe.emits, without: probe.without, down }
}

const fn source_name(source: NameSource) -> &'static str {
    match source {
        NameSource::Api => "api",
        NameSource::Kubelet => "kubelet",
        NameSource::File => "file",
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Pod => "pod",
        Kind::Service => "service",
        Kind::EndpointSlice => "endpointslice",
        Kind::Node => "node",
    }
}
