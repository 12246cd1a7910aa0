//! A DNS server is shown without its clients, as the sum of their edges, which end or are folded into `other`.

use std::sync::Arc;

use netcause_common::dns::DnsCounters;

use super::budget::Shown;
use crate::aggregate::sums::Sums;
use crate::aggregate::totals::Totals;
use crate::aggregate::{Edge, Reporter, Via};
use crate::enrich::Workload;
use crate::seen::Moment;

/// What DNS servers had from edges that are not shown any more.
#[derive(Debug, Default)]
pub struct DnsServers(Sums<Edge, Arc<Edge>, DnsCounters>);

impl DnsServers {
    /// What each server adds to the sum of the edges shown: edges of [`Workload::Other`], with DNS counters alone.
    pub fn keep(&mut self, shown: &[Shown], moment: &Moment) -> Vec<Shown> {
        let parts = shown.iter().filter(|shown| shown.totals.dns != DnsCounters::ZERO);
        let parts =
            parts.filter_map(|shown| Some((Arc::clone(&shown.edge), server(&shown.edge)?, shown.totals.dns)));
        let kept = self.0.keep(parts, moment);
        kept.map(|(edge, dns)| Shown {
            edge: Arc::new(edge.clone()),
            totals: Totals { dns, ..Totals::ZERO },
            counts: false,
        })
        .collect()
    }
}

/// The server's end of an edge without its client.
fn server(edge: &Edge) -> Option<Edge> {
    let is_server = edge.reporter == Reporter::Destination && matches!(edge.via, Via::Direct | Via::Sidecar);
    is_server.then(|| Edge { source: Workload::Other, via: Via::Direct, ..edge.clone() })
}

#[cfg(test)]
mod tests;
