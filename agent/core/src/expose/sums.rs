//! Rows that are the sum of several parts, which end one by one while the row lives on: a counter must not go back by what a
//! part had counted.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use bytemuck::Pod;
use netcause_common::dns::DnsCounters;

use super::budget::Shown;
use crate::aggregate::totals::{Totals, words};
use crate::aggregate::{Edge, Packed, Reporter, Via};
use crate::enrich::Workload;

/// What rows had from parts that they have no more.
#[derive(Debug)]
pub struct Sums<Row, Part, T> {
    /// The row of each part and its counters, when they were last seen.
    parts: HashMap<Part, (Row, Packed<T>)>,
    /// What each row keeps.
    kept: HashMap<Row, Packed<T>>,
}

impl<Row, Part, T: Pod> Default for Sums<Row, Part, T> {
    fn default() -> Self {
        Self { parts: HashMap::new(), kept: HashMap::new() }
    }
}

impl<Row: Clone + Eq + Hash, Part: Eq + Hash, T: Pod> Sums<Row, Part, T> {
    /// Takes all parts that there are now, and returns what each row adds to the sum of its parts: the last counters of those
    /// that have ended, belong to another row now, or have begun anew. A row without a part ends, and begins at zero when it
    /// comes again.
    pub fn keep(&mut self, parts: impl Iterator<Item = (Part, Row, T)>) -> impl Iterator<Item = (&Row, T)> {
        let mut before = std::mem::take(&mut self.parts);
        let mut rows = HashSet::new();
        for (part, row, counters) in parts {
            if let Some((row_before, counters_before)) = before.remove(&part)
                && (row_before != row || has_gone_back(&counters_before.unpack(), &counters))
            {
                self.kept.entry(row_before).or_default().add(&counters_before.unpack());
            }
            rows.insert(row.clone());
            self.parts.insert(part, (row, Packed::new(&counters)));
        }
        for (row, counters) in before.into_values() {
            self.kept.entry(row).or_default().add(&counters.unpack());
        }
        self.kept.retain(|row, _| rows.contains(row));
        self.kept.iter().map(|(row, counters)| (row, counters.unpack()))
    }
}

fn has_gone_back<T: Pod>(before: &T, now: &T) -> bool {
    words(before).iter().zip(words(now)).any(|(before, now)| now < before)
}

/// A DNS server is shown without its clients, as the sum of their edges, which end or are folded into `other`.
#[derive(Debug, Default)]
pub struct DnsServers(Sums<Edge, Arc<Edge>, DnsCounters>);

impl DnsServers {
    /// What each server adds to the sum of the edges shown: edges of [`Workload::Other`], with DNS counters alone.
    pub fn keep(&mut self, shown: &[Shown]) -> Vec<Shown> {
        let parts = shown.iter().filter(|shown| shown.totals.dns != DnsCounters::ZERO);
        let parts =
            parts.filter_map(|shown| Some((Arc::clone(&shown.edge), server(&shown.edge)?, shown.totals.dns)));
        let kept = self.0.keep(parts);
        kept.map(|(edge, dns)| Shown { edge: Arc::new(edge.clone()), totals: Totals { dns, ..Totals::ZERO } })
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
