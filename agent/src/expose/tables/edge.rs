//! Labels of edges, and which tables an edge is shown in.

use std::borrow::{Borrow, Cow};
use std::time::Duration;

use netcause_common::dns::DnsCounters;
use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::{Edge, Reporter, Via};
use netcause_core::enrich::sidecar::Direction;

use super::shared::{LISTENER_LABELS, workload};
use super::{dns, labels, sidecar, tcp, udp};
use crate::expose::series::{Family, Rows};
use crate::expose::snapshot::{EdgeRow, Snapshot};

/// The families of all edges.
pub(super) fn families(snapshot: &Snapshot) -> impl Iterator<Item = Family<'_>> {
    let edges = || snapshot.edges.iter();
    let pairs = rows(edges().filter(|row| own_sidecar(&row.edge).is_none()), pair_labels, snapshot.tick);
    let servers = edges().chain(&snapshot.dns.ended_clients).filter(|row| is_dns_server(row));
    let servers = rows(servers, server_labels, snapshot.tick);
    let sidecars = edges().filter(|row| own_sidecar(&row.edge).is_some());
    let sidecars = rows(sidecars, sidecar_labels, snapshot.tick);
    tcp::TABLE
        .families(&pairs)
        .chain(udp::TABLE.families(&pairs))
        .chain(dns::CLIENTS.families(&pairs.having(reporter(Reporter::Source))))
        .chain(dns::SERVERS.families(&servers))
        .chain(sidecar::TABLE.families(&sidecars))
}

fn rows<'a>(
    edges: impl Iterator<Item = &'a EdgeRow>,
    labels: fn(&'a Edge) -> Vec<Cow<'a, str>>,
    tick: Duration,
) -> Rows<'a, Counted<'a>> {
    let rows = edges.map(|row| (labels(&row.edge), Counted::One(&row.totals)));
    Rows::new(rows, Counted::add).with_tick(tick)
}

/// How many time series an edge with these counters has: its cost in the budget of series. Edges with the same labels
/// have fewer together.
#[must_use]
pub fn series(edge: &Edge, totals: &Totals) -> usize {
    if own_sidecar(edge).is_some() {
        return sidecar::TABLE.series(totals);
    }
    let dns = match edge.reporter {
        Reporter::Source => &dns::CLIENTS,
        Reporter::Destination => &dns::SERVERS,
    };
    tcp::TABLE.series(totals) + udp::TABLE.series(totals) + dns.series(totals)
}

/// Counters of one edge, or the sum of edges that have the same labels.
enum Counted<'a> {
    One(&'a Totals),
    Sum(Box<Totals>),
}

impl Counted<'_> {
    fn add(&mut self, other: Self) {
        let mut sum = match other {
            Self::One(totals) => Box::new(*totals),
            Self::Sum(totals) => totals,
        };
        sum.add((*self).borrow());
        *self = Self::Sum(sum);
    }
}

impl Borrow<Totals> for Counted<'_> {
    fn borrow(&self) -> &Totals {
        match self {
            Self::One(totals) => totals,
            Self::Sum(totals) => totals,
        }
    }
}

/// The leg, of an edge between a workload and its own sidecar.
pub(in crate::expose) fn own_sidecar(edge: &Edge) -> Option<Direction> {
    match edge.via {
        Via::OwnSidecar(leg) => Some(leg),
        Via::Direct | Via::Sidecar => None,
    }
}

fn is_dns_server(row: &EdgeRow) -> bool {
    row.edge.reporter == Reporter::Destination
        && own_sidecar(&row.edge).is_none()
        && row.totals.dns != DnsCounters::ZERO
}

/// The values of [`EDGE_LABELS`].
pub(in crate::expose) fn pair_labels(edge: &Edge) -> Vec<Cow<'_, str>> {
    let namespace = edge.destination_namespace();
    let service = match &edge.service {
        // Two services of one name in different namespaces stay apart.
        Some(name) if name.namespace() != namespace => {
            format!("{}.{}", name.workload(), name.namespace()).into()
        }
        Some(name) => name.workload().into(),
        None => Cow::from(""),
    };
    let via = if edge.via == Via::Sidecar { "sidecar" } else { "" };
    labels![
        reporter(edge.reporter),
        edge.source.namespace(),
        workload(&edge.source),
        namespace,
        workload(&edge.destination),
        service,
        port(edge),
        via
    ]
}

/// The values of [`LISTENER_LABELS`], of a DNS server: its clients are shown as one.
fn server_labels(edge: &Edge) -> Vec<Cow<'_, str>> {
    const { assert!(LISTENER_LABELS.len() == 3) };
    labels![edge.destination_namespace(), workload(&edge.destination), port(edge)]
}

/// The values of the labels of [`sidecar::TABLE`].
fn sidecar_labels(edge: &Edge) -> Vec<Cow<'_, str>> {
    let leg = match own_sidecar(edge) {
        Some(Direction::Inbound) => "inbound",
        Some(Direction::Outbound) | None => "outbound",
    };
    labels![reporter(edge.reporter), edge.source.namespace(), workload(&edge.source), leg]
}

fn reporter(reporter: Reporter) -> &'static str {
    match reporter {
        Reporter::Source => "source",
        Reporter::Destination => "destination",
    }
}

fn port(edge: &Edge) -> String {
    edge.port.map(|port| port.to_string()).unwrap_or_default()
}
