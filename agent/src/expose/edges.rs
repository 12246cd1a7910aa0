//! `GET /api/v1/edges`: what each pair of workloads has counted lately, as counts, rates and ratios.
//!
//! `netcause edges` reads the same types. Every answer says what time it covers, because windows are whole.

mod query;
mod row;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use netcause_core::aggregate::totals::Totals;
use netcause_core::aggregate::{Edge, Packed};
use serde::{Deserialize, Serialize};

use super::lately::Lately;
use super::tables::own_sidecar;

pub use super::query::Window;
pub use query::{Limit, Query, Sort, Workload};
pub use row::{Labels, Row, Tcp};

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// When the kernel's tables were read: seconds since 1970.
    pub read_at: u64,
    /// The time that was asked for.
    pub requested_seconds: f64,
    /// The time that everything below covers, up to `read_at`: whole windows, at least as long as asked for, unless the agent has
    /// not run so long. Rates are per second of it.
    pub covered_seconds: f64,
    /// Windows that it is made of.
    pub windows: usize,
    /// The longest of them: a burst may have been within any part of it.
    pub longest_window_seconds: f64,
    /// `sweep_interval_seconds`: the kernel's tables are read this often at least. Above five seconds windows are that long, but for
    /// readings that scrapes and requests like this one cause.
    pub reading_interval_seconds: f64,
    /// What comes first.
    pub sort: Sort,
    /// Pairs that have counted anything and match; those beyond the limit are left out below.
    pub edges_total: usize,
    /// The pairs.
    pub edges: Vec<Row>,
}

impl Answer {
    /// The answer to a query.
    #[must_use]
    pub fn new(lately: &Lately, query: &Query) -> Self {
        let mut pairs: HashMap<u64, (Arc<Edge>, Packed<Totals>)> = HashMap::new();
        let span = lately.edges.each(query.window.0, |edge, totals| {
            // The leg to a sidecar of its own is no pair, as on /metrics.
            if own_sidecar(edge).is_some() || !query.matches(edge) {
                return;
            }
            let pair = pairs.entry(label_hash(edge)).or_insert_with(|| (Arc::clone(edge), Packed::default()));
            pair.1.add(totals);
        });
        let mut pairs: Vec<_> = pairs
            .into_values()
            .map(|(edge, packed)| (query.sort.key(&packed.unpack()), edge, packed))
            .collect();
        // Of equals always the same first.
        pairs.sort_unstable_by(|(a, edge, _), (b, other, _)| b.total_cmp(a).then_with(|| edge.cmp(other)));
        let edges_total = pairs.len();
        pairs.truncate(query.limit.0);
        let row = |(_, edge, packed): (f64, Arc<Edge>, Packed<Totals>)| {
            Row::new(&edge, &packed.unpack(), span.covered)
        };
        Self {
            read_at: lately.read_at,
            requested_seconds: query.window.0.as_secs_f64(),
            covered_seconds: span.covered.as_secs_f64(),
            windows: span.windows,
            longest_window_seconds: span.widest.as_secs_f64(),
            reading_interval_seconds: lately.interval.as_secs_f64(),
            sort: query.sort,
            edges_total,
            edges: pairs.into_iter().map(row).collect(),
        }
    }
}

/// Edges that have the same labels are one pair.
fn label_hash(edge: &Edge) -> u64 {
    let mut hasher = DefaultHasher::new();
    super::tables::pair_labels(edge).hash(&mut hasher);
    hasher.finish()
}
