//! Every metric, declared once: a table per subject, from which the exposition, docs/metrics.md and the budget of series
//! are made.

mod agent;
mod dns;
mod drops;
mod edge;
mod findings;
mod listener;
mod names;
mod node;
pub mod otlp;
mod peer_node;
mod shared;
mod sidecar;
mod tcp;
mod udp;

pub use agent::{AgentCounts, Recorded};
pub use edge::series;
pub(super) use edge::{own_sidecar, pair_labels};

use super::series::Family;
use super::snapshot::Snapshot;

/// All families, in the order of the exposition. Those without samples are among them.
pub fn families(snapshot: &Snapshot) -> impl Iterator<Item = Family<'_>> {
    edge::families(snapshot)
        .chain(listener::families(&snapshot.listeners))
        .chain(drops::families(&snapshot.drops))
        .chain(dns::search_families(&snapshot.searches))
        .chain(peer_node::families(&snapshot.peer_nodes))
        .chain(node::families(&snapshot.node))
        .chain(findings::families(&snapshot.findings))
        .chain(agent::families(&snapshot.agent))
        .chain(otlp::families(&snapshot.agent))
        .chain(names::families(&snapshot.names))
}

/// Makes the labels of a row.
macro_rules! labels {
    ($($value:expr),*) => { vec![$(std::borrow::Cow::from($value)),*] };
}
use labels;

#[cfg(test)]
pub(crate) mod tests;
