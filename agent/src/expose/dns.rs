//! `GET /api/v1/dns`: the DNS servers of each workload, the cost of its search domains, and its top names.

pub mod rows;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use netcause_core::aggregate::dns::top::{Lists, NameStats};
use netcause_core::aggregate::dns::{ResolvedRow, Searched, WorkloadRow};
use netcause_core::enrich::Workload;
use netcause_core::enrich::policy::{DnsNames, Label};

use super::snapshot::{DnsView, Snapshot};
use rows::{Details, ServerRow};

/// The answer.
#[derive(Debug, Serialize)]
pub struct Body {
    /// Whether names are shown, hashed or left out.
    names: DnsNames,
    details: Details,
    /// In order.
    workloads: Vec<OfWorkload>,
}

#[derive(Debug, Serialize)]
struct OfWorkload {
    /// Empty where there is none.
    namespace: String,
    workload: String,
    servers: Vec<ServerRow>,
    search: OfSearch,
    names: OfNames,
    resolved: Vec<OfAddress>,
}

#[derive(Debug, Serialize)]
struct OfSearch {
    expansions: u64,
    wasted_queries: u64,
    queries: u64,
    /// Of all queries; 0 without any.
    share: f64,
}

#[derive(Debug, Serialize)]
struct OfNames {
    by_volume: Vec<OfName>,
    by_failures: Vec<OfName>,
    by_latency: Vec<OfName>,
}

#[derive(Debug, Serialize)]
struct OfName {
    name: String,
    queries: u64,
    nxdomain: u64,
    failures: u64,
    timeouts: u64,
    mean_seconds: Option<f64>,
    max_seconds: Option<f64>,
    at_most_missed: u64,
}

#[derive(Debug, Serialize)]
struct OfAddress {
    address: IpAddr,
    name: String,
    expires_in_seconds: u64,
}

impl Body {
    fn new(
        names: DnsNames,
        details: Details,
        servers: impl IntoIterator<Item = (Workload, ServerRow)>,
        rows: &[WorkloadRow],
    ) -> Self {
        let mut workloads: BTreeMap<Workload, OfWorkload> = BTreeMap::new();
        for row in rows {
            workloads.insert(row.workload.clone(), OfWorkload::from(row));
        }
        for (workload, server) in servers {
            let of_workload = workloads.entry(workload).or_insert_with_key(OfWorkload::of);
            of_workload.servers.push(server);
        }
        for of_workload in workloads.values_mut() {
            of_workload.servers.sort_by(|a, b| (&a.server, a.port).cmp(&(&b.server, b.port)));
        }
        Self { names, details, workloads: workloads.into_values().collect() }
    }
}

impl From<&Snapshot> for Body {
    fn from(snapshot: &Snapshot) -> Self {
        let DnsView { policy, details, servers, workloads, ended_clients: _ } = &snapshot.dns;
        Self::new(*policy, *details, servers.iter().cloned(), workloads)
    }
}

impl OfWorkload {
    /// Without lists.
    fn of(workload: &Workload) -> Self {
        Self::from(&WorkloadRow {
            workload: workload.clone(),
            searched: Searched::default(),
            lists: Lists::default(),
            resolved: Vec::new(),
        })
    }
}

impl From<&WorkloadRow> for OfWorkload {
    fn from(row: &WorkloadRow) -> Self {
        Self {
            namespace: row.workload.namespace().to_owned(),
            workload: row.workload.to_string(),
            servers: Vec::new(),
            search: row.searched.into(),
            names: (&row.lists).into(),
            resolved: row.resolved.iter().map(OfAddress::from).collect(),
        }
    }
}

impl From<Searched> for OfSearch {
    fn from(Searched { waste, queries }: Searched) -> Self {
        let share = if queries == 0 { 0.0 } else { waste.queries as f64 / queries as f64 };
        Self { expansions: waste.expansions, wasted_queries: waste.queries, queries, share }
    }
}

impl From<&Lists> for OfNames {
    fn from(Lists { by_volume, by_failures, by_latency }: &Lists) -> Self {
        let list = |list: &[(Label, NameStats)]| list.iter().map(OfName::from).collect();
        Self { by_volume: list(by_volume), by_failures: list(by_failures), by_latency: list(by_latency) }
    }
}

impl From<&(Label, NameStats)> for OfName {
    fn from((label, stats): &(Label, NameStats)) -> Self {
        Self {
            name: label.to_string(),
            queries: stats.queries,
            nxdomain: stats.nxdomain,
            failures: stats.failures,
            timeouts: stats.timeouts,
            mean_seconds: stats.mean().map(|mean| mean.as_secs_f64()),
            max_seconds: (stats.answers > 0).then_some(stats.max.as_secs_f64()),
            at_most_missed: stats.at_most_missed,
        }
    }
}

impl From<&ResolvedRow> for OfAddress {
    fn from(ResolvedRow { address, label, expires_in }: &ResolvedRow) -> Self {
        Self { address: *address, name: label.to_string(), expires_in_seconds: expires_in.as_secs() }
    }
}

#[cfg(test)]
mod tests;
