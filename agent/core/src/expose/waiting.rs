//! Adds to what is shown of each edge how many of its connections wait, and for what.

use std::collections::HashMap;

use super::budget::Shown;
use crate::aggregate::model::Model;
use crate::aggregate::turn::On;
use crate::aggregate::waits::Waiting;
use crate::aggregate::{Edge, Reporter};
use crate::ingest::role;

/// Sets [`crate::aggregate::turn::Waits::waiting`]. Connections of edges that are not shown are those of `other`.
pub fn show(shown: &mut [Shown], waiting: &Waiting, model: &Model) {
    let mut edges: HashMap<&Edge, [u64; On::COUNT]> = HashMap::new();
    let others = [Reporter::Source, Reporter::Destination].map(Edge::other);
    let numbers: HashMap<&Edge, usize> = shown
        .iter()
        .enumerate()
        .filter(|(_, shown)| shown.counts)
        .map(|(number, shown)| (&*shown.edge, number))
        .collect();
    for (flow, connections) in waiting.flows() {
        let Some(role) = role(flow) else { continue };
        let other = &others[Reporter::from(role) as usize];
        let edge = model.edge_of(flow).map(|edge| &**edge).filter(|edge| numbers.contains_key(edge));
        let all = edges.entry(edge.unwrap_or(other)).or_default();
        for (all, more) in all.iter_mut().zip(connections) {
            *all += u64::from(*more);
        }
    }
    let places: Vec<_> =
        edges.into_iter().filter_map(|(edge, counts)| Some((*numbers.get(edge)?, counts))).collect();
    for (number, counts) in places {
        if let Some(shown) = shown.get_mut(number) {
            shown.totals.waits.waiting = counts;
        }
    }
}
