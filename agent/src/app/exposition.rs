//! What the agent answers when it is asked.

use std::time::Instant;

use anyhow::Result;
use netcause_common::dns::DnsCounters;
use netcause_common::probe::ProbeId;
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};

use super::Agent;
use super::state::State;
use crate::expose;
use crate::expose::dns::ServerRow;
use crate::expose::http::Source;
use crate::expose::prometheus::{
    self, DnsOwn, EdgeRow, Format, ListenerRow, NamesOwn, Own, SearchRow, Series, Snapshot, SourceRow,
};
use crate::kernel::{self, KernelStatistics, ProbeState};
use crate::sources;
use netcause_core::aggregate::Reporter;
use netcause_core::aggregate::dns::search::Waste;
use netcause_core::enrich::Names;
use netcause_core::enrich::objects::{Kind, Source as NameSource};

/// Names in each list of `/api/v1/dns`.
const LISTED_NAMES: usize = 10;

impl Agent {
    fn snapshot(&self) -> Result<Snapshot> {
        let mut state = self.state();
        let mut fullness = state.observe()?;
        let State { kernel, names, ledger, queues, sweeps, scrapes, details, details_received, .. } =
            &mut *state;
        let statistics = kernel.statistics()?;
        fullness.extend(kernel.fullness(statistics.sockets, queues.len() as u64));
        let listener = |(key, queue): &(QueueKey, AcceptQueue)| ListenerRow {
            workload: names.local(key.local),
            port: key.port,
            queue: *queue,
        };
        let mut listeners: Vec<_> = queues.iter().map(listener).collect();
        listeners.sort_unstable_by(|a, b| (&a.workload, a.port).cmp(&(&b.workload, b.port)));
        let budget = ledger.statistics();
        Ok(Snapshot {
            edges: ledger
                .shown()
                .map(|shown| EdgeRow { edge: shown.edge.clone(), totals: shown.totals })
                .collect(),
            listeners,
            searches: details
                .expansions()
                .filter(|(_, waste)| *waste != Waste::default())
                .map(|(workload, waste)| SearchRow {
                    workload: workload.clone(),
                    expansions: waste.expansions,
                    wasted_queries: waste.queries,
                })
                .collect(),
            own: Own {
                probes: kernel
                    .probes()
                    .iter()
                    .map(|state| (state.probe.name, state.unavailable.clone()))
                    .collect(),
                events_lost: events_lost(kernel.probes(), &statistics),
                dns: DnsOwn {
                    malformed: statistics.dns_malformed,
                    unfollowed: statistics.dns_unfollowed,
                    details_received: *details_received,
                    details_left_out: statistics.dns_details_left_out,
                },
                flows_folded: statistics.flows_folded,
                series: Series {
                    shown: budget.series as u64,
                    limit: budget.max_series as u64,
                    folded: budget.folded,
                },
                maps: fullness.iter().map(|map| (map.map, map.entries, map.limit)).collect(),
                programs: kernel.costs(),
                sweeps: sweeps.clone(),
                scrapes: scrapes.clone(),
                kernel_release: self.kernel_release.clone(),
            },
            names: self.names(names),
            tick: kernel::tick(),
        })
    }

    fn names(&self, names: &Names) -> NamesOwn {
        let row = |(source, kind, state): (NameSource, Option<Kind>, sources::State)| SourceRow {
            source: source_name(source),
            kind: kind.map_or("", kind_name),
            age: state.last_contact.map(|at| at.elapsed()),
            trouble: state.trouble,
            failures: state.failures.into_iter().collect(),
        };
        let statistics = names.statistics();
        let conntrack = statistics.tracking.map(|tracking| SourceRow {
            source: "conntrack",
            kind: "",
            age: None,
            trouble: tracking.trouble,
            failures: tracking.failures,
        });
        NamesOwn {
            sources: self.health.all().into_iter().map(row).chain(conntrack).collect(),
            objects: statistics.objects,
            dropped: statistics.dropped,
            cgroup_walks: statistics.cgroup_walks,
            conntrack: statistics.conntrack,
            outside: statistics.outside,
            zones: statistics.zones,
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

impl Source for Agent {
    fn metrics(&self, format: Format) -> Result<String, String> {
        let begin = Instant::now();
        let snapshot = self.snapshot().map_err(|error| format!("{error:#}"))?;
        let text = prometheus::render(snapshot, format).map_err(|error| error.to_string())?;
        self.state().scrapes.observe(begin.elapsed());
        Ok(text)
    }

    fn dns(&self) -> Result<String, String> {
        let mut state = self.state();
        state.observe().map_err(|error| format!("{error:#}"))?;
        let State { kernel, names, ledger, details, details_received, began, .. } = &mut *state;
        let statistics = kernel.statistics().map_err(|error| format!("{error:#}"))?;
        let counts = expose::dns::Details {
            received: *details_received,
            left_out: statistics.dns_details_left_out,
            lost: statistics.events_lost.get(ProbeId::Dns as usize).copied().unwrap_or_default(),
        };
        let servers = ledger
            .shown()
            .filter(|shown| shown.edge.reporter == Reporter::Source && shown.totals.dns != DnsCounters::ZERO)
            .map(|shown| {
                let server = ServerRow::new(&shown.edge.destination, shown.edge.port, &shown.totals.dns);
                (shown.edge.source.clone(), server)
            })
            .collect();
        let rows = details.rows(LISTED_NAMES, names.resolved(), began.elapsed());
        let body = expose::dns::Body::new(details.policy(), counts, servers, rows);
        serde_json::to_string(&body).map_err(|error| error.to_string())
    }

    fn ready(&self) -> Result<(), String> {
        // The programs are attached before the server answers, and stay so while the process lives.
        Ok(())
    }
}
