//! What the agent answers when it is asked.

use anyhow::Result;
use netcause_common::dns::DnsCounters;
use netcause_common::probe::ProbeId;

use super::agent::Agent;
use crate::expose;
use crate::expose::dns::ServerRow;
use crate::expose::prometheus::{
    DnsOwn, Durations, EdgeRow, ListenerRow, NamesOwn, Own, SearchRow, Series, Snapshot, SourceRow,
};
use crate::kernel::{self, KernelStatistics, ProbeState};
use crate::sources;
use netcause_core::aggregate::Edge;
use netcause_core::aggregate::Reporter;
use netcause_core::engine::Listener;
use netcause_core::enrich::names::Statistics;
use netcause_core::enrich::objects::{Kind, Source as NameSource};

/// Names in each list of `/api/v1/dns`.
const LISTED_NAMES: usize = 10;

impl Agent {
    /// Everything that is shown now.
    pub(super) fn snapshot(&mut self) -> Result<Snapshot> {
        let statistics = self.kernel.statistics()?;
        let listeners = self.engine.listeners();
        let mut fullness = self.fullness.clone();
        fullness.extend(self.kernel.fullness(statistics.sockets, listeners.len() as u64));
        let budget = self.budget().statistics();
        Ok(Snapshot {
            edges: self
                .shown
                .iter()
                .map(|shown| EdgeRow { edge: Edge::clone(&shown.edge), totals: shown.totals })
                .collect(),
            listeners: listeners
                .into_iter()
                .map(|Listener { workload, port, queue }| ListenerRow { workload, port, queue })
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
            own: Own {
                probes: self
                    .kernel
                    .probes()
                    .iter()
                    .map(|state| (state.probe.name, state.unavailable.clone()))
                    .collect(),
                events_lost: events_lost(self.kernel.probes(), &statistics),
                dns: DnsOwn {
                    malformed: statistics.dns_malformed,
                    unfollowed: statistics.dns_unfollowed,
                    details_received: self.engine.dns_details_received(),
                    details_left_out: statistics.dns_details_left_out,
                },
                flows_folded: statistics.flows_folded,
                series: Series {
                    shown: budget.series as u64,
                    limit: budget.max_series as u64,
                    folded: budget.folded,
                },
                maps: fullness.iter().map(|map| (map.map, map.entries, map.limit)).collect(),
                programs: self.kernel.costs(),
                sweeps: self.sweeps.clone(),
                scrapes: Durations::default(),
                kernel_release: self.kernel_release.clone(),
            },
            names: self.names(&self.engine.names()),
            tick: kernel::tick(),
        })
    }

    fn names(&self, statistics: &Statistics) -> NamesOwn {
        let row = |(source, kind, state): (NameSource, Option<Kind>, sources::State)| SourceRow {
            source: source_name(source),
            kind: kind.map_or("", kind_name),
            age: state.last_contact.map(|at| at.elapsed()),
            trouble: state.trouble,
            failures: state.failures.into_iter().collect(),
        };
        let conntrack = statistics.tracking.as_ref().map(|tracking| SourceRow {
            source: "conntrack",
            kind: "",
            age: None,
            trouble: tracking.trouble.clone(),
            failures: tracking.failures.clone(),
        });
        let walks = self.walks();
        NamesOwn {
            sources: self.health.all().into_iter().map(row).chain(conntrack).collect(),
            objects: [&statistics.objects[..], &[("cgroup_directory", walks.directories as u64)]].concat(),
            dropped: statistics.dropped.clone(),
            cgroup_walks: vec![("whole", walks.walks.saturating_sub(walks.cut)), ("cut", walks.cut)],
            conntrack: statistics.conntrack.clone(),
            outside: statistics.outside,
            zones: statistics.zones.clone(),
        }
    }
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

/// Losses: probe, where, how many.
fn events_lost(
    probes: &[ProbeState],
    statistics: &KernelStatistics,
) -> Vec<(&'static str, &'static str, u64)> {
    let lost = |state: &ProbeState| statistics.events_lost.get(state.probe.id as usize).copied();
    let emitting = probes.iter().filter(|state| state.probe.emits);
    let mut all: Vec<_> =
        emitting.filter_map(|state| Some((state.probe.name, "ring", lost(state)?))).collect();
    all.push(("flows", "ring", statistics.flows_unannounced));
    all.push(("tcp_state", "map", statistics.sockets_refused));
    all.push(("tcp_state", "skipped", statistics.connections_missed));
    all
}

impl Agent {
    /// The body of `/api/v1/dns`.
    pub(super) fn dns(&mut self) -> Result<String> {
        self.observe()?;
        let statistics = self.kernel.statistics()?;
        let counts = expose::dns::Details {
            received: self.engine.dns_details_received(),
            left_out: statistics.dns_details_left_out,
            lost: statistics.events_lost.get(ProbeId::Dns as usize).copied().unwrap_or_default(),
        };
        let servers = self
            .model()
            .edges()
            .map(|(_, entry)| (entry.edge(), entry.totals().unpack()))
            .filter(|(edge, totals)| edge.reporter == Reporter::Source && totals.dns != DnsCounters::ZERO)
            .map(|(edge, totals)| {
                (edge.source.clone(), ServerRow::new(&edge.destination, edge.port, &totals.dns))
            })
            .collect();
        let rows = self.engine.dns_rows(LISTED_NAMES);
        let body = expose::dns::Body::new(self.engine.dns_policy(), counts, servers, rows);
        Ok(serde_json::to_string(&body)?)
    }
}
