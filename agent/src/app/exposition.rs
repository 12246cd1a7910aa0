//! The view of the agent: what it knows, in plain values.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use netcause_common::probe::ProbeId;
use netcause_common::probe::open_sockets::{AcceptQueue, QueueKey};
use netcause_common::statistics::Statistic;

use super::Agent;
use super::state::State;
use crate::expose::dns::Details;
use crate::expose::http::{Source, View};
use crate::expose::snapshot::{
    AgentView, DnsView, Down, EdgeRow, KernelCounters, ListenerRow, MapRow, NamesView, ProbeRow, ProgramRow,
    SearchRow, SeriesBudget, Snapshot, SourceRow,
};
use crate::kernel::{self, ProbeState};
use crate::sources;
use netcause_core::aggregate::dns::search::Waste;
use netcause_core::enrich::Names;
use netcause_core::enrich::objects::{Kind, Source as NameSource};

/// Names in each list of `/api/v1/dns`.
const LISTED_NAMES: usize = 10;

impl Agent {
    fn snapshot(&self) -> Result<Snapshot> {
        let mut state = self.state();
        let mut fullness = state.observe()?;
        let State { kernel, names, ledger, queues, counts, details, began, .. } = &mut *state;
        let counters = KernelCounters(kernel.statistics()?);
        let sockets =
            counters.get(Statistic::SocketsInserted).saturating_sub(counters.get(Statistic::SocketsRemoved));
        fullness.extend(kernel.fullness(sockets, queues.len() as u64));
        let listener = |(key, queue): &(QueueKey, AcceptQueue)| ListenerRow {
            workload: names.local(key.local),
            port: key.port,
            queue: *queue,
        };
        let budget = ledger.statistics();
        Ok(Snapshot {
            edges: ledger
                .shown()
                .map(|shown| EdgeRow { edge: Arc::new(shown.edge.clone()), totals: shown.totals })
                .collect(),
            listeners: queues.iter().map(listener).collect(),
            searches: details
                .expansions()
                .filter(|(_, waste)| *waste != Waste::default())
                .map(|(workload, waste)| SearchRow {
                    workload: workload.clone(),
                    expansions: waste.expansions,
                    wasted_queries: waste.queries,
                })
                .collect(),
            dns: DnsView {
                policy: details.policy(),
                details: Details {
                    received: counts.dns_events,
                    left_out: counters.get(Statistic::DnsDetailsLeftOut),
                    lost: counters.events_lost(ProbeId::Dns),
                },
                workloads: details.rows(LISTED_NAMES, names.resolved(), began.elapsed()),
            },
            agent: AgentView {
                probes: kernel.probes().iter().map(probe).collect(),
                kernel: counters,
                counts: counts.clone(),
                series: SeriesBudget {
                    shown: budget.series as u64,
                    limit: budget.max_series as u64,
                    folded: budget.folded,
                },
                maps: fullness
                    .iter()
                    .map(|map| MapRow { map: map.map, entries: map.entries, limit: map.limit })
                    .collect(),
                programs: kernel
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
            },
            names: self.names(names),
            tick: kernel::tick(),
        })
    }

    fn names(&self, names: &Names) -> NamesView {
        let row = |(source, kind, state): (NameSource, Option<Kind>, sources::State)| SourceRow {
            source: source_name(source),
            kind: kind.map_or("", kind_name),
            age: state.last_contact.map(|at| at.elapsed()),
            down: down(state.trouble, state.failures.keys().copied()),
            failures: state.failures.into_iter().collect(),
        };
        let statistics = names.statistics();
        let conntrack = statistics.tracking.map(|tracking| SourceRow {
            source: "conntrack",
            kind: "",
            age: None,
            down: down(tracking.trouble, tracking.failures.iter().map(|(reason, _)| *reason)),
            failures: tracking.failures,
        });
        NamesView {
            sources: self.health.all().into_iter().map(row).chain(conntrack).collect(),
            objects: statistics.objects,
            dropped: statistics.dropped,
            cgroup_walks: statistics.cgroup_walks,
            conntrack: statistics.conntrack,
            external: statistics.outside,
            zones: statistics.zones,
        }
    }
}

fn probe(state: &ProbeState) -> ProbeRow {
    let probe = state.probe;
    let down = state
        .unavailable
        .as_ref()
        .map(|unavailable| Down { reason: unavailable.reason.label(), message: unavailable.message.clone() });
    ProbeRow { id: probe.id, name: probe.name, emits: probe.emits, without: probe.without, down }
}

/// The reason is known as long as the source has failed for one only.
fn down(message: Option<String>, mut failures: impl Iterator<Item = &'static str>) -> Option<Down> {
    let reason = match (failures.next(), failures.next()) {
        (Some(reason), None) => reason,
        _ => "other",
    };
    Some(Down { reason, message: message? })
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

impl Source for Agent {
    fn view(&self) -> View<'_> {
        let snapshot = self.snapshot().map(Arc::new).map_err(|error| format!("{error:#}"));
        Box::pin(ready(snapshot))
    }

    fn ready(&self) -> Result<(), String> {
        // The programs are attached before the server answers, and stay so while the process lives.
        Ok(())
    }

    fn scraped(&self, took: Duration) {
        self.state().counts.scrapes.observe(took);
    }
}
